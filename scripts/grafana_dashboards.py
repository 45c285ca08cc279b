"""Makes manifests/monitoring/grafana/*.json; `--check` fails where one of them is out of date.

Each is imported into Grafana as it is, or laid into a folder that Grafana provisions. What stands in a panel is metrics
of docs/reference/metrics.md, and nothing else.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig, VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

WRITTEN = Path(__file__).parents[1] / "manifests" / "monitoring" / "grafana"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WHOLE, HALF, THIRD, QUARTER, SIXTH = 24, 12, 8, 6, 4
HIDDEN = ("Time", "__name__", "instance", "job", "Value")

DEVICES = 'namespace=~"$namespace"'
PLAN = 'namespace=~"$namespace",plan=~"$plan"'
BRIDGES = 'instance=~"$instance"'
# A device has one info series for each plan; counted as a device it is one.
INFO = f"backstay_device_info{{{DEVICES}}}"
OF_PLAN = f"on(namespace, device) group_left(ring) max by (namespace, device, ring) (backstay_device_info{{{PLAN}}})"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and what a series of it is called."""

    expression: str
    legend: str = ""


def graph(
    title: str, unit: str, *queries: Query, span: int = THIRD, what: str = "", stacked: bool = False
) -> timeseries.Panel:
    """Lines over time; with `stacked`, areas on each other."""
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)
    panel = timeseries.Panel().title(title).description(what).unit(unit).datasource(SOURCE).span(span).height(8)
    panel = panel.legend(legend).fill_opacity(30 if stacked else 5).min(0)
    if stacked:
        panel = panel.stacking(StackingConfig().mode(StackingMode.NORMAL))
    for letter, query in zip("ABCDEF", queries, strict=False):
        panel = panel.with_target(
            prometheus.Dataquery().expr(query.expression).legend_format(query.legend).range().ref_id(letter)
        )
    return panel


def figure(
    title: str, unit: str, expression: str, *, bad: float | None = None, span: int = SIXTH, what: str = ""
) -> stat.Panel:
    """One number as it is now; red from `bad` on, or where `bad` is negative, below its absolute value."""
    steps = [Threshold(value=None, color="green")]
    if bad is not None:
        below = bad < 0
        steps = [Threshold(None, "red" if below else "green"), Threshold(abs(bad), "green" if below else "red")]
    return (
        stat.Panel()
        .title(title)
        .description(what)
        .unit(unit)
        .datasource(SOURCE)
        .span(span)
        .height(4)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(prometheus.Dataquery().expr(expression).instant().ref_id("A"))
    )


def rows(title: str, expression: str, *, span: int = HALF, what: str = "") -> table.Panel:
    """A table with a row for each series, by its labels."""
    hide = DataTransformerConfig("organize", options={"excludeByName": dict.fromkeys(HIDDEN, True)})
    query = prometheus.Dataquery().expr(expression).instant().format(PromQueryFormat.TABLE).ref_id("A")
    panel = table.Panel().title(title).description(what).datasource(SOURCE).span(span).height(8)
    return panel.with_target(query).with_transformation(hide)


def bars(title: str, query: Query, *, span: int = HALF, what: str = "") -> bargauge.Panel:
    """A bar for each series as it is now."""
    panel = bargauge.Panel().title(title).description(what).unit("short").datasource(SOURCE).span(span).height(8)
    return panel.with_target(
        prometheus.Dataquery().expr(query.expression).legend_format(query.legend).instant().ref_id("A")
    )


def quantile(share: str, histogram: str, matchers: str = "") -> str:
    """A quantile of a histogram over what the panel shows in one step."""
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{{{matchers}}}[$__rate_interval])))"


