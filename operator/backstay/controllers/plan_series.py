"""The series of each plan, made when somebody scrapes, so that what is gone takes its series with it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from backstay.controllers.plan_course import Course
from backstay.controllers.wakes import Key
from backstay.core.actions import Decision
from backstay.core.observed import Observed
from backstay.ports.clock import Clock

Samples = list[tuple[tuple[str, ...], float]]
"""Label values and numbers."""


@dataclass(slots=True)
class _Plan:
    """A plan as it was last decided on."""

    course: Course
    decision: Decision
    ring: str
    stalled: tuple[str, ...] = ()


class Plans(Collector):
    """The series of each plan: one phase, at most 64 rings, and the few reasons for which it may stand still."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._plans: dict[Key, _Plan] = {}

    def follow(self, key: Key, observed: Observed, decision: Decision) -> float | None:
        """Take a decision in; gives the seconds that recovery took where it is over by this one."""
        known = self._plans.get(key)
        course = Course() if known is None else known.course
        rings = observed.plan.rings
        ring = rings[decision.state.ring].name if decision.state.ring < len(rings) else ""
        self._plans[key] = _Plan(course, decision, ring, () if known is None else known.stalled)
        recovery = course.follow(observed, decision, self._clock.now(), self._clock.monotonic())
        return None if recovery is None else recovery.total_seconds()

    def stalled(self, key: Key, reasons: Iterable[str]) -> None:
        """Keep why a plan stands still."""
        if (plan := self._plans.get(key)) is not None:
            plan.stalled = tuple(sorted(set(reasons)))

    def forget(self, key: Key) -> None:
        """Keep nothing of a plan that is gone."""
        self._plans.pop(key, None)

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before plans are."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Every family that any plan has."""
        for plan in self._plans.values():
            plan.course.exposure.run_on(self._clock.monotonic())
        yield self._of_each(
            "info", "1; where the plan stands.", ("revision", "phase", "ring"),
            lambda plan: [((str(plan.decision.state.revision), plan.decision.phase.value, plan.ring), 1.0)],
        )  # fmt: skip
        yield self._of_each(
            "phase_since_timestamp_seconds", "When the present phase began.", (),
            lambda plan: [((), plan.decision.state.since.timestamp())],
        )  # fmt: skip
        yield self._of_each(
            "stalled", "1 for each reason for which the plan waits for a person.", ("reason",),
            lambda plan: [((reason,), 1.0) for reason in plan.stalled],
        )  # fmt: skip
        yield self._of_each(
            "ring_devices", "Devices of a ring by how they stand; target is all of them.", ("ring", "state"), _rings_of
        )
        yield self._of_each(
            "exposed_devices", "Devices that run something of the present revision while it is not proven.", (),
            lambda plan: [((), float(plan.course.exposure.devices))],
        )  # fmt: skip
        yield self._of_each(
            "last_recovery_seconds", "How long the plan's last recovery took.", (),
            lambda plan: [((), took.total_seconds())] if (took := plan.course.last_recovery) is not None else [],
        )  # fmt: skip
        yield self._summed(
            "exposure_device_seconds", "Devices times seconds on revisions that were not proven then.",
            lambda plan: plan.course.exposure.seconds,
        )  # fmt: skip
        yield self._summed(
            "convicted_exposure_device_seconds", "The part of them on revisions that were convicted later.",
            lambda plan: plan.course.exposure.convicted_seconds,
        )  # fmt: skip

    def _of_each(self, name: str, text: str, labels: tuple[str, ...], samples: Callable[[_Plan], Samples]) -> Metric:
        family = GaugeMetricFamily(f"backstay_plan_{name}", text, labels=("namespace", "plan", *labels))
        for key, plan in self._plans.items():
            for values, number in samples(plan):
                family.add_metric((*key, *values), number)
        return family

    def _summed(self, name: str, text: str, number: Callable[[_Plan], float]) -> Metric:
        family = CounterMetricFamily(f"backstay_plan_{name}", text, labels=("namespace", "plan"))
        for key, plan in self._plans.items():
            family.add_metric(key, number(plan))
        return family


def _rings_of(plan: _Plan) -> Samples:
    found: Samples = []
    for report in plan.decision.rings:
        counts = report.counts
        by_state = {
            "target": counts.target,
            "confirmed": counts.confirmed,
            "in_flight": counts.in_flight - report.timed_out,
            "failed": counts.failed + report.timed_out,
            "offline": counts.offline,
        }
        found += [((report.name, state), float(number)) for state, number in by_state.items()]
    return found
