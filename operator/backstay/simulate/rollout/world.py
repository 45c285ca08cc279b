"""Plays a whole release on a simulated clock, through the same decisions that the operator makes.

The operator here keeps the contract of the real one: it persists the state before it acts, its own writes are in its
view at once, a write on a device that has changed meanwhile is refused, and a new watch begins without verdicts. Time
jumps from one event to the next, and nothing is done for a device while nothing happens to it.
"""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from math import ceil
from typing import Any, Final

from backstay.core.actions import Action, Decision, Dispatch, Freeze, Watch, Withdraw
from backstay.core.decide import decide
from backstay.core.devices import Device, DeviceName
from backstay.core.fleet import FleetView
from backstay.core.holds import Hold
from backstay.core.observed import GroupRules, Observed
from backstay.core.plan import Plan
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.reasons import Reason
from backstay.core.requests import Request, Unreadable, parse_request
from backstay.core.revision import ENDS, Phase, RevisionState, revision_named
from backstay.core.selectors import EVERYTHING, Selector
from backstay.core.signals import Result, Verdict, WhenUnclear
from backstay.simulate.rollout.crowd import NOTICED_SECONDS, Answer, Crowd
from backstay.simulate.rollout.faults import NO_FAULTS, Faults
from backstay.simulate.rollout.prometheus import Watched, ask
from backstay.simulate.rollout.record import Outcome, Record, Voice, version_counts
from backstay.simulate.rollout.times import spoken

