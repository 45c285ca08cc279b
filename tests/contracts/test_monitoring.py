"""The alerts on our own metrics: Prometheus's own promtool reads them, and each fires when it should and only then."""

import inspect
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from backstay.cli.bridge import app as bridge_app
from backstay.cli.main import COMMANDS
from backstay.cli.operator import app as operator_app
from backstay.core.actions import AlertKind
from backstay.ports.pages import RUNBOOK, RUNBOOKS

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "manifests" / "monitoring"
RULES = MONITORING / "rules.yaml"
BOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["What it means", "Look first", "What to do", "When to escalate"]
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
OPERATOR = {'backstay_operator_leader{instance="a"}': "1", 'backstay_operator_leader{instance="b"}': "0"}
"""What is there in every case, so that nothing but the case fires."""
PLAN = 'namespace="acme",plan="vision"'
WRITES = "backstay_operator_api_writes_total"
TURNS = "backstay_operator_reconcile_duration_seconds_count"
BRIDGE_WRITES = "backstay_bridge_status_writes_total"


@dataclass(frozen=True)
class Case:
    """Series under which an alert fires with some labels, and others under which it must not."""

    bad: dict[str, str]
    good: dict[str, str]
    labels: str = ""
    at: str = "30m"


def reachable(away: int, of: int = 10, at: str = "gw:80") -> dict[str, str]:
    return {
        f'backstay_device_reachable{{namespace="acme",device="cam-{n}",instance="{at}"}}': f"{int(n >= away)}x240"
        for n in range(of)
    }


