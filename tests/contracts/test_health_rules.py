"""The health rules that we hand out, and the signals that `minReporting` makes, at a real Prometheus.

Every fleet below is made up, with devices of both classes: `well` is healthy, `sick` has every illness, `mute` checks
in and says nothing of itself, `stale` has said nothing new, `silent` is gone, and `nobody` was never there.
"""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import promql_parser
import pytest
import yaml
from promql_parser import Expr, VectorSelector

from backstay.adapters.prometheus import Prometheus
from backstay.adapters.promql import resolve
from backstay.api.conversion import signals_from
from backstay.api.healthrule import HealthRule
from backstay.api.support import unsupported
from backstay.core.actions import Watch
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane
from backstay.core.signals import Result, Signal, Verdict
from tests.contracts.real_prometheus import remembering
from tests.guides import blocks

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "how-to" / "write-a-health-rule.md").read_text(encoding="utf-8")
FILES = sorted((ROOT / "manifests" / "health").glob("*.yaml"))
CLASSES = ("esp32", "rk3566")
CONCERNS = ("inference", "inputs", "reporting", "resources")

AT = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
WATCH = Watch(RevisionName("new-2"), "canary", looks=1, since=AT - timedelta(minutes=1))
WHOLE_REVISION = replace(WATCH, ring=None)
DEVICES = 6

GOOD = {
    "inference_accuracy": "0.97",
    "inference_latency_seconds": "0.06",
    "heap_free_bytes": "120000",
    "temperature_celsius": "52",
    "memory_available_bytes": "900000000",
    "storage_free_bytes": "5000000000",
    "inputs_silent": "0",
    "input_frames_per_second": "12",
    "probes_failing": "0",
}
BAD = {
    "inference_accuracy": "0.6",
    "inference_latency_seconds": "1.5",
    "heap_free_bytes": "2000",
    "temperature_celsius": "99",
    "memory_available_bytes": "9000000",
    "storage_free_bytes": "0",
    "inputs_silent": "1",
    "input_frames_per_second": "0.5",
    "probes_failing": "2",
}


def rule_in(path: Path) -> HealthRule:
    return HealthRule.from_document(yaml.safe_load(path.read_text(encoding="utf-8")))


def signals_in(path: Path) -> tuple[Signal, ...]:
    rule = rule_in(path)
    return signals_from({rule.metadata.name: rule.spec})


SIGNALS = [pytest.param(signal, id=f"{path.stem}/{signal.name}") for path in FILES for signal in signals_in(path)]
MADE = [param for param in SIGNALS if re.search("-(reporting|metrics|logs)$", param.values[0].name)]


# The fleets


def past() -> str:
    rows: list[str] = []

    def add(metric: str, namespace: str, device: str, value: str, **labels: str) -> None:
        inside = ",".join(f'{k}="{v}"' for k, v in {"namespace": namespace, "device": device, **labels}.items())
        rows.append(f"backstay_{metric}{{{inside}}} {value} {AT.timestamp():.0f}")

    def device(
        namespace: str,
        name: str,
        device_class: str,
        *,
        reachable: bool = True,
        figures: dict[str, str] | None = None,
        heard: int | None = 10,
        version: str = "2.0.0",
        ring: str = "canary",
        revision: str = "new-2",
    ) -> None:
        of = {"plan": "vision", "revision": revision, "ring": ring, "class": device_class}
        versions = {"firmware": version, "model": version, "config": version}
        add("device_info", namespace, name, "1", **of, **versions)
        add("device_reachable", namespace, name, str(int(reachable)))
        for metric, value in (figures or {}).items():
            add(metric, namespace, name, value)
        if heard is not None:
            for metric in ("last_report_timestamp_seconds", "last_log_timestamp_seconds"):
                add(metric, namespace, name, str(AT.timestamp() - heard))

    for device_class in CLASSES:
        for number in range(DEVICES):
            name = f"{device_class}-{number}"
            device("well", name, device_class, figures=GOOD)
            device("mute", name, device_class, heard=None, version="")
            device("stale", name, device_class, figures=GOOD, heard=90)
            device("silent", name, device_class, reachable=False, heard=400)
            device("sick", name, device_class, reachable=number > 1, figures=BAD if number > 2 else None, heard=90)
            device("other-ring", name, device_class, figures=GOOD, ring="internal")
            device("no-version", name, device_class, figures=GOOD, version="")
            for fleet, accuracy in (("as-before", "0.97"), ("worse", "0.91")):
                device(fleet, name, device_class, figures={"inference_accuracy": accuracy})
                before = {"inference_accuracy": "0.97"}
                device(fleet, f"{name}-before", device_class, figures=before, ring="everyone", revision="old-1")
    return "\n".join([*sorted(rows), "# EOF", ""])