def fleet() -> dashboard.Dashboard:
    """All devices of some namespaces: what they run, and how they are."""
    made = _board("fleet", "Backstay / Fleet", "What the devices run, by their own word, and how they are.")
    made = made.with_variable(_variable("namespace", "label_values(backstay_device_info, namespace)"))
    made = made.with_row(dashboard.Row("Now"))
    reachable = f"backstay_device_reachable{{{DEVICES}}}"
    for panel in (
        figure("Devices", "short", f"count(count by (namespace, device) ({INFO}))"),
        figure("Reachable", "percentunit", f"avg({reachable})", bad=-0.95),
        figure("Away", "short", f"count({reachable} == 0) or vector(0)", bad=1),
        figure("With failing probes", "short", f"count(backstay_probes_failing{{{DEVICES}}} > 0) or vector(0)", bad=1),
        figure("Without a plan", "short", f'count(backstay_device_info{{{DEVICES},plan=""}}) or vector(0)'),
        figure(
            "Running what no plan named",
            "short",
            " or ".join(f'count(backstay_device_info{{{DEVICES},{plane}="unknown"}})' for plane in _PLANES)
            + " or vector(0)",
            bad=1,
            what="Content that no assignment of the gateway ever named.",
        ),
    ):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Versions"))
    for plane in _PLANES:
        counted = f"count by ({plane}) (max by (namespace, device, {plane}) ({INFO}))"
        made = made.with_panel(graph(plane.capitalize(), "short", Query(counted, f"{{{{{plane}}}}}"), stacked=True))
    made = made.with_row(dashboard.Row("Inference"))
    accuracy, latency = (
        f"backstay_inference_accuracy{{{DEVICES}}}",
        f"backstay_inference_latency_seconds{{{DEVICES}}}",
    )
    for panel in (
        graph(
            "Accuracy",
            "percentunit",
            Query(f"quantile(0.5, {accuracy})", "median"),
            Query(f"quantile(0.05, {accuracy})", "worst 5 %"),
            Query(f"min({accuracy})", "worst"),
            what="A model that has become wrong shows here, however well its devices are.",
        ),
        graph(
            "Latency",
            "s",
            Query(f"quantile(0.5, {latency})", "median"),
            Query(f"quantile(0.95, {latency})", "slowest 5 %"),
            Query(f"max({latency})", "slowest"),
        ),
        graph(
            "Inputs",
            "short",
            Query(f"sum(backstay_inputs_silent{{{DEVICES}}})", "silent"),
            Query(f"min(backstay_input_frames_per_second{{{DEVICES}}})", "frames a second, the slowest"),
        ),
    ):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Resources"))
    for title, unit, worst, metric in (
        ("Hottest", "celsius", "topk", "backstay_temperature_celsius"),
        ("Least heap (ESP32)", "bytes", "bottomk", "backstay_heap_free_bytes"),
        ("Least memory (nodes)", "bytes", "bottomk", "backstay_memory_available_bytes"),
        ("Least storage (nodes)", "bytes", "bottomk", "backstay_storage_free_bytes"),
    ):
        query = Query(f"{worst}(5, {metric}{{{DEVICES}}})", "{{namespace}}/{{device}}")
        made = made.with_panel(graph(title, unit, query, span=QUARTER))
    made = made.with_row(dashboard.Row("Who to look at"))
    made = made.with_panel(rows("Away", f"{reachable} == 0", span=THIRD))
    made = made.with_panel(rows("Failing probes", f"backstay_probes_failing{{{DEVICES}}} > 0", span=THIRD))
    silence = f"sort_desc(time() - backstay_last_report_timestamp_seconds{{{DEVICES}}})"
    made = made.with_panel(
        bars("Longest without a report, seconds", Query(f"topk(10, {silence})", "{{device}}"), span=THIRD)
    )
    made = made.with_row(dashboard.Row("Agents of nodes"))
    of_agents = Query(
        f"sum by (state) (rate(backstay_agent_steps_total{{{DEVICES}}}[$__rate_interval])) * 60", "{{state}}"
    )
    for panel in (
        graph("Steps answered a minute", "short", of_agents, stacked=True),
        graph(
            "Steps under way",
            "short",
            Query(f"sum by (plane) (backstay_agent_step_in_flight{{{DEVICES}}})", "{{plane}}"),
            stacked=True,
        ),
        graph(
            "Age of what agents see",
            "s",
            Query(f"max(backstay_agent_view_age_seconds{{{DEVICES}}})", "holds, the oldest; above 60 nothing starts"),
            Query(f"max(backstay_agent_api_age_seconds{{{DEVICES}}})", "orders, the oldest"),
        ),
    ):
        made = made.with_panel(panel)
    return made.with_panel(
        rows("Agents by version", f"count by (agent) (backstay_agent_info{{{DEVICES}}})", span=WHOLE)
    )