CASES = {
    "BackstayOperatorDown": Case({'backstay_operator_leader{instance="b"}': "0 _x240"}, {}, at="15m"),
    "BackstayNoLeader": Case(
        {'backstay_operator_leader{instance="a"}': "1 0x240"}, {'backstay_operator_leader{instance="a"}': "1 0 0 1x240"}
    ),
    "BackstayOperatorViewStale": Case(
        {"backstay_operator_view_age_seconds": "1+60x240"}, {"backstay_operator_view_age_seconds": "120x240"}
    ),
    "BackstayReconcileStuck": Case(
        {"backstay_operator_longest_turn_seconds": "0+60x240"},
        {"backstay_operator_longest_turn_seconds": "0 0 119 0 200 0 0x240"},
    ),
    "BackstayQueueGrows": Case(
        {"backstay_operator_longest_wait_seconds": "0+30x240"},
        {"backstay_operator_longest_wait_seconds": "0 70 0 90 0x240"},
    ),
    "BackstayInternalErrors": Case(
        {f'{TURNS}{{result="internal_error"}}': "0x25 1x240", f'{TURNS}{{result="done"}}': "0+9x240"},
        {f'{TURNS}{{result="internal_error"}}': "1x240", f'{TURNS}{{result="unavailable"}}': "0+9x240"},
    ),
    "BackstayWritesFailing": Case(
        {
            f'{WRITES}{{resource="edgedevices",verb="patch",result="unavailable"}}': "0+3x240",
            f'{WRITES}{{resource="edgedevices",verb="patch",result="done"}}': "0+9x240",
            f'{WRITES}{{resource="holds",verb="create",result="done"}}': "0+9x240",
        },
        {
            f'{WRITES}{{resource="edgedevices",verb="patch",result="conflict"}}': "0+9x240",
            f'{WRITES}{{resource="edgedevices",verb="patch",result="unavailable"}}': "0+1x240",
            f'{WRITES}{{resource="edgedevices",verb="patch",result="done"}}': "0+90x240",
        },
        'resource="edgedevices"',
    ),
    "BackstayPagesUndelivered": Case(
        {"backstay_operator_pages_undelivered": "2x240"}, {"backstay_operator_pages_undelivered": "0 2 2 0x240"}
    ),
    "BackstayProviderFailing": Case(
        {"backstay_operator_prometheus_query_failures_total": "0+1x240"},
        {"backstay_operator_prometheus_query_failures_total": "0x15 1x240"},
    ),
    "BackstayPlanHalted": Case(
        {f'backstay_plan_info{{{PLAN},revision="r-1",phase="Halted",ring="eu"}}': "1x240"},
        {f'backstay_plan_info{{{PLAN},revision="r-1",phase="Soaking",ring="eu"}}': "1x240"},
        PLAN,
    ),
    "BackstayPlanUnresolved": Case(
        {f'backstay_plan_info{{{PLAN},revision="r-1",phase="Unresolved",ring="eu"}}': "1x240"},
        {f'backstay_plan_info{{{PLAN},revision="r-1",phase="RolledBack",ring="eu"}}': "1x240"},
        PLAN,
    ),
    "BackstayRollbackSlow": Case(
        {
            f'backstay_plan_info{{{PLAN},revision="r-1",phase="RollingBack",ring="eu"}}': "1x30 _x240",
            f'backstay_plan_info{{{PLAN},revision="r-1",phase="Verifying",ring="eu"}}': "_x30 1x240",
        },
        {
            f'backstay_plan_info{{{PLAN},revision="r-1",phase="RollingBack",ring="eu"}}': "1x30 _x240",
            f'backstay_plan_info{{{PLAN},revision="r-1",phase="RolledBack",ring="eu"}}': "_x30 1x240",
        },
        PLAN,
        at="65m",
    ),
    "BackstayPlanBlocked": Case(
        {f'backstay_plan_stalled{{{PLAN},reason="NoPath"}}': "1x240"},
        {f'backstay_plan_stalled{{{PLAN},reason="Held"}}': "1x240"},
        f'{PLAN},reason="NoPath"',
        at="65m",
    ),
    "BackstayPlanForgotten": Case(
        {f'backstay_plan_stalled{{{PLAN},reason="Held"}}': "1x440"},
        {f'backstay_plan_stalled{{{PLAN},reason="Held"}}': "1x400 _x40"},
        f'{PLAN},reason="Held"',
        at="73h",
    ),
    "BackstayBridgeDown": Case(
        {'up{job="backstay-bridge-gw-eu-metrics",instance="gw:80"}': "0x240"},
        {'up{job="backstay-bridge-gw-eu-metrics",instance="gw:80"}': "1 0 1x240", 'up{job="other"}': "0x240"},
        'job="backstay-bridge-gw-eu-metrics",instance="gw:80"',
    ),
    "BackstayBridgeViewStale": Case(
        {'backstay_bridge_view_age_seconds{instance="gw:80"}': "0+60x240"},
        {'backstay_bridge_view_age_seconds{instance="gw:80"}': "5x240"},
        'instance="gw:80"',
    ),
    "BackstayBridgeDisk": Case(
        {
            'backstay_bridge_disk_free_bytes{instance="gw:80"}': "5x240",
            'backstay_bridge_disk_size_bytes{instance="gw:80"}': "100x240",
        },
        {
            'backstay_bridge_disk_free_bytes{instance="gw:80"}': "15x240",
            'backstay_bridge_disk_size_bytes{instance="gw:80"}': "100x240",
        },
        'instance="gw:80"',
    ),
    "BackstayBridgeFetchFailing": Case(
        {'backstay_bridge_fetch_failures_total{instance="gw:80"}': "0+1x240"},
        {'backstay_bridge_fetch_failures_total{instance="gw:80"}': "0x10 2x240"},
        'instance="gw:80"',
        at="45m",
    ),
    "BackstayBridgeWritesFailing": Case(
        {
            f'{BRIDGE_WRITES}{{instance="gw:80",kind="answer",result="failed"}}': "0+3x240",
            f'{BRIDGE_WRITES}{{instance="gw:80",kind="answer",result="written"}}': "0+9x240",
        },
        {f'{BRIDGE_WRITES}{{instance="gw:80",kind="answer",result="written"}}': "0+9x240"},
        'instance="gw:80"',
    ),
    "BackstayAgentViewStale": Case(
        {'backstay_agent_view_age_seconds{namespace="acme",device="box-1"}': "0+60x240"},
        {'backstay_agent_view_age_seconds{namespace="acme",device="box-1"}': "50x240"},
        'namespace="acme",device="box-1"',
    ),
    "BackstayDevicesUnreachable": Case(
        reachable(away=3), reachable(away=2) | reachable(away=4, of=4, at="few:80"), 'namespace="acme",instance="gw:80"'
    ),
    "BackstayWebhookRefuses": Case(
        {'backstay_webhook_refused_total{reason="unauthorized"}': "0x25 1x240"},
        {'backstay_webhook_refused_total{reason="unauthorized"}': "1x240"},
        'reason="unauthorized"',
    ),
}
"""Of each alert; a value such as `1x240` stands for four hours, one sample a minute, or ten where it is about days."""


