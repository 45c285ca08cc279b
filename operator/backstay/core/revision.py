"""The life of a revision: its phases, what is remembered between decisions, and which changes are allowed.

Everything that a phase may become stands in `TRANSITIONS`, each with what leads there; `docs/explanation/` draws its
picture from it. Paused, holds, windows and approvals are inputs and no phases. Superseded is how a revision ends when
the plan asks for other versions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from backstay.core.devices import DeviceName, Drill, RevisionName
from backstay.core.plan import Plan, Ring, least, revision_hash
from backstay.core.planes import Plane
from backstay.core.reasons import Because
from backstay.core.signals import Verdict


class Phase(StrEnum):
    """Where a revision is."""

    PENDING = "Pending"
    ROLLING = "Rolling"
    SOAKING = "Soaking"
    REHEARSING = "Rehearsing"
    STABILIZING = "Stabilizing"
    SUCCEEDED = "Succeeded"
    ROLLING_BACK = "RollingBack"
    VERIFYING = "Verifying"
    ROLLED_BACK = "RolledBack"
    UNRESOLVED = "Unresolved"
    HALTED = "Halted"
    SUPERSEDED = "Superseded"


_FAILS: Final = {
    Phase.ROLLING_BACK: "devices or signals failed, or a person asked",
    Phase.HALTED: "a gate failed that may not roll back",
}
TRANSITIONS: Final[Mapping[Phase, Mapping[Phase, str]]] = MappingProxyType(
    {
        Phase.PENDING: {Phase.ROLLING: "nothing refuses it"},
        Phase.ROLLING: {Phase.SOAKING: "enough of the ring confirmed", **_FAILS},
        Phase.SOAKING: {
            Phase.REHEARSING: "health passed, recovery is to be proved",
            Phase.ROLLING: "health passed, next ring",
            Phase.STABILIZING: "health passed, last ring",
            **_FAILS,
        },
        Phase.REHEARSING: {
            Phase.ROLLING: "recovery is proven, next ring",
            Phase.STABILIZING: "recovery is proven, last ring",
            **_FAILS,
        },
        Phase.STABILIZING: {Phase.SUCCEEDED: "health passed over the whole fleet", **_FAILS},
        Phase.SUCCEEDED: {Phase.ROLLING_BACK: "a person asked"},
        Phase.ROLLING_BACK: {Phase.VERIFYING: "every reachable device returned"},
        Phase.VERIFYING: {
            Phase.ROLLED_BACK: "health returned, the version is frozen",
            Phase.ROLLING_BACK: "health did not return, next suspect",
            Phase.UNRESOLVED: "nothing is left to return, or a device could not",
        },
        Phase.ROLLED_BACK: {},
        Phase.UNRESOLVED: {},
        Phase.HALTED: {
            Phase.ROLLING: "a person resumes",
            Phase.SOAKING: "a person resumes",
            Phase.REHEARSING: "a person resumes",
            Phase.STABILIZING: "a person resumes",
            Phase.ROLLING_BACK: "a person asked",
        },
        Phase.SUPERSEDED: {},
    }
)
"""Which phase may follow which, within one revision, and what leads there."""

WATCHED: Final = frozenset({Phase.SOAKING, Phase.STABILIZING, Phase.ROLLING_BACK, Phase.VERIFYING})
"""The phases in which signals are evaluated."""
FINISHES_FIRST: Final = frozenset({Phase.ROLLING_BACK, Phase.VERIFYING})
"""A rollback has right of way, also over the plan's next versions: no device waits on a bad one for its ring."""
ENDS: Final = frozenset({Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.UNRESOLVED, Phase.HALTED})


@dataclass(frozen=True, slots=True)
class Tally:
    """How one signal has stood in the present phase, up to and including the verdict of `at`."""

    signal: str
    failures: int
    """Failed evaluations in a row."""
    at: datetime
    total: int = 0
    """Failed evaluations altogether."""
    looks: int = 0
    """Comparisons made: they share one error budget."""
    unclear_since: datetime | None = None
    """Since when it has been neither good nor bad; None while it is either."""


class DrillStage(StrEnum):
    """Where one device of a rehearsal stands."""

    RETURNING = "Returning"
    REINSTALLING = "Reinstalling"
    BREAKING = "Breaking"
    MENDING = "Mending"
    DONE = "Done"


@dataclass(frozen=True, slots=True)
class DrillState:
    """One device of a rehearsal."""

    device: DeviceName
    kind: Drill
    stage: DrillStage = DrillStage.RETURNING