def plan() -> dashboard.Dashboard:
    """One release: where it stands, ring by ring, and what it costs."""
    made = _board("plan", "Backstay / Plan", "Where a release stands, ring by ring, why, and what it has cost.")
    made = made.with_variable(_variable("namespace", "label_values(backstay_plan_info, namespace)"))
    made = made.with_variable(_variable("plan", 'label_values(backstay_plan_info{namespace=~"$namespace"}, plan)'))
    made = made.annotation(
        dashboard.AnnotationQuery()
        .name("Phases")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("blue")
        .expr(f"changes(backstay_plan_phase_since_timestamp_seconds{{{PLAN}}}[$__rate_interval]) > 0")
    )
    made = made.with_row(dashboard.Row("Now"))
    for panel in (
        rows("Where it stands", f"backstay_plan_info{{{PLAN}}}", what="Phase, ring and revision."),
        rows("Stands still until somebody does something", f"backstay_plan_stalled{{{PLAN}}} > 0"),
        figure(
            "In this phase for",
            "s",
            f"time() - max(backstay_plan_phase_since_timestamp_seconds{{{PLAN}}})",
            span=QUARTER,
        ),
        figure(
            "Exposed devices",
            "short",
            f"sum(backstay_plan_exposed_devices{{{PLAN}}})",
            span=QUARTER,
            what="Devices that run something which this revision brought them, while it has not succeeded.",
        ),
        figure(
            "Failed devices",
            "short",
            f'sum(backstay_plan_ring_devices{{{PLAN},state="failed"}})',
            bad=1,
            span=QUARTER,
        ),
        figure("Last recovery took", "s", f"max(backstay_plan_last_recovery_seconds{{{PLAN}}})", span=QUARTER),
    ):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Rings"))
    for state, title in (
        ("confirmed", "Confirmed"),
        ("in_flight", "Changing"),
        ("failed", "Failed"),
        ("offline", "Offline"),
    ):
        found = f'sum by (ring) (backstay_plan_ring_devices{{{PLAN},state="{state}"}})'
        made = made.with_panel(graph(title, "short", Query(found, "{{ring}}"), span=QUARTER, stacked=True))
    share = (
        f'sum by (ring) (backstay_plan_ring_devices{{{PLAN},state="confirmed"}})'
        f' / sum by (ring) (backstay_plan_ring_devices{{{PLAN},state="target"}})'
    )
    made = made.with_panel(graph("Confirmed, of each ring", "percentunit", Query(share, "{{ring}}"), span=WHOLE))
    made = made.with_row(dashboard.Row("Health, by ring"))
    for title, unit, expression in (
        ("Accuracy", "percentunit", "avg by (ring) (backstay_inference_accuracy{MATCHERS} * JOIN)"),
        (
            "Latency, the slowest 5 %",
            "s",
            "quantile by (ring) (0.95, backstay_inference_latency_seconds{MATCHERS} * JOIN)",
        ),
        ("Devices with failing probes", "short", "sum by (ring) ((backstay_probes_failing{MATCHERS} > bool 0) * JOIN)"),
        ("Reachable", "percentunit", "avg by (ring) (backstay_device_reachable{MATCHERS} * JOIN)"),
    ):
        joined = expression.replace("MATCHERS", DEVICES).replace("JOIN", OF_PLAN)
        made = made.with_panel(graph(title, unit, Query(joined, "{{ring}}"), span=QUARTER))
    made = made.with_row(dashboard.Row("Versions"))
    for plane in _PLANES:
        counted = f"count by ({plane}) (backstay_device_info{{{PLAN}}})"
        made = made.with_panel(graph(plane.capitalize(), "short", Query(counted, f"{{{{{plane}}}}}"), stacked=True))
    made = made.with_row(dashboard.Row("What it has cost"))
    every, bad = (
        f"sum by (plan) (increase(backstay_plan_{name}exposure_device_seconds_total{{{PLAN}}}[$__range])) / 3600"
        for name in ("", "convicted_")
    )
    made = made.with_panel(
        bars(
            "Device hours on a revision before it succeeded", Query(every, "{{plan}}"), what="Over what the page shows."
        )
    )
    return made.with_panel(bars("Of these, on a convicted version", Query(bad, "{{plan}}")))


