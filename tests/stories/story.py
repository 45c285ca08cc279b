"""A story: one release in a small world, told as a person would hear it.

`tell` is what people, devices and networks do; everything else in the text is what the operator decided and said. A
story also collects the points that it passes: a reason in a phase, or a change of phase with its reason.
"""

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from backstay.core.actions import Action, Decision, Dispatch, Freeze, Withdraw
from backstay.core.devices import DeviceName
from backstay.core.reasons import Reason
from tests.laws.release_world import World

WIDTH = 100
_TOLD_BY_ORDERS = frozenset({Reason.DISPATCHING, Reason.WAITING_FOR_DEVICES})


@dataclass
class Story:
    """A world and what was said in it."""

    title: str
    world: World
    shuffle: random.Random | None = None
    """Devices act and are seen in an order drawn from this, with decisions in between; None keeps the order."""
    lines: list[str] = field(default_factory=list)
    points: set[str] = field(default_factory=set)
    began: datetime | None = None
    _said: tuple[str, ...] = ()
    _paged: tuple[str, ...] = ()
    _moves: int = 0
    _orders: Counter[tuple[str, str]] = field(default_factory=Counter)

    def tell(self, words: str) -> None:
        """Something happens that the operator did not do."""
        self._tell_orders()
        self.lines.append(f"{self._clock()}  {words}")

    def passes(self, seconds: int, *, well: bool = True, step: int = 5) -> None:
        """Time passes: devices obey, health is measured, the operator decides."""
        for _ in range(0, seconds, step):
            self._devices_act(well=well)
            self.world.measure()
            self.decides()
            self.world.now += timedelta(seconds=step)

    def decides(self, limit: int = 60) -> None:
        """The operator decides until nothing moves at this instant."""
        for _ in range(limit):
            before = self.world.state
            decision = self.world.tick()
            self._hear(decision)
            if self.world.state == before and not decision.actions:
                return

    def members(self, ring: int) -> list[DeviceName]:
        """The devices of a ring, in order of rank."""
        fleet = self.world.observe().fleet
        return [device.name for device in fleet if fleet.ring_of(device.name) == ring]

    def changes(self, name: DeviceName, **changes: object) -> None:
        """Something changes about a device, and the operator sees it."""
        self.world.write(replace(self.world.truth[name], **changes))  # type: ignore[arg-type]
        self.world.see(name)

    def asks(self, verb: str, ring: str = "-", nonce: str = "1") -> None:
        """A person writes a request onto the plan."""
        assert self.world.state is not None
        self.world.asked = f"{verb}@{self.world.state.revision}/{ring}/{nonce}"

    def text(self) -> str:
        """The story as it stands in its file."""
        end = self.world.state
        assert end is not None
        self._tell_orders()
        versions = Counter(
            ", ".join(f"{plane} {device.status(plane).version}" for plane in device.planes)
            for device in self.world.truth.values()
        )
        ending = [f"        {_devices(count)} with {versions}" for versions, count in sorted(versions.items())]
        holds = [f"        hold {hold.name}: {hold.reason}" for hold in sorted(self.world.holds, key=lambda h: h.name)]
        body = [self.title, "", *self.lines, "", f"  It ends {end.phase}.", *ending, *holds]
        return "\n".join(piece for line in body for piece in _wrapped(line)) + "\n"

    def ending(self) -> tuple[object, ...]:
        """What must not depend on the order in which devices act."""
        state, truth = self.world.state, self.world.truth
        assert state is not None
        running = {
            name: tuple(device.status(plane).running for plane in device.planes) for name, device in truth.items()
        }
        return state.phase, state.ring, state.reverted, running, sorted(hold.name for hold in self.world.holds)

    def _devices_act(self, *, well: bool) -> None:
        names = list(self.world.truth)
        if self.shuffle is None:
            self.world.obey(well=well)
            self.world.see_all()
            return
        self.shuffle.shuffle(names)
        self.world.obey(well=well, order=names)
        self.shuffle.shuffle(names)
        for name in [*names, *(self.world.seen.keys() - self.world.truth.keys())]:
            self.world.see(DeviceName(name))

    def _hear(self, decision: Decision) -> None:
        moves = self.world.moves
        has_moved, self._moves = len(moves) > self._moves, len(moves)
        before = moves[-1][0] if has_moved else None
        for because in decision.because:
            self.points.add(f"{decision.phase}: {because.reason}")
            if before is not None:
                self.points.add(f"{before.phase} to {decision.phase}: {because.reason}")
        told = [because for because in decision.because if because.reason not in _TOLD_BY_ORDERS]
        reasons = tuple(str(because.reason) for because in told)
        words = "; ".join(because.message for because in told)
        if has_moved:
            self._say(f"[{decision.phase}] {words}")
        elif decision.answer is not None:
            self._say(f"answers: {decision.answer}")
        elif reasons != self._said and words:
            self._say(words)
        self._said = reasons
        self._note(decision)
        for action in decision.actions:
            if isinstance(action, Freeze):
                where = f" where {action.segment}" if action.segment else ""
                self._say(f"freezes {action.plane} {action.version}{where}: {action.conviction}")
        if (paged := tuple(str(alert.kind) for alert in decision.alerts)) != self._paged:
            self._say(f"pages {', '.join(paged)}" if paged else "pages nobody any more")
            self._paged = paged

    def _note(self, decision: Decision) -> None:
        """Orders are told together, when something else is told next."""
        self.points.update(f"{decision.phase}: {_kind_of(action)}" for action in decision.actions)
        if frozen := {str(action.conviction) for action in decision.actions if isinstance(action, Freeze)}:
            self.points.add(f"{decision.phase}: freezes as {' and '.join(sorted(frozen))}")
        for action in decision.actions:
            match action:
                case Dispatch():
                    attempt = f", attempt {action.attempt}" if action.attempt > 1 else ""
                    drill = f" ({action.drill})" if action.drill else ""
                    self._orders[f"to {action.type.lower()} {action.release}{attempt}{drill}", action.ring] += 1
                case Withdraw():
                    self._orders["called off before they began", ""] += 1
                case Freeze():
                    pass

    def _tell_orders(self) -> None:
        orders, self._orders = self._orders, Counter()
        for ring in dict.fromkeys(ring for _, ring in orders):
            what = ", ".join(f"{_devices(count)} {words}" for (words, r), count in orders.items() if r == ring)
            self.lines.append(f"{self._clock()}    {f'ring {ring}: ' if ring else ''}{what}")

    def _say(self, words: str) -> None:
        self._tell_orders()
        self.lines.append(f"{self._clock()}    {words}")

    def _clock(self) -> str:
        self.began = self.began or self.world.now
        seconds = int((self.world.now - self.began).total_seconds())
        return f"{seconds // 3600:3}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _kind_of(action: Action) -> str:
    match action:
        case Dispatch():
            return f"orders {action.type}"
        case Withdraw():
            return "takes an order back"
        case Freeze():
            return "freezes a segment" if action.segment else "freezes"


def _wrapped(line: str) -> list[str]:
    """A long line goes on under its own text."""
    pieces: list[str] = []
    while len(line) > WIDTH:
        cut = line.rfind(" ", 20, WIDTH)
        if cut < 0:
            break
        pieces.append(line[:cut])
        line = " " * 16 + line[cut + 1 :]
    return [*pieces, line]
