"""What the operator measures of its own work.

Counters and histograms are kept; everything that stands in memory anyway is read when somebody asks, so that a plan,
ring or phase that is gone takes its series with it.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from backstay.adapters.kube.client import Write
from backstay.controllers.plan_series import Plans, Samples
from backstay.controllers.wakes import Key
from backstay.core.actions import Decision
from backstay.core.observed import Observed
from backstay.core.signals import Result, Verdict
from backstay.errors import BackstayError, Conflict, Forbidden, NotFound, Unavailable
from backstay.ports.clock import Clock

DONE: Final = "done"
INTERNAL_ERROR: Final = "internal_error"
TURN_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0)
QUERY_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
RECOVERY_BUCKETS: Final = (30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0)

Reading = Callable[[], Samples]
"""Tells label values and numbers as they are now."""


class OperatorMetrics:
    """The numbers of one operator process, whether it leads or waits to."""

    def __init__(self, clock: Clock) -> None:
        self.registry: Final = CollectorRegistry()
        self._clock = clock
        self._turns = Histogram(
            "backstay_operator_reconcile_duration_seconds",
            "From looking at a plan to having acted, by how it ended.",
            ("result",),
            buckets=TURN_BUCKETS,
            registry=self.registry,
        )
        self._decisions = Counter(
            "backstay_operator_decisions",
            "Decisions by the phase that they led to or stayed in, and by their first reason.",
            ("phase", "reason"),
            registry=self.registry,
        )
        self._writes = Counter(
            "backstay_operator_api_writes",
            "Writes to the API server by resource, verb and result.",
            ("resource", "verb", "result"),
            registry=self.registry,
        )
        self._queries = Histogram(
            "backstay_operator_prometheus_query_duration_seconds",
            "How long the evaluation of one signal took.",
            buckets=QUERY_BUCKETS,
            registry=self.registry,
        )
        self._query_failures = Counter(
            "backstay_operator_prometheus_query_failures",
            "Evaluations to which Prometheus gave no whole answer.",
            registry=self.registry,
        )
        self._verdicts = Counter(
            "backstay_operator_verdicts", "Evaluations of signals by result.", ("result",), registry=self.registry
        )
        self._deliveries = Counter(
            "backstay_operator_page_deliveries",
            "Tries to hand pages to Alertmanager, by result.",
            ("result",),
            registry=self.registry,
        )
        self._recoveries = Histogram(
            "backstay_operator_recovery_duration_seconds",
            "From the first bad signal, or failed device, of a revision to the return of health.",
            buckets=RECOVERY_BUCKETS,
            registry=self.registry,
        )
        # A series that begins at 1 has no increase: an alert would miss the first error.
        self._turns.labels(INTERNAL_ERROR)
        self._running: dict[Key, float] = {}
        self._plans = Plans(clock)
        self._readings = _Readings()
        self.registry.register(self._plans)
        self.registry.register(self._readings)
        self.read("operator_longest_turn_seconds", "Age of the oldest turn that has not ended.", self._longest_turn)

    def exposition(self) -> bytes:
        """Everything as text for Prometheus."""
        return generate_latest(self.registry)

    def read(self, name: str, text: str, reading: Reading, labels: tuple[str, ...] = ()) -> None:
        """Ask for a gauge whenever somebody scrapes; asked of anew under a known name, the later reading counts."""
        self._readings.add(_Gauge(f"backstay_{name}", text, labels, reading))

    @contextmanager
    def turn(self, key: Key) -> Iterator["Turn"]:
        """Time one turn of a plan's loop."""
        turn = Turn()
        began = self._running[key] = self._clock.monotonic()
        try:
            yield turn
        finally:
            self._running.pop(key, None)
            self._turns.labels(turn.result).observe(self._clock.monotonic() - began)

    def decided(self, key: Key, observed: Observed, decision: Decision) -> None:
        """Count a decision, and follow what it does to its plan."""
        reason = decision.because[0].reason.value if decision.because else ""
        self._decisions.labels(decision.phase.value, reason).inc()
        recovery = self._plans.follow(key, observed, decision)
        if recovery is not None:
            self._recoveries.observe(recovery)

    def stalled(self, key: Key, reasons: Iterable[str]) -> None:
        """A plan stands still until somebody does something, for these reasons; none where it does not."""
        self._plans.stalled(key, reasons)

    def forget(self, key: Key) -> None:
        """A plan is gone, and its series are."""
        self._plans.forget(key)

    def wrote(self, write: Write) -> None:
        """Count a write to the API server."""
        self._writes.labels(write.resource, write.verb, result_of(write.problem)).inc()

    def judged(self, verdict: Verdict, seconds: float) -> None:
        """Count the evaluation of a signal."""
        self._queries.observe(seconds)
        self._verdicts.labels(verdict.result.value).inc()
        if verdict.result is Result.PROVIDER_ERROR:
            self._query_failures.inc()

    def delivered(self, problem: BackstayError | None) -> None:
        """Count a try to hand over pages."""
        self._deliveries.labels(result_of(problem)).inc()

    def _longest_turn(self) -> Samples:
        now = self._clock.monotonic()
        return one(max((now - began for began in self._running.values()), default=0.0))


@dataclass(slots=True)
class Turn:
    """How a turn of a plan's loop ended, as far as is known."""

    result: str = DONE


def result_of(problem: BackstayError | None) -> str:
    """What became of something that was asked for, in one word."""
    match problem:
        case None:
            return DONE
        case Conflict():
            return "conflict"
        case NotFound():
            return "not_found"
        case Forbidden():
            return "forbidden"
        case Unavailable():
            return "unavailable"
        case _:
            return "refused"


@dataclass(frozen=True, slots=True)
class _Gauge:
    name: str
    text: str
    labels: tuple[str, ...]
    reading: Reading


class _Readings(Collector):
    """Gauges that are read when they are asked for."""

    def __init__(self) -> None:
        self._gauges: dict[str, _Gauge] = {}

    def add(self, gauge: _Gauge) -> None:
        self._gauges[gauge.name] = gauge

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        for gauge in self._gauges.values():
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=gauge.labels)
            for labels, value in gauge.reading():
                family.add_metric(labels, value)
            yield family


def counted(kinds: Iterable[str]) -> Samples:
    """One sample for each kind: how often it is there."""
    return [((kind,), float(number)) for kind, number in sorted(Tally(kinds).items())]


def one(number: float) -> Samples:
    """The one sample of a gauge without labels."""
    return [((), float(number))]