@pytest.fixture(scope="session")
def real_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with remembering(tmp_path_factory.mktemp("prometheus"), past()) as url:
        yield url


@pytest.fixture
async def prometheus(real_url: str) -> AsyncIterator[Prometheus]:
    async with aiohttp.ClientSession() as session:
        yield Prometheus(session, real_url)


async def judged(prometheus: Prometheus, signal: Signal, fleet: str, watch: Watch = WATCH) -> Verdict:
    return await prometheus.evaluate(signal, watch, fleet, "vision", AT)


# What a file must be


def test_there_is_a_rule_for_each_concern_when_a_class_is_served():
    assert [path.stem for path in FILES] == [f"{name}-{concern}" for name in CLASSES for concern in CONCERNS]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_rule_is_accepted_as_a_whole_and_explains_itself_when_it_is_applied(path):
    rule = rule_in(path)
    assert rule.metadata.name == path.stem
    assert unsupported(rule) == ()
    comment = path.read_text(encoding="utf-8").partition("apiVersion")[0]
    assert "# What it watches: " in comment
    assert "# What to adapt: " in comment


@pytest.mark.parametrize("signal", SIGNALS)
def test_query_reads_only_documented_series_when_it_is_resolved(signal):
    reference = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    text = resolve(signal.query, namespace="acme", plan="vision", revision="new-2", ring="canary", since=WATCH.since)
    names: set[str | None] = set()

    def visit(node: Expr) -> None:
        if isinstance(node, VectorSelector):
            names.add(node.name)

    promql_parser.walk(promql_parser.parse(text), pre_visit=visit)
    assert {name for name in names if f"| `{name}` |" not in reference} == set()


# What a rule says of a fleet


@pytest.mark.parametrize("watch", [WATCH, WHOLE_REVISION], ids=["ring", "revision"])
@pytest.mark.parametrize("signal", SIGNALS)
async def test_rule_passes_when_the_fleet_is_well(prometheus, signal, watch):
    verdict = await judged(prometheus, signal, "well", watch)
    assert verdict.result is Result.PASS, verdict


@pytest.mark.parametrize("signal", SIGNALS)
async def test_rule_fails_when_the_fleet_is_sick(prometheus, signal):
    verdict = await judged(prometheus, signal, "sick")
    assert verdict.result is Result.FAIL, verdict


@pytest.mark.parametrize("signal", SIGNALS)
async def test_rule_never_passes_when_the_fleet_is_silent(prometheus, signal):
    verdict = await judged(prometheus, signal, "silent")
    assert verdict.result is (Result.FAIL if signal.name == "reachable" else Result.NO_DATA), verdict


@pytest.mark.parametrize("fleet", ["nobody", "other-ring"])
@pytest.mark.parametrize("signal", SIGNALS)
async def test_rule_has_no_data_when_there_is_nobody_in_the_ring(prometheus, signal, fleet):
    verdict = await judged(prometheus, signal, fleet)
    assert verdict.result is Result.NO_DATA, verdict