@dataclass(frozen=True, slots=True)
class Segment:
    """One label and its value, on which failing devices concentrate."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


@dataclass(frozen=True, slots=True)
class RevisionState:
    """All that is remembered of a revision between two decisions; it is kept in the plan's status."""

    revision: RevisionName
    counter: int
    hash: str
    phase: Phase
    since: datetime
    ring: int = 0
    ring_since: datetime | None = None
    """When the present ring started."""
    plane: Plane | None = None
    """The plane being returned or verified."""
    suspects: tuple[Plane, ...] = ()
    """Planes still to be tried, the likeliest first."""
    reverted: tuple[Plane, ...] = ()
    beside: tuple[Plane, ...] = ()
    """Planes that had to go back with a suspect, because the set would have been incompatible without."""
    cause: Because | None = None
    """Why the gate failed: kept to the end, because the evidence is gone once health has returned."""
    evidence: tuple[Verdict, ...] = ()
    """The verdicts that failed the gate, as they were then."""
    segment: Segment | None = None
    """What a rollback is confined to, where it is."""
    confined_to_ring: bool = False
    """A rollback reaches only the devices of the present ring."""
    recovered_unaided: bool = False
    """Health returned while every device still ran the suspect: its return is then no proof against it."""
    asked_by: str | None = None
    """Who asked for the rollback: then all of it goes back, whatever health says. None where a gate failed."""
    approved: int = 0
    """So many rings, from the first, may start as far as approval goes."""
    pardoned: tuple[int, ...] = ()
    """Failures of each ring so far that a person has accepted."""
    retried_at: datetime | None = None
    """A person let the devices try again that had failed before this."""
    halted_from: Phase | None = None
    """Where a halted rollout goes on when a person resumes it."""
    drills: tuple[DrillState, ...] = ()
    """The devices of the present ring's rehearsal."""
    rehearsed: tuple[str, ...] = ()
    """The rings whose rehearsal has proved recovery."""
    tallies: tuple[Tally, ...] = ()
    handled: str = ""
    """The last request that was answered."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an earlier revision of the plan ended."""

    revision: RevisionName
    phase: Phase
    ended: datetime
    message: str = ""


def ruling_plan(state: RevisionState | None, live: Plan | None, snapshot: Plan | None) -> Plan | None:
    """Choose between the plan as it is written now and the snapshot of the revision that runs.

    A running revision keeps its snapshot; of later edits only those that stop something count at once.
    `live` is None where its versions cannot be resolved. None comes back when there is nothing to go by.
    """
    if state is None or snapshot is None:
        return live
    if live is None:
        return snapshot
    if state.phase in FINISHES_FIRST or revision_hash(live.target) == state.hash:
        return tightened(snapshot, live)
    return live


def tightened(snapshot: Plan, live: Plan) -> Plan:
    """The snapshot with what the live plan forbids meanwhile: later edits may make a rollout stricter, never laxer.

    How long versions are kept is no rule of the rollout, and holds as it is written now.
    """
    rings = {ring.name: ring for ring in live.rings}
    return replace(
        snapshot,
        rings=tuple(_tightened_ring(ring, rings.get(ring.name)) for ring in snapshot.rings),
        paused=live.paused,
        retain=live.retain,
        rollback=replace(snapshot.rollback, automatic=snapshot.rollback.automatic and live.rollback.automatic),
    )


def _tightened_ring(ring: Ring, live: Ring | None) -> Ring:
    if live is None:
        return ring
    return replace(
        ring,
        needs_approval=ring.needs_approval or live.needs_approval,
        in_flight=least(ring.in_flight, live.in_flight),
        max_failed=least(ring.max_failed, live.max_failed),
        soak=max(ring.soak, live.soak),
        windows=tuple(dict.fromkeys((*ring.windows, *live.windows))),
    )


def revision_named(state: RevisionState | None, plan: Plan, used: int = 0) -> RevisionName:
    """The revision that a plan asks for: the one that runs, or the next of its own counter.

    `used` is the highest counter that devices still carry from an earlier plan of the same name.
    """
    if state is not None and (state.hash == revision_hash(plan.target) or state.phase in FINISHES_FIRST):
        return state.revision
    return next_revision(state, plan, used)


def next_revision(state: RevisionState | None, plan: Plan, used: int = 0) -> RevisionName:
    """The name of a revision that would start now; its counter has never been used."""
    return RevisionName(f"{revision_hash(plan.target)}-{max(used, state.counter if state else 0) + 1}")


def counter_of(revision: RevisionName) -> int:
    """The counter in a revision's name; 0 where it is no name that we gave."""
    _, _, counter = revision.rpartition("-")
    return int(counter) if counter.isdecimal() else 0


def ending_of(before: RevisionState | None, now: datetime) -> Outcome | None:
    """How a revision ends that another one follows."""
    if before is None or not before.revision or before.counter == 0:
        return None
    phase = before.phase if before.phase in ENDS else Phase.SUPERSEDED
    return Outcome(before.revision, phase, now, before.cause.message if before.cause else "")
