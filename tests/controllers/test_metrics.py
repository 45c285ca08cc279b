"""What the operator exposes: every name stands in the reference, and what is gone leaves no series."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from backstay.adapters.kube.client import Write
from backstay.controllers.metrics import OperatorMetrics, counted, one
from backstay.core.actions import RingReport
from backstay.core.decide import decide
from backstay.core.fleet import RingCounts
from backstay.core.revision import Phase
from backstay.core.signals import Result, Verdict
from backstay.errors import BackstayError, Conflict, Forbidden, NotFound, Refused, Unavailable
from tests.core.cameras import START, at, cameras, seen
from tests.hand_clock import Hand

REFERENCE = (Path(__file__).parents[2] / "docs/reference/metrics.md").read_text(encoding="utf-8")
KEY = ("acme", "vision")
VERDICT = Verdict("accuracy", Result.PASS, START, "q", 0.9, "fine")


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def metrics(clock: Hand) -> OperatorMetrics:
    return OperatorMetrics(clock)


def samples(metrics: OperatorMetrics) -> Iterator[Sample]:
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        yield from (sample for sample in family.samples if not sample.name.endswith("_created"))


def found(metrics: OperatorMetrics, name: str) -> dict[tuple[str, ...], float]:
    """The series of a metric by the values of its labels, in the order of the labels' names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for sample in samples(metrics)
        if sample.name == name
    }


def decided(metrics: OperatorMetrics, phase: Phase = Phase.SOAKING) -> None:
    observed = seen(cameras(3))
    observed = replace(observed, state=at(observed, phase))
    decision = decide(observed, START)
    reports = (RingReport("everyone", RingCounts(target=3, started=3, in_flight=2, confirmed=1), timed_out=1),)
    metrics.decided(KEY, observed, replace(decision, state=at(observed, phase), rings=reports))


def everything(metrics: OperatorMetrics) -> None:
    """Let each metric have a series."""
    decided(metrics)
    metrics._plans._plans[KEY].course.last_recovery = START - START
    metrics.stalled(KEY, ["Blocked"])
    metrics.wrote(Write("edgedevices", "patch", None))
    metrics.judged(replace(VERDICT, result=Result.PROVIDER_ERROR), 0.2)
    metrics.delivered(None)
    with metrics.turn(KEY):
        pass


def test_every_metric_of_the_operator_stands_in_the_reference(metrics: OperatorMetrics) -> None:
    everything(metrics)
    base = {re.sub(r"_(bucket|sum|count)$", "", sample.name) for sample in samples(metrics)}
    assert len(base) > 15
    assert {name for name in base if f"| `{name}` |" not in REFERENCE} == set()


def test_plan_shows_where_it_stands_and_nothing_of_where_it_was(metrics: OperatorMetrics) -> None:
    decided(metrics, Phase.ROLLING)
    decided(metrics, Phase.SOAKING)
    (info,) = [sample for sample in samples(metrics) if sample.name == "backstay_plan_info"]
    assert info.labels["phase"] == "Soaking"
    assert info.labels["ring"] == "everyone"
    assert found(metrics, "backstay_plan_ring_devices") == {
        ("acme", "vision", "everyone", "target"): 3,
        ("acme", "vision", "everyone", "confirmed"): 1,
        ("acme", "vision", "everyone", "in_flight"): 1,
        ("acme", "vision", "everyone", "failed"): 1,
        ("acme", "vision", "everyone", "offline"): 0,
    }


def test_plan_loses_its_series_when_it_is_gone(metrics: OperatorMetrics) -> None:
    everything(metrics)
    assert any("vision" in sample.labels.values() for sample in samples(metrics))
    metrics.forget(KEY)
    assert not any("vision" in sample.labels.values() for sample in samples(metrics))


def test_stalled_shows_the_reasons_of_now_when_they_change(metrics: OperatorMetrics) -> None:
    decided(metrics)
    metrics.stalled(KEY, ["Blocked", "Held", "Blocked"])
    assert found(metrics, "backstay_plan_stalled") == {
        ("acme", "vision", "Blocked"): 1,
        ("acme", "vision", "Held"): 1,
    }
    metrics.stalled(KEY, [])
    assert found(metrics, "backstay_plan_stalled") == {}


def test_turn_is_timed_by_how_it_ended_and_shows_while_it_lasts(metrics: OperatorMetrics, clock: Hand) -> None:
    with metrics.turn(KEY) as turn:
        clock.time += timedelta(seconds=7)
        assert found(metrics, "backstay_operator_longest_turn_seconds") == {(): 7}
        turn.result = "conflict"
    assert found(metrics, "backstay_operator_longest_turn_seconds") == {(): 0}
    # The other is there from the start, so that its first error is an increase.
    timed = {("conflict",): 7, ("internal_error",): 0}
    assert found(metrics, "backstay_operator_reconcile_duration_seconds_sum") == timed


@pytest.mark.parametrize(
    ("problem", "result"),
    [
        (None, "done"),
        (Conflict("x"), "conflict"),
        (NotFound("x"), "not_found"),
        (Forbidden("x"), "forbidden"),
        (Refused("x"), "refused"),
        (Unavailable("x"), "unavailable"),
    ],
)
def test_write_is_counted_by_what_became_of_it(
    metrics: OperatorMetrics, problem: BackstayError | None, result: str
) -> None:
    metrics.wrote(Write("releaseplans/status", "patch", problem))
    assert found(metrics, "backstay_operator_api_writes_total") == {("releaseplans/status", result, "patch"): 1}


def test_evaluation_counts_as_a_failure_only_when_prometheus_gave_no_answer(metrics: OperatorMetrics) -> None:
    for result in Result:
        metrics.judged(replace(VERDICT, result=result), 0.2)
    assert found(metrics, "backstay_operator_prometheus_query_failures_total") == {(): 1}
    assert found(metrics, "backstay_operator_prometheus_query_duration_seconds_count") == {(): len(Result)}
    assert found(metrics, "backstay_operator_verdicts_total") == {(result.value,): 1 for result in Result}


def test_gauge_is_read_when_it_is_asked_for(metrics: OperatorMetrics) -> None:
    waiting = ["a", "b"]
    metrics.read("operator_waiting_plans", "x", lambda: one(len(waiting)))
    metrics.read("operator_pages_due", "x", lambda: counted(waiting), ("kind",))
    assert found(metrics, "backstay_operator_waiting_plans") == {(): 2}
    waiting.append("b")
    assert found(metrics, "backstay_operator_pages_due") == {("a",): 1, ("b",): 2}