def operator() -> dashboard.Dashboard:
    """The operator's own process: is it alive, does it keep up, and do its pages arrive."""
    made = _board(
        "operator", "Backstay / Operator", "Whether the operator leads, keeps up, and reaches its neighbours."
    )
    made = made.with_row(dashboard.Row("Now"))
    for panel in (
        figure("Leaders", "short", "sum(backstay_operator_leader)", bad=-1, what="One, but for a moment."),
        figure("Plans", "short", "max(backstay_operator_plans)"),
        figure("Devices", "short", "max(backstay_operator_devices)"),
        figure("Age of its view", "s", "max(backstay_operator_view_age_seconds)", bad=180),
        figure("Longest wait", "s", "max(backstay_operator_longest_wait_seconds)", bad=60),
        figure("Pages not delivered", "short", "sum(backstay_operator_pages_undelivered)", bad=1),
    ):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Deciding"))
    reconcile = "backstay_operator_reconcile_duration_seconds"
    for panel in (
        graph("Looks a second", "ops", _rates(f"{reconcile}_count", "result"), stacked=True),
        graph(
            "How long a look takes",
            "s",
            Query(quantile("0.5", reconcile), "median"),
            Query(quantile("0.99", reconcile), "p99"),
        ),
        graph(
            "Waiting",
            "short",
            Query("max(backstay_operator_waiting_plans)", "plans in the queue"),
            Query("max(backstay_operator_longest_turn_seconds)", "seconds, the oldest look that has not ended"),
        ),
        graph(
            "Decisions a second, by reason", "ops", _rates("backstay_operator_decisions_total", "reason"), span=WHOLE
        ),
    ):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Its neighbours"))
    queries = "backstay_operator_prometheus_query_duration_seconds"
    for panel in (
        graph("Writes to the API server a second", "ops", _rates("backstay_operator_api_writes_total", "resource")),
        graph("Writes by result", "ops", _rates("backstay_operator_api_writes_total", "result")),
        graph("Verdicts a second", "ops", _rates("backstay_operator_verdicts_total", "result"), stacked=True),
        graph(
            "Queries to Prometheus",
            "s",
            Query(quantile("0.5", queries), "median"),
            Query(quantile("0.99", queries), "p99"),
        ),
        graph(
            "Queries without an answer, a second",
            "ops",
            Query("sum(rate(backstay_operator_prometheus_query_failures_total[$__rate_interval]))", "failed"),
        ),
        graph("Tries to deliver pages, a second", "ops", _rates("backstay_operator_page_deliveries_total", "result")),
    ):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Pages, and alerts that make holds"))
    recovery = "backstay_operator_recovery_duration_seconds"
    for panel in (
        rows("Pages that are due", "sum by (kind) (backstay_operator_pages_due) > 0", span=QUARTER),
        graph(
            "Recoveries: from the first bad signal to health",
            "s",
            Query(f"histogram_quantile(0.5, sum by (le) (increase({recovery}_bucket[$__range])))", "median"),
            Query(f"histogram_quantile(0.95, sum by (le) (increase({recovery}_bucket[$__range])))", "p95"),
            span=QUARTER,
        ),
        graph(
            "Alerts a second, by what became of them",
            "ops",
            _rates("backstay_webhook_alerts_total", "result"),
            span=QUARTER,
        ),
        graph("Refused at the webhook", "ops", _rates("backstay_webhook_refused_total", "reason"), span=QUARTER),
    ):
        made = made.with_panel(panel)
    return made


