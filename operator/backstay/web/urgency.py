"""Which plan a person looks at first, and how each phase is told from the others."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from backstay.api import ReleasePlan
from backstay.api.conditions import Condition, ConditionStatus
from backstay.api.releaseplan_status import RevisionPhase
from backstay.core.reasons import Reason
from backstay.ports.overview import Known


class Rank(IntEnum):
    """The order of the overview."""

    UNREADABLE = 0
    UNRESOLVED = 1
    HALTED = 2
    GOING_BACK = 3
    BLOCKED = 4
    WAITS_FOR_APPROVAL = 5
    WENT_BACK = 6
    PAUSED = 7
    RUNNING = 8
    STABILIZING = 9
    QUIET = 10

    @property
    def needs_a_person(self) -> bool:
        """Whether nothing good happens until somebody does something, or watches closely."""
        return self <= Rank.WENT_BACK

    @property
    def is_running(self) -> bool:
        """Whether it goes on by itself."""
        return Rank.PAUSED <= self <= Rank.STABILIZING


_OF_PHASE: Final = {
    RevisionPhase.UNRESOLVED: Rank.UNRESOLVED,
    RevisionPhase.HALTED: Rank.HALTED,
    RevisionPhase.ROLLING_BACK: Rank.GOING_BACK,
    RevisionPhase.VERIFYING: Rank.GOING_BACK,
    RevisionPhase.ROLLED_BACK: Rank.WENT_BACK,
    RevisionPhase.STABILIZING: Rank.STABILIZING,
    RevisionPhase.SUCCEEDED: Rank.QUIET,
    RevisionPhase.SUPERSEDED: Rank.QUIET,
}

_TONES: Final = {
    Rank.UNREADABLE: "bad",
    Rank.UNRESOLVED: "bad",
    Rank.HALTED: "bad",
    Rank.GOING_BACK: "bad",
    Rank.BLOCKED: "wait",
    Rank.WAITS_FOR_APPROVAL: "wait",
    Rank.WENT_BACK: "bad",
    Rank.PAUSED: "wait",
    Rank.RUNNING: "run",
    Rank.STABILIZING: "run",
    Rank.QUIET: "ok",
}


@dataclass(frozen=True, slots=True)
class Stand:
    """A plan's phase as the page shows it."""

    rank: Rank
    phase: str
    reason: str
    why: str

    @property
    def tone(self) -> str:
        """What the icon and the colour say."""
        return _TONES[self.rank]


def stand_of(known: Known[ReleasePlan]) -> Stand:
    """Where a plan stands, with the sentence that says why."""
    plan = known.model
    if plan is None:
        return Stand(Rank.UNREADABLE, "Unreadable", "Unreadable", known.problem)
    status = plan.status
    phase = status.phase or RevisionPhase.PENDING
    conditions = {one.type: one for one in status.conditions}
    stalled = conditions.get("Stalled")
    is_stalled = stalled is not None and stalled.status is ConditionStatus.TRUE
    said = _saying(conditions)
    reason, why = (said.reason, said.message) if said else ("", "the operator has not looked at it yet")
    return Stand(_rank(plan, phase, reason, is_stalled=is_stalled), phase.value, reason, why)


def _rank(plan: ReleasePlan, phase: RevisionPhase, reason: str, *, is_stalled: bool) -> Rank:
    found = _OF_PHASE.get(phase, Rank.RUNNING)
    if found in {Rank.UNRESOLVED, Rank.HALTED, Rank.GOING_BACK, Rank.WENT_BACK}:
        return found
    if is_stalled:
        return Rank.WAITS_FOR_APPROVAL if reason == Reason.WAITING_FOR_APPROVAL else Rank.BLOCKED
    if plan.spec.paused and found is not Rank.QUIET:
        return Rank.PAUSED
    return found


def _saying(conditions: dict[str, Condition]) -> Condition | None:
    """What says best why a plan stands where it stands."""
    for kind in ("Stalled", "Reconciling", "Ready"):
        one = conditions.get(kind)
        if one is not None and one.message and (one.status is ConditionStatus.TRUE or kind == "Ready"):
            return one
    return None
