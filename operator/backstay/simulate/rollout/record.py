"""What happened in a simulated release: a timeline, the rings' times, and how many devices ran what."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from backstay.core.actions import Decision, Dispatch, Freeze, RingReport, Withdraw
from backstay.core.plan import Plan
from backstay.core.planes import Plane
from backstay.core.reasons import Reason
from backstay.core.revision import Phase, RevisionState

_TOLD_BY_ORDERS: Final = frozenset({Reason.DISPATCHING, Reason.WAITING_FOR_DEVICES, Reason.RETRYING, Reason.SOAKING})
_RESOLUTION_SECONDS: Final = 10.0
"""Exposure is kept to this resolution."""


class Voice(StrEnum):
    """Who a line of the timeline is about."""

    OPERATOR = "Operator"
    WORLD = "World"
    PERSON = "Person"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    at: timedelta
    voice: Voice
    text: str
    phase: Phase | None = None
    """The phase that was entered, where one was."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """How many devices ran what at one time, by their own word."""

    at: timedelta
    new: int
    """Every version that the plan brings."""
    bad: int
    """Any version that a fault makes bad."""


@dataclass(slots=True)
class RingTimes:
    """When a ring reached what; None for what it never did."""

    name: str
    started: timedelta | None = None
    confirmed: timedelta | None = None
    passed: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A simulated release, told and counted."""

    lines: tuple[Line, ...]
    phase: Phase
    waits: tuple[str, ...]
    """The reasons of the last decision."""
    ended: timedelta
    is_over: bool
    """False where the simulation stopped before anything ended."""
    rings: tuple[tuple[RingTimes, RingReport], ...]
    exposure: tuple[Exposure, ...]
    devices: int
    most_bad: int
    left_bad: int
    """Devices that run a bad version at the end."""
    left_bad_unreachable: int
    first_bad: timedelta | None
    """When a device first answered on a bad version."""
    gate_failed: timedelta | None
    last_back: timedelta | None
    """When the last reachable device had returned."""
    frozen: tuple[str, ...]
    running: Mapping[str, int]
    """The version sets that devices run at the end."""
    decisions: int = 0
    orders: int = 0

    @property
    def detection(self) -> timedelta | None:
        """From the first device's answer on a bad version to the gate that failed."""
        if self.gate_failed is None or self.first_bad is None:
            return None
        return self.gate_failed - self.first_bad

    @property
    def recovery(self) -> timedelta | None:
        """From the gate that failed to the last reachable device that had returned."""
        if self.gate_failed is None or self.last_back is None:
            return None
        return self.last_back - self.gate_failed