def bridge() -> dashboard.Dashboard:
    """The gateways' bridges: what devices ask of them, and what they refuse."""
    made = _board("bridge", "Backstay / Bridges", "What devices ask of their bridges, and how the bridges are.")
    made = made.with_variable(_variable("instance", "label_values(backstay_bridge_view_age_seconds, instance)"))
    made = made.with_row(dashboard.Row("Now"))
    for panel in (
        figure("Bridges", "short", f"count(backstay_bridge_view_age_seconds{{{BRIDGES}}})"),
        figure(
            "Age of the oldest view",
            "s",
            f"max(backstay_bridge_view_age_seconds{{{BRIDGES}}})",
            bad=60,
            what="Above 60 s such a bridge starts nothing new.",
        ),
        figure("Waiting to be enrolled", "short", f"sum(backstay_bridge_waiting_devices{{{BRIDGES}}})", bad=1),
        figure(
            "Status writes that failed",
            "short",
            f'sum(increase(backstay_bridge_status_writes_total{{{BRIDGES},result="failed"}}[$__range]))',
            bad=1,
        ),
        figure(
            "Artifacts that could not be fetched",
            "short",
            f"sum(increase(backstay_bridge_fetch_failures_total{{{BRIDGES}}}[$__range]))",
            bad=1,
        ),
        figure(
            "Clock put right by",
            "s",
            f"max(abs(backstay_bridge_clock_correction_seconds{{{BRIDGES}}}))",
            bad=60,
        ),
    ):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Devices ask"))
    for panel in (
        graph(
            "Requests a second, by path", "ops", _rates("backstay_bridge_requests_total", "route", BRIDGES), span=HALF
        ),
        graph(
            "Requests a second, by answer",
            "ops",
            _rates("backstay_bridge_requests_total", "status", BRIDGES),
            span=HALF,
        ),
    ):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Turned away"))
    unauthorized = f"sum by (instance) (rate(backstay_bridge_unauthorized_total{{{BRIDGES}}}[$__rate_interval]))"
    for panel in (
        graph("At the door, a second", "ops", Query(unauthorized, "{{instance}}")),
        graph("Too much, a second", "ops", _rates("backstay_bridge_limited_total", "what", BRIDGES)),
        graph("Steps not started, a second", "ops", _rates("backstay_bridge_denials_total", "why", BRIDGES)),
    ):
        made = made.with_panel(panel)
    made = made.with_row(dashboard.Row("Themselves"))
    view = Query(f"backstay_bridge_view_age_seconds{{{BRIDGES}}}", "{{instance}}")
    free = f"backstay_bridge_disk_free_bytes{{{BRIDGES}}} / backstay_bridge_disk_size_bytes{{{BRIDGES}}}"
    for panel in (
        graph("Age of the last whole reading of holds", "s", view),
        graph("Status writes a second", "ops", _rates("backstay_bridge_status_writes_total", "kind", BRIDGES)),
        graph("Free of the disk with the answers", "percentunit", Query(free, "{{instance}}")),
    ):
        made = made.with_panel(panel)
    return made


_PLANES = ("firmware", "model", "config")


def _rates(counter: str, label: str, matchers: str = "") -> Query:
    selector = f"{counter}{{{matchers}}}" if matchers else counter
    return Query(f"sum by ({label}) (rate({selector}[$__rate_interval]))", f"{{{{{label}}}}}")


def _board(name: str, title: str, what: str) -> dashboard.Dashboard:
    others = dashboard.DashboardLink("Backstay").type(DashboardLinkType.DASHBOARDS).tags(["backstay"])
    return (
        dashboard.Dashboard(title)
        .uid(f"backstay-{name}")
        .description(what)
        .tags(["backstay"])
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .link(others.as_dropdown(True).include_vars(True).keep_time(True))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )


def _variable(name: str, query: str) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(name).label(name.capitalize()).datasource(SOURCE).query(query)
    return made.multi(True).include_all(True).all_value(".*")


def files() -> Iterator[tuple[Path, str]]:
    """Each file with its text."""
    for make in (fleet, plan, operator, bridge):
        board = json.loads(json.dumps(make().build(), cls=JSONEncoder))
        for number, panel in enumerate(board["panels"], start=1):
            panel["id"] = number
        text = json.dumps(_without_nulls(board), indent=2, sort_keys=True, ensure_ascii=False)
        yield WRITTEN / f"{make.__name__}.json", f"{text}\n"


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None or key == "value"}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


def main() -> None:
    """Write the files, or say which are out of date."""
    if "--check" not in sys.argv:
        WRITTEN.mkdir(parents=True, exist_ok=True)
        for path, text in files():
            path.write_text(text, encoding="utf-8")
        return
    stale = [path.name for path, text in files() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if stale:
        sys.exit(f"{', '.join(stale)} in {WRITTEN} out of date: python scripts/grafana_dashboards.py")


if __name__ == "__main__":
    main()