START: Final = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""A Monday morning."""
LONGEST: Final = timedelta(days=14)
TAKE_OVER_SECONDS: Final = 20.0
"""The lease of an operator that died must run out, and the next one has to start."""
_DEVICES_PER_SECOND: Final = 20_000
"""An operator of a large fleet looks again once in so many seconds, not at every word of every device."""
_MOST_TURNS: Final = 100_000

_FAULT, _DEVICE, _PROMETHEUS, _OPERATOR = range(4)
"""What happens at the same time happens in this order."""

_PROBES: Final[Mapping[Plane, str]] = dict.fromkeys(Plane, "inference")


@dataclass(frozen=True, slots=True)
class Setting:
    """What is played."""

    plan: Plan
    devices: tuple[Device, ...]
    known: Mapping[ContentDigest, Release]
    faults: Faults = NO_FAULTS
    holds: tuple[Hold, ...] = ()
    groups: Mapping[str, GroupRules] = field(default_factory=dict)
    reporting: frozenset[str] = frozenset()
    probes: Mapping[Plane, str] = field(default_factory=lambda: _PROBES)
    seed: int = 1
    start: datetime = START
    longest: timedelta = LONGEST
    approves_after: timedelta | None = timedelta(minutes=15)
    """How long a person takes to approve a ring; None where nobody ever does."""


def play(setting: Setting) -> Outcome:
    """Play the release to its end; the same setting always gives the same outcome."""
    # Nothing here refers to itself, and looking for what does would double the time of a large fleet.
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        return _World(setting).run()
    finally:
        if was_collecting:
            gc.enable()


_Happens = tuple[float, int, int, Callable[..., None], tuple[Any, ...]]


class _World:
    """The clock, the neighbours, and the operator."""

    def __init__(self, setting: Setting) -> None:
        plan, faults = setting.plan, setting.faults
        self._setting = setting
        self._plan = plan
        self._crowd = Crowd(plan, setting.devices, faults, setting.probes, setting.groups, seed=setting.seed)
        self._record = Record(plan, setting.start)
        self._holds = setting.holds
        self._heap: list[_Happens] = []
        self._sequence = 0
        self._seconds = 0.0
        self._now = setting.start
        self._open = 0
        """What devices and people are still to do."""
        self._state: RevisionState | None = None
        self._because: tuple[str, ...] = ()
        self._request: Request | Unreadable | None = None
        self._requests = 0
        self._view = self._new_view()
        self._is_up = True
        self._turn_at: float | None = None
        self._turned_at = float("-inf")
        self._rests = max(1.0, len(setting.devices) / _DEVICES_PER_SECOND)
        self._wakes_at: datetime | None = None
        self._watch: Watch | None = None
        self._watches_from = 0.0
        self._verdicts: dict[str, Verdict] = {}
        self._look = 0
        self._look_at: float | None = None
        self._interval = min((s.interval.total_seconds() for s in plan.signals), default=0.0)
        self._count()

    # --- time

    def run(self) -> Outcome:
        """Let everything happen until nothing more does, or the release is over."""
        self._foretell()
        self._wake(0.0)
        longest = self._setting.longest.total_seconds()
        while self._heap and not self._is_over():
            seconds, _, _, happens, arguments = heappop(self._heap)
            if seconds > longest:
                self._seconds = longest
                break
            if seconds != self._seconds:
                self._seconds = seconds
                self._now = self._setting.start + timedelta(seconds=seconds)
            happens(*arguments)
        return self._outcome()

    def _is_over(self) -> bool:
        return self._state is not None and self._state.phase in ENDS and not self._open and self._turn_at is None

    def _at(self, seconds: float, order: int, happens: Callable[..., None], *arguments: object) -> None:
        self._sequence += 1
        heappush(self._heap, (seconds, order, self._sequence, happens, arguments))

    @property
    def _since_start(self) -> timedelta:
        return timedelta(seconds=self._seconds)

    def _tell(self, words: str, voice: Voice = Voice.WORLD) -> None:
        self._record.tell(self._since_start, words, voice)

    # --- faults

    def _foretell(self) -> None:
        """Everything that is known from the beginning to happen."""
        faults = self._setting.faults
        for outages, who in ((faults.registry, "the registry"), (faults.prometheus, "Prometheus")):
            for outage in outages:
                words = f"{who} is away for {spoken(outage.lasts)}"
                self._at(outage.at.total_seconds(), _FAULT, self._outage, words)
                self._at(outage.ends.total_seconds(), _FAULT, self._outage, f"{who} is back")
        for at in faults.crashes:
            self._at(at.total_seconds(), _FAULT, self._crash)
        if (offline := len(self._crowd.offline)) and faults.offline:
            lasts = faults.offline.lasts
            self._tell(f"{offline} devices cannot be reached{f' for {spoken(lasts)}' if lasts else ''}")
            if lasts is not None:
                self._open += 1
                self._at(lasts.total_seconds(), _FAULT, self._all_return)

    def _outage(self, words: str) -> None:
        self._tell(words)
        self._disturb()

    def _crash(self) -> None:
        if not self._is_up:
            return
        self._tell("the operator dies; its lease has to run out")
        self._is_up = False
        self._turn_at = None
        self._follow(None)
        self._at(self._seconds + TAKE_OVER_SECONDS, _FAULT, self._take_over)

    def _take_over(self) -> None:
        """Another operator lists everything anew, and remembers what the plan's status says, no more."""
        self._tell("another operator has taken over")
        self._is_up = True
        self._crowd.changed.clear()
        self._view = self._new_view()
        self._wake(self._seconds)

    def _all_return(self) -> None:
        self._open -= 1
        names = [name for name in sorted(self._crowd.offline) if not self._crowd.is_mute(name)]
        for name in names:
            self._crowd.set_reachable(name, is_reachable=True)
        self._tell(f"{len(names)} devices can be reached again")
        self._wake(self._seconds)

    # --- devices

    def _ordered(self, device: DeviceName, number: int, plane: Plane) -> None:
        crowd = self._crowd
        if crowd.will_fall_silent(device) and not crowd.is_mute(device):
            self._open += 1
            self._at(self._seconds + crowd.pace.until_asked(plane), _DEVICE, self._fall_silent, device, number)
        elif (answer := crowd.answer_to(device, number, self._seconds)) is not None:
            self._open += 1
            self._at(self._seconds + answer.after_seconds, _DEVICE, self._end, device, number, answer)

    def _end(self, device: DeviceName, number: int, answer: Answer) -> None:
        self._open -= 1
        if self._crowd.end(device, number, answer, self._seconds, self._now):
            self._count()
            self._disturb()
            self._wake(max(self._seconds, self._turned_at + self._rests))

    def _fall_silent(self, device: DeviceName, number: int) -> None:
        self._crowd.falls_silent(device, number, self._now)
        self._at(self._seconds + NOTICED_SECONDS, _DEVICE, self._lose, device)
        self._wake(max(self._seconds, self._turned_at + self._rests))

    def _lose(self, device: DeviceName) -> None:
        self._open -= 1
        self._crowd.set_reachable(device, is_reachable=False)
        self._wake(max(self._seconds, self._turned_at + self._rests))

    def _count(self) -> None:
        self._record.counted(self._seconds, self._crowd.new, self._crowd.bad)

    # --- Prometheus

    def _follow(self, watch: Watch | None) -> None:
        """Watch this from now on; a new watch begins without verdicts, and the same one goes on undisturbed."""
        if watch == self._watch:
            return
        self._watch, self._verdicts = watch, {}
        self._look_at = None
        self._look += 1
        if watch is not None and self._plan.signals:
            self._watches_from = ((watch.since or self._now) - self._setting.start).total_seconds()
            self._look_next(self._seconds)

    def _look_next(self, seconds: float) -> None:
        self._look += 1
        self._look_at = seconds
        self._at(seconds, _PROMETHEUS, self._evaluate, self._look)

    def _disturb(self) -> None:
        """Something that signals may show has changed: look again at the next mark of the interval."""
        if self._watch is None or not self._plan.signals or not self._interval:
            return
        marks = ceil((self._seconds - self._watches_from) / self._interval + 1e-9)
        following = self._watches_from + marks * self._interval
        if self._look_at is None or self._look_at > following:
            self._look_next(following)

    def _evaluate(self, look: int) -> None:
        if look != self._look or self._watch is None:
            return
        self._look_at = None
        before = {name: verdict.result for name, verdict in self._verdicts.items()}
        watched = self._watched(self._watch)
        is_away = any(o.at <= self._since_start < o.ends for o in self._setting.faults.prometheus)
        for signal in self._plan.signals:
            self._verdicts[signal.name] = ask(
                signal, watched, self._now, is_away=is_away, is_reporting=signal.name in self._setting.reporting
            )
        self._wake(self._seconds)
        if before != {name: verdict.result for name, verdict in self._verdicts.items()} or not self._is_quiet():
            self._look_next(self._seconds + self._interval)

    def _watched(self, watch: Watch) -> Watched:
        crowd = self._crowd
        rings = [ring.name for ring in self._plan.rings] if watch.ring is None else [watch.ring]
        devices = sum(crowd.took_part[ring] for ring in rings)
        ill = {plane: sum(crowd.ill[ring, plane] for ring in rings) for plane in Plane}
        baseline = len(crowd.devices) - sum(crowd.took_part.values())
        return Watched(devices, ill, baseline, watch.looks)

    def _is_quiet(self) -> bool:
        """Whether another look with the same result would change nothing before the operator wakes by itself."""
        return not any(
            signal.comparison is not None
            or (result := self._verdicts[signal.name].result) is Result.FAIL
            or (result is not Result.PASS and signal.when(result) is WhenUnclear.FAIL)
            for signal in self._plan.signals
        )

    def _look_when_it_matters(self) -> None:
        """While all is quiet the next look is the first one that the operator waits for."""
        if self._watch is None or self._look_at is not None or self._wakes_at is None or not self._plan.signals:
            return
        wakes = (self._wakes_at - self._setting.start).total_seconds()
        marks = max(1, ceil((max(wakes, self._seconds) - self._watches_from) / self._interval - 1e-9))
        following = self._watches_from + marks * self._interval
        self._look_next(following if following > self._seconds else following + self._interval)

    # --- the operator

    def _new_view(self) -> FleetView:
        return FleetView(self._plan, revision_named(self._state, self._plan), self._crowd.devices.values())

    def _wake(self, seconds: float) -> None:
        if self._is_up and (self._turn_at is None or seconds < self._turn_at):
            self._turn_at = seconds
            self._at(seconds, _OPERATOR, self._turn, seconds)

    def _turn(self, due: float) -> None:
        """Decide until nothing is left to do at this instant."""
        if not self._is_up or self._turn_at != due:
            return
        self._turn_at, self._turned_at = None, self._seconds
        self._see()
        for _ in range(_MOST_TURNS):
            decision = self._decide()
            if decision.wake_at is None or decision.wake_at > self._now:
                break
        else:
            message = f"the operator decides without end at {self._since_start}: {self._because}"
            raise AssertionError(message)
        self._wakes_at = decision.wake_at
        if decision.wake_at is not None:
            self._wake((decision.wake_at - self._setting.start).total_seconds())
        self._look_when_it_matters()

    def _see(self) -> None:
        devices, put = self._crowd.devices, self._view.put
        for name in self._crowd.changed:
            put(devices[name])
        self._crowd.changed.clear()

    def _decide(self) -> Decision:
        observed = Observed(
            self._plan,
            self._view,
            self._state,
            holds=self._holds,
            verdicts=dict(self._verdicts),
            known=self._setting.known,
            groups=self._crowd.group_rules(),
            request=self._request,
        )
        decision = decide(observed, self._now)
        before, self._state = self._state, decision.state
        self._record.hear(self._since_start, before, decision)
        self._because = tuple(str(because) for because in decision.because)
        if decision.answer is not None:
            self._request = None
        self._follow(decision.watch)
        for action in decision.actions:
            self._act(action)
        self._see()
        self._approve_soon(decision)
        if any(isinstance(action, Freeze) for action in decision.actions):
            self._wake(self._seconds)
        return decision

    def _act(self, action: Action) -> None:
        match action:
            case Dispatch():
                if self._state is not None and self._crowd.order(action, self._state.revision, self._now):
                    self._ordered(action.device, action.number, action.release.plane)
            case Withdraw():
                self._crowd.withdraw(action)
            case Freeze(segment=segment):
                scope = EVERYTHING if segment is None else Selector.labels(**{segment.key: segment.value})
                versions = frozenset({(action.plane, action.content)})
                if all(hold.name != action.hold_name for hold in self._holds):
                    hold = Hold(action.hold_name, scope, versions=versions, reason=action.evidence)
                    self._holds = (*self._holds, hold)

    def _approve_soon(self, decision: Decision) -> None:
        """A person approves a ring some time after it has begun to wait."""
        waits = any(because.reason is Reason.WAITING_FOR_APPROVAL for because in decision.because)
        if not waits or self._setting.approves_after is None or self._requests > decision.state.approved:
            return
        ring = 0 if decision.phase is Phase.PENDING else decision.state.ring + 1
        self._requests = ring + 1
        self._open += 1
        after = self._setting.approves_after.total_seconds()
        self._at(self._seconds + after, _FAULT, self._approve, decision.state.revision, self._plan.rings[ring].name)

    def _approve(self, revision: str, ring: str) -> None:
        self._open -= 1
        self._tell(f"a person approves ring {ring}", Voice.PERSON)
        self._request = parse_request(f"approve@{revision}/{ring}/1", "a person")
        self._wake(self._seconds)

    # --- the end

    def _outcome(self) -> Outcome:
        crowd, record, state = self._crowd, self._record, self._state
        self._count()
        self._see()
        left, unreachable = crowd.left_bad()
        reports = record.last.rings if record.last else ()
        failed_at = record.gate_failed
        back = None if crowd.last_back is None else timedelta(seconds=crowd.last_back)
        return Outcome(
            lines=record.finish(),
            phase=state.phase if state else Phase.PENDING,
            waits=self._because,
            ended=self._since_start,
            is_over=self._is_over(),
            rings=tuple(zip(record.rings, reports, strict=True)),
            exposure=tuple(record.exposure),
            devices=len(crowd.devices),
            most_bad=crowd.most_bad,
            left_bad=left,
            left_bad_unreachable=unreachable,
            first_bad=None if crowd.first_bad is None else timedelta(seconds=crowd.first_bad),
            gate_failed=failed_at,
            last_back=back if failed_at is not None and back is not None and back >= failed_at else None,
            frozen=tuple(record.frozen),
            running=version_counts(self._view.running()),
            decisions=record.decisions,
            orders=record.orders,
        )