@dataclass(slots=True)
class Record:
    """Collects what happens."""

    plan: Plan
    start: datetime
    lines: list[Line] = field(default_factory=list)
    exposure: list[Exposure] = field(default_factory=list)
    rings: list[RingTimes] = field(default_factory=list)
    gate_failed: timedelta | None = None
    frozen: list[str] = field(default_factory=list)
    decisions: int = 0
    orders: int = 0
    last: Decision | None = None
    _counted: tuple[float, int, int] | None = None
    _kept_at: float = float("-inf")
    _said: tuple[str, ...] = ()
    _paged: tuple[str, ...] = ()
    _ordered: Counter[tuple[str, str]] = field(default_factory=Counter)
    _ordered_since: timedelta | None = None

    def __post_init__(self) -> None:
        self.rings = [RingTimes(ring.name) for ring in self.plan.rings]

    def tell(self, at: timedelta, text: str, voice: Voice = Voice.WORLD, phase: Phase | None = None) -> None:
        """Something happened."""
        self._tell_orders()
        self.lines.append(Line(at, voice, text, phase))

    def hear(self, at: timedelta, before: RevisionState | None, decision: Decision) -> None:
        """The operator decided."""
        self.decisions += 1
        state, self.last = decision.state, decision
        has_moved = before is None or before.revision != state.revision or before.phase is not state.phase
        if has_moved:
            self._moved(at, before, state)
        told = [because for because in decision.because if has_moved or because.reason not in _TOLD_BY_ORDERS]
        reasons = tuple(str(because.reason) for because in told)
        words = "; ".join(because.message for because in told)
        if has_moved:
            self.tell(at, words, Voice.OPERATOR, state.phase)
        elif reasons != self._said and words:
            self.tell(at, words, Voice.OPERATOR)
        if has_moved or reasons:
            self._said = reasons
        for action in decision.actions:
            self._acted(at, action)
        if (paged := tuple(sorted({str(alert.kind) for alert in decision.alerts}))) != self._paged:
            self.tell(at, f"pages {', '.join(paged)}" if paged else "pages nobody any more", Voice.OPERATOR)
            self._paged = paged

    def counted(self, seconds: float, new: int, bad: int) -> None:
        """So many devices run the new and the bad versions now."""
        if self._counted is not None and seconds - self._kept_at >= _RESOLUTION_SECONDS:
            self._keep_count()
            self._kept_at = seconds
        self._counted = (seconds, new, bad)

    def _keep_count(self) -> None:
        if self._counted is not None:
            seconds, new, bad = self._counted
            self.exposure.append(Exposure(timedelta(seconds=seconds), new, bad))
            self._counted = None

    def finish(self) -> tuple[Line, ...]:
        """Every line, now that no more will come."""
        self._tell_orders()
        self._keep_count()
        return tuple(self.lines)

    def _moved(self, at: timedelta, before: RevisionState | None, state: RevisionState) -> None:
        ring = self.rings[state.ring]
        if state.phase is Phase.ROLLING and (
            before is None or before.phase is Phase.PENDING or before.ring < state.ring
        ):
            ring.started = at
        if state.phase is Phase.SOAKING:
            ring.confirmed = at
        if before is not None and before.phase in {Phase.SOAKING, Phase.REHEARSING}:
            has_passed = state.ring > before.ring or state.phase is Phase.STABILIZING
            self.rings[before.ring].passed = at if has_passed else None
        if state.phase in {Phase.ROLLING_BACK, Phase.HALTED} and self.gate_failed is None:
            self.gate_failed = at

    def _acted(self, at: timedelta, action: Dispatch | Withdraw | Freeze) -> None:
        match action:
            case Dispatch():
                self.orders += 1
                attempt = f", attempt {action.attempt}" if action.attempt > 1 else ""
                drill = f" ({action.drill})" if action.drill else ""
                self._ordered[f"{action.type.lower()} {action.release}{attempt}{drill}", action.ring] += 1
                self._ordered_since = at if self._ordered_since is None else self._ordered_since
            case Withdraw():
                self._ordered["are given no order after all", ""] += 1
                self._ordered_since = at if self._ordered_since is None else self._ordered_since
            case Freeze():
                where = f" where {action.segment}" if action.segment else ""
                words = f"{action.plane} {action.version}{where}: {action.conviction}"
                self.frozen.append(words)
                self.tell(at, f"freezes {words}", Voice.OPERATOR)

    def _tell_orders(self) -> None:
        """Orders are told together, when something else is told next."""
        ordered, since = self._ordered, self._ordered_since
        self._ordered, self._ordered_since = Counter(), None
        if since is None:
            return
        for ring in dict.fromkeys(ring for _, ring in ordered):
            what = ", ".join(f"{count} {words}" for (words, r), count in ordered.items() if r == ring)
            text = f"orders of ring {ring}: {what}" if ring else what
            self.lines.append(Line(since, Voice.OPERATOR, text))


def version_counts(running: Iterable[tuple[tuple[tuple[object, str], ...], int]]) -> dict[str, int]:
    """The version sets that devices run, in words, the most frequent first."""
    found: Counter[str] = Counter()
    for versions, count in running:
        pairs = zip(Plane, versions, strict=True)
        words = ", ".join(f"{plane} {version}" for plane, (content, version) in pairs if content is not None)
        found[words or "nothing"] += count
    return dict(found.most_common())
