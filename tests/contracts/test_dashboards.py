"""The dashboards that we hand out: valid for Grafana, on metrics that exist, and with an answer at a real Prometheus.

Everything in docs/reference/metrics.md has a past of ten minutes here, made up from the table itself.
"""

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from promql_parser import AggregateExpr, Expr, VectorSelector

from tests.contracts.real_prometheus import remembering

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "manifests" / "monitoring" / "grafana").glob("*.json"))
AT = 1_740_830_400
STEP_SECONDS, STEPS = 15, 40
EVERYWHERE = {"instance", "job", "le"}
"""Labels that Prometheus itself adds."""
VALUES = {
    "namespace": ("acme",),
    "device": ("cam-1", "cam-2"),
    "instance": ("gateway:1",),
    "plan": ("vision", ""),
    "state": ("target", "confirmed", "in_flight", "failed", "offline", "Confirmed"),
    "firmware": ("1.0.0", "unknown"),
    "result": ("done", "failed"),
}
"""What labels are, each with each; every other label is one `x`."""


@dataclass(frozen=True)
class Metric:
    name: str
    type: str
    labels: tuple[str, ...]


def metrics() -> dict[str, Metric]:
    table = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    found = re.findall(r"^\| `(backstay_\w+)` \| (gauge|counter|histogram) \| (.*?) \|", table, re.MULTILINE)
    return {name: Metric(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in found}


METRICS = metrics()


def metric_of(series: str) -> Metric | None:
    bare = re.sub("_(bucket|sum|count)$", "", series)
    found = METRICS.get(series) or METRICS.get(bare)
    return found if found is None or found.name == series or found.type == "histogram" else None


# What the dashboards ask


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (panel for panel in board["panels"] if panel["type"] != "row")


def filled(text: str) -> str:
    """With what Grafana puts in the place of its variables."""
    for name, value in {
        "$__rate_interval": "1m",
        "$__range": "10m",
        "$namespace": "acme",
        "$plan": "vision",
        "$instance": ".*",
    }.items():
        text = text.replace(name, value)
    return text


def asked() -> Iterator[Any]:
    for path in FILES:
        board = json.loads(path.read_text())
        for panel in panels(board):
            for target in panel["targets"]:
                yield pytest.param(filled(target["expr"]), id=f"{path.stem}/{panel['title']}/{target['refId']}")
        for one in board["annotations"].get("list", ()):
            if "expr" in one:
                yield pytest.param(filled(one["expr"]), id=f"{path.stem}/annotation {one['name']}")


ASKED = list(asked())


def variables() -> Iterator[Any]:
    for path in FILES:
        for one in json.loads(path.read_text())["templating"]["list"]:
            if one["type"] == "query":
                yield pytest.param(one["query"], id=f"{path.stem}/${one['name']}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_dashboard_is_what_grafanas_schema_says(path: Path) -> None:
    written = json.loads(path.read_text())
    read = json.loads(json.dumps(Dashboard.from_json(written), cls=JSONEncoder))
    assert dict(_leaves(written)).items() <= dict(_leaves(read)).items()
    ids = [panel["id"] for panel in written["panels"]]
    assert len(ids) == len(set(ids))
    assert written["uid"] == f"backstay-{path.stem}"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _leaves(part, f"{path}[{index}]")
    else:
        yield path, value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_panel_lies_on_another_or_beyond_the_edge(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(path.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert taken.isdisjoint(cells), panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("query", ASKED)
def test_query_asks_only_for_metrics_and_labels_of_the_table(query: str) -> None:
    used = list(_selectors(promql_parser.parse(query)))
    assert used
    for selector in used:
        metric = metric_of(selector.name)
        assert metric is not None, f"{selector.name} is not in docs/reference/metrics.md"
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= {*metric.labels, *EVERYWHERE}


@pytest.mark.parametrize("query", list(variables()))
def test_variable_offers_the_values_of_a_label_of_the_table(query: str) -> None:
    series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", query).groups()
    (selector,) = _selectors(promql_parser.parse(filled(series)))
    metric = metric_of(selector.name)
    assert label in {*metric.labels, *EVERYWHERE}


def _selectors(tree: Expr) -> Iterator[VectorSelector]:
    found: list[VectorSelector] = []

    def visit(node: Expr) -> None:
        if isinstance(node, VectorSelector):
            found.append(node)

    promql_parser.walk(tree, pre_visit=visit)
    return iter(found)


@pytest.mark.parametrize("query", ASKED)
def test_legend_names_a_label_that_the_answer_has(query: str) -> None:
    by = [
        label
        for path in FILES
        for panel in panels(json.loads(path.read_text()))
        for target in panel["targets"]
        if filled(target["expr"]) == query
        for label in re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))
    ]
    tree = promql_parser.parse(query)
    if by and isinstance(tree, AggregateExpr) and tree.modifier is not None:
        assert set(by) <= set(tree.modifier.labels)


# What Prometheus answers


def past() -> str:
    """Every metric of the table over ten minutes, growing where it is a counter."""
    rows = [row for metric in METRICS.values() for row in _series(metric)]
    return "".join(f"{row}\n" for row in (*rows, "# EOF"))


def _series(metric: Metric) -> Iterator[str]:
    names = (*metric.labels, "instance")
    sets = [tuple(zip(names, values, strict=True)) for values in product(*(VALUES.get(name, ("x",)) for name in names))]
    parts = ("_bucket", "_bucket", "_count", "_sum") if metric.type == "histogram" else ("",)
    for index, part in enumerate(parts):
        for number, labels in enumerate(sets):
            more = (("le", ("1", "+Inf")[index]),) if part == "_bucket" else ()
            text = ",".join(f'{name}="{value}"' for name, value in (*labels, *more))
            for step in range(STEPS + 1):
                at = AT - (STEPS - step) * STEP_SECONDS
                yield f"{metric.name}{part}{{{text}}} {_value(metric, number, step, at)} {at}"


def _value(metric: Metric, number: int, step: int, at: int) -> int:
    if metric.name.endswith("_timestamp_seconds"):
        # A phase that changed a moment ago.
        return at - 60 if step < STEPS - 1 else at
    if metric.type == "gauge":
        return 1 - number if metric.name.endswith("reachable") else 1 + number
    return 1 + step * (number + 1)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with remembering(tmp_path_factory.mktemp("prometheus"), past()) as url:
        yield url


@pytest.mark.parametrize("query", ASKED)
def test_panel_has_data_at_a_real_prometheus(prometheus: str, query: str) -> None:
    asking = urllib.parse.urlencode({"query": query, "time": AT})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{asking}", timeout=20) as answer:
        document = json.load(answer)
    assert document["status"] == "success"
    assert document["data"]["result"], "a panel without data"