def written_test(series: dict[str, str], at: str, step: str, firing: list[str]) -> dict[str, Any]:
    return {
        "interval": step,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'ALERTS{alertstate="firing"}',
                "eval_time": at,
                "exp_samples": [{"labels": f"ALERTS{{{labels}}}", "value": 1} for labels in firing],
            }
        ],
    }


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([shutil.which("promtool") or "promtool", *arguments], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_rules_are_what_prometheus_reads() -> None:
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", RULES) == ""


def test_every_alert_has_a_case() -> None:
    assert set(CASES) == set(ALERTS)


@pytest.mark.parametrize("alert", CASES)
def test_alert_fires_when_it_should_and_alone(alert: str, tmp_path: Path) -> None:
    case = CASES[alert]
    labels = [f'alertname="{alert}"', 'alertstate="firing"', f'severity="{ALERTS[alert]["labels"]["severity"]}"']
    labels += [case.labels] if case.labels else []
    step = "10m" if case.at.endswith("h") else "1m"
    operator = {name: f"{value}x440" for name, value in OPERATOR.items()}
    # That there is no operator shows only where there is none.
    tests = [
        written_test(
            ({} if alert == "BackstayOperatorDown" else operator) | case.bad, case.at, step, [",".join(labels)]
        ),
        written_test(operator | case.good, case.at, step, []),
    ]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": step, "tests": tests}))
    assert promtool("test", "rules", file) == ""


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_says_what_is_known_when_it_fires(alert: str) -> None:
    """A template that names a label which the alert has not would be a page with a gap in it."""
    known = set(re.findall(r"(\w+)=", CASES[alert].labels))
    words = " ".join(ALERTS[alert]["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", words)) <= known
    assert set(ALERTS[alert]["annotations"]) == {"summary", "description", "runbook_url"}
    assert ALERTS[alert]["labels"]["severity"] in {"critical", "warning"}


def test_rule_of_the_prometheus_operator_is_the_same() -> None:
    document = yaml.safe_load((MONITORING / "prometheusrule.yaml").read_text())
    assert (document["apiVersion"], document["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert document["spec"] == yaml.safe_load(RULES.read_text())


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    linked: dict[str, set[str]] = {}
    for alert, rule in ALERTS.items():
        base, _, name = rule["annotations"]["runbook_url"].rpartition("/")
        assert base == RUNBOOKS
        linked.setdefault(name, set()).add(alert)
    for kind in AlertKind:
        linked.setdefault(f"{RUNBOOK[kind]}.md", set()).add(kind.value)
    books = {book.name: book.read_text() for book in BOOKS.glob("*.md")}
    said = {name: set(re.findall(r"`(\w+)`", text.split("\n\n")[1])) for name, text in books.items()}
    assert said == linked


@pytest.mark.parametrize("book", sorted(BOOKS.glob("*.md")), ids=lambda book: book.stem)
def test_runbook_says_what_it_means_where_to_look_and_what_to_do(book: Path) -> None:
    text = book.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (book.parent / link).exists(), link


def test_rules_and_runbooks_ask_for_nothing_that_is_not_there() -> None:
    """A metric, an option or a command that was renamed would be missed at 3 am."""
    reference = (ROOT / "docs/reference/metrics.md").read_text()
    exposed = set(re.findall(r"^\| `(backstay_\w+)` \|", reference, re.MULTILINE))
    exposed |= {f"{name}_{part}" for name in exposed for part in ("count", "sum", "bucket")}
    asked = {name for rule in ALERTS.values() for name in re.findall(r"backstay_\w+", rule["expr"])}
    books = "".join(book.read_text() for book in BOOKS.glob("*.md"))
    asked |= set(re.findall(r"backstay_\w+", books))
    assert asked - exposed == set()
    assert set(re.findall(r"[`\n]backstay ([a-z-]+)", books)) <= set(COMMANDS)
    options = {f"--{name.replace('_', '-')}" for command in (operator_app, bridge_app) for name in _options(command)}
    assert set(re.findall(r"`(--[a-z-]+)", books)) <= options


def _options(app: typer.Typer) -> set[str]:
    callback = app.registered_commands[0].callback
    return set() if callback is None else set(inspect.signature(callback).parameters)
