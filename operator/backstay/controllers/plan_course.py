"""What the course of one plan costs: how many devices run what is not proven, for how long, and how fast it is mended.

It is kept in memory. A new operator counts exposure from when it began to lead, so that the sums are never too high.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from backstay.core.actions import Decision
from backstay.core.fleet import FleetView
from backstay.core.observed import Observed
from backstay.core.plan import Plan
from backstay.core.planes import Plane
from backstay.core.revision import FINISHES_FIRST, Phase, RevisionState
from backstay.core.signals import Result


@dataclass(slots=True)
class Exposure:
    """Devices times seconds: of this revision, of all, and of the revisions that were convicted."""

    devices: int = 0
    revision_seconds: float = 0.0
    seconds: float = 0.0
    convicted_seconds: float = 0.0
    is_convicted: bool = False
    _at: float | None = None

    def run_on(self, monotonic: float) -> None:
        """Count what has passed since it was last looked at."""
        passed = 0.0 if self._at is None else self.devices * (monotonic - self._at)
        self._at = monotonic
        self.seconds += passed
        self.revision_seconds += passed
        if self.is_convicted:
            self.convicted_seconds += passed

    def convict(self) -> None:
        """The revision was bad: all that it was run for was."""
        if not self.is_convicted:
            self.is_convicted = True
            self.convicted_seconds += self.revision_seconds

    def begin_revision(self) -> None:
        """What comes now is another revision's."""
        self.revision_seconds, self.is_convicted = 0.0, False


class Course:
    """One plan from decision to decision."""

    def __init__(self) -> None:
        self.exposure = Exposure()
        self.last_recovery: timedelta | None = None
        self._state: RevisionState | None = None
        self._signal_bad_since: datetime | None = None
        self._failed_since: datetime | None = None
        self._bad_since: datetime | None = None

    def follow(self, observed: Observed, decision: Decision, now: datetime, monotonic: float) -> timedelta | None:
        """Take a decision in; gives the time from the first bad sign to recovery where it recovered by this one."""
        before, state = self._state, decision.state
        self._state = state
        self.exposure.run_on(monotonic)
        if before is None or before.revision != state.revision:
            self._begin_revision()
        self.exposure.devices = exposed_devices(observed.plan, observed.fleet, state)
        if was_convicted(state):
            self.exposure.convict()
        self._heed_bad_signs(decision, now)
        return self._recovered(None if before is None else before.phase, state)

    def _begin_revision(self) -> None:
        self.exposure.begin_revision()
        self._signal_bad_since = self._failed_since = self._bad_since = None

    def _heed_bad_signs(self, decision: Decision, now: datetime) -> None:
        if decision.state.phase in FINISHES_FIRST:
            return
        failing = [verdict.at for verdict in decision.verdicts if verdict.result is Result.FAIL]
        if not failing:
            self._signal_bad_since = None
        elif self._signal_bad_since is None:
            self._signal_bad_since = min(failing)
        if not any(report.counts.failed + report.timed_out for report in decision.rings):
            self._failed_since = None
        elif self._failed_since is None:
            self._failed_since = now

    def _recovered(self, before: Phase | None, state: RevisionState) -> timedelta | None:
        if state.phase in FINISHES_FIRST and self._bad_since is None:
            self._bad_since = self._signal_bad_since or _evidence_of(state) or self._failed_since or state.since
        if state.phase is not Phase.ROLLED_BACK or before not in FINISHES_FIRST or self._bad_since is None:
            return None
        if state.asked_by is not None:
            return None
        self.last_recovery = max(state.since - self._bad_since, timedelta(0))
        return self.last_recovery


def exposed_devices(plan: Plan, fleet: FleetView, state: RevisionState) -> int:
    """How many devices run something that this revision brought them while it is not proven."""
    if state.phase is Phase.SUCCEEDED or fleet.revision != state.revision:
        return 0
    wanted = {plane: release.content for plane, release in plan.target.items()}
    order = tuple(Plane)
    return sum(
        bucket.count
        for bucket in fleet.all_buckets()
        if any(bucket.kind.running[order.index(plane)][0] == wanted.get(plane, "") for plane in bucket.kind.changed)
    )


def was_convicted(state: RevisionState) -> bool:
    """Tell whether the return of one of its versions restored health, as the status tells it of the culprit."""
    if state.phase is not Phase.ROLLED_BACK or state.plane is None:
        return False
    return state.asked_by is None and not state.recovered_unaided


def _evidence_of(state: RevisionState) -> datetime | None:
    """When the verdicts were made that failed the gate; an operator that began to lead since has seen nothing else."""
    return min((verdict.at for verdict in state.evidence if verdict.result is Result.FAIL), default=None)
