"""The life of a revision: its phases, what is remembered between decisions, and which changes are allowed.

    Pending ─► Rolling(ring) ─► Soaking(ring) ─► … ─► Stabilizing ─► Succeeded
                   │                │                     │
                   └────────────────┴──────┬──────────────┘
                                           ▼
                     RollingBack(plane) ─► Verifying(plane) ─► RolledBack | Unresolved
                            ▲                    │
                            └────────────────────┘   (health has not returned: the next suspect)

Halted is reached instead of RollingBack where the plan forbids an automatic rollback; Superseded is how
a revision ends when the plan asks for other versions. Everything else (paused, holds) is an input.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from backstay.core.devices import RevisionName
from backstay.core.plan import Plan, revision_hash
from backstay.core.planes import Plane
from backstay.core.reasons import Because


class Phase(StrEnum):
    """Where a revision is."""

    PENDING = "Pending"
    ROLLING = "Rolling"
    SOAKING = "Soaking"
    STABILIZING = "Stabilizing"
    SUCCEEDED = "Succeeded"
    ROLLING_BACK = "RollingBack"
    VERIFYING = "Verifying"
    ROLLED_BACK = "RolledBack"
    UNRESOLVED = "Unresolved"
    HALTED = "Halted"
    SUPERSEDED = "Superseded"


_FAILS: Final = frozenset({Phase.ROLLING_BACK, Phase.HALTED})
TRANSITIONS: Final[Mapping[Phase, frozenset[Phase]]] = MappingProxyType(
    {
        Phase.PENDING: frozenset({Phase.ROLLING}),
        Phase.ROLLING: frozenset({Phase.SOAKING}) | _FAILS,
        Phase.SOAKING: frozenset({Phase.ROLLING, Phase.STABILIZING}) | _FAILS,
        Phase.STABILIZING: frozenset({Phase.SUCCEEDED}) | _FAILS,
        Phase.SUCCEEDED: frozenset(),
        Phase.ROLLING_BACK: frozenset({Phase.VERIFYING}),
        Phase.VERIFYING: frozenset({Phase.ROLLED_BACK, Phase.ROLLING_BACK, Phase.UNRESOLVED}),
        Phase.ROLLED_BACK: frozenset(),
        Phase.UNRESOLVED: frozenset(),
        Phase.HALTED: frozenset(),
        Phase.SUPERSEDED: frozenset(),
    }
)
"""Which phase may follow which, within one revision."""

WATCHED: Final = frozenset({Phase.SOAKING, Phase.STABILIZING, Phase.VERIFYING})
"""The phases in which signals are evaluated."""
FINISHES_FIRST: Final = frozenset({Phase.ROLLING_BACK, Phase.VERIFYING})
"""A rollback has right of way, also over the plan's next versions: no device waits on a bad one for its ring."""
ENDS: Final = frozenset({Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.UNRESOLVED, Phase.HALTED})


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a signal has failed in a row, up to and including the verdict of `at`."""

    signal: str
    failures: int
    at: datetime


@dataclass(frozen=True, slots=True)
class RevisionState:
    """All that is remembered of a revision between two decisions; it is kept in the plan's status."""

    revision: RevisionName
    counter: int
    hash: str
    phase: Phase
    since: datetime
    ring: int = 0
    plane: Plane | None = None
    """The plane being returned or verified."""
    suspects: tuple[Plane, ...] = ()
    """Planes still to be tried, the likeliest first."""
    reverted: tuple[Plane, ...] = ()
    beside: tuple[Plane, ...] = ()
    """Planes that had to go back with a suspect, because the set would have been incompatible without."""
    cause: Because | None = None
    """Why the gate failed: kept to the end, because the evidence is gone once health has returned."""
    tallies: tuple[Tally, ...] = ()


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
    """The snapshot with what the live plan forbids meanwhile."""
    automatic = snapshot.rollback.automatic and live.rollback.automatic
    return replace(
        snapshot,
        paused=live.paused,
        rollback=replace(snapshot.rollback, automatic=automatic),
    )


def revision_named(state: RevisionState | None, plan: Plan) -> RevisionName:
    """The revision that a plan asks for: the one that runs, or the next of its own counter."""
    wanted = revision_hash(plan.target)
    if state is not None and state.hash == wanted:
        return state.revision
    if state is not None and state.phase in FINISHES_FIRST:
        return state.revision
    return RevisionName(f"{wanted}-{state.counter + 1 if state else 1}")