@pytest.mark.parametrize("signal", SIGNALS)
async def test_rule_never_passes_when_devices_say_nothing_of_themselves(prometheus, signal):
    verdict = await judged(prometheus, signal, "mute")
    if signal.name == "reachable":
        assert verdict.result is Result.PASS, "they do check in"
    elif signal.rule.endswith("-reporting"):
        assert (verdict.result, verdict.value) == (Result.FAIL, 0), verdict
    else:
        assert verdict.result is Result.NO_DATA, verdict


@pytest.mark.parametrize("signal", MADE)
async def test_reporting_needs_fresh_words_when_old_ones_are_there(prometheus, signal):
    verdict = await judged(prometheus, signal, "stale")
    if signal.name.endswith("-reporting"):
        assert verdict.result is Result.PASS, verdict
    else:
        assert (verdict.result, verdict.value) == (Result.FAIL, 0), verdict


@pytest.mark.parametrize("signal", MADE)
async def test_reporting_needs_a_version_when_health_is_there(prometheus, signal):
    verdict = await judged(prometheus, signal, "no-version")
    assert verdict.result is (Result.FAIL if signal.name.endswith("-reporting") else Result.PASS), verdict


@pytest.mark.parametrize("signal", MADE)
async def test_reporting_is_a_share_of_the_reachable_when_some_are_heard_of(prometheus, signal):
    # Of six devices of a class, four are reachable, and three of those report.
    verdict = await judged(prometheus, signal, "sick")
    assert verdict.value == pytest.approx(0.75 if signal.name.endswith("-reporting") else 0)


def test_reporting_waits_before_it_asks_for_anything_fresh():
    signals = {param.values[0].name: param.values[0] for param in MADE}
    assert {name: signal.initial_delay for name, signal in signals.items() if signal.rule == "esp32-reporting"} == {
        "esp32-reporting-reporting": timedelta(0),
        "esp32-reporting-metrics": timedelta(seconds=90),
        "esp32-reporting-logs": timedelta(seconds=90),
    }
    assert {signal.blames for signal in signals.values()} == {tuple(Plane)}


# The rule of the guide


def guide_rule() -> HealthRule:
    (written,) = blocks(GUIDE, "yaml")
    return HealthRule.from_document(yaml.safe_load(written))


def guide_signals() -> dict[str, Signal]:
    rule = guide_rule()
    return {signal.name.removeprefix("quality-"): signal for signal in signals_from({"quality": rule.spec})}


LIMITS = ("accuracy", "latency", "reporting", "metrics", "logs")


def test_rule_of_the_guide_is_acted_on_as_a_whole() -> None:
    assert unsupported(guide_rule()) == ()
    assert set(guide_signals()) == {*LIMITS, "accuracy-drop"}


@pytest.mark.parametrize("name", LIMITS)
async def test_signal_of_the_guide_tells_a_fleet_that_is_well_from_a_sick_and_an_absent_one(prometheus, name) -> None:
    signal = guide_signals()[name]
    results = [(await judged(prometheus, signal, fleet)).result for fleet in ("well", "sick", "nobody")]
    assert results == [Result.PASS, Result.FAIL, Result.NO_DATA]


async def test_comparison_of_the_guide_sees_the_loss_that_its_limit_does_not(prometheus) -> None:
    signals = guide_signals()
    assert (await judged(prometheus, signals["accuracy"], "worse")).result is Result.PASS
    results = [(await judged(prometheus, signals["accuracy-drop"], fleet)).result for fleet in ("as-before", "worse")]
    assert results == [Result.PASS, Result.FAIL]


async def test_query_to_try_out_gives_one_number(real_url: str) -> None:
    (query,) = blocks(GUIDE, "promql")
    asked = {"query": query, "time": str(AT.timestamp())}
    async with aiohttp.ClientSession() as session, session.get(f"{real_url}/api/v1/query", params=asked) as response:
        (found,) = (await response.json())["data"]["result"]
    assert float(found["value"][1]) > 0
