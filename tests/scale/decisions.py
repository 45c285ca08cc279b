"""How long one decision takes and how much memory it needs, by the number of devices.

What is timed is what the operator does after an event: it puts a changed device into the plan's view, and decides. Each
case says what it must come to, so that no figure is ever one of something else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import time, timedelta
from decimal import Decimal
from itertools import count, cycle
from typing import Final
from zoneinfo import ZoneInfo

from backstay.core.actions import Decision
from backstay.core.decide import decide
from backstay.core.devices import Device, DeviceName, PlaneState
from backstay.core.fleet import FleetView, Progress
from backstay.core.holds import Hold
from backstay.core.observed import GroupRules, Observed
from backstay.core.plan import Count, Plan, Share
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState, Segment
from backstay.core.selectors import Selector
from backstay.core.signals import Result, Signal, Verdict
from backstay.core.windows import Window
from tests.scale.fleets import KNOWN, LAST, NOW, PLAN, REVISION, Scene, confirmed, device_of, fleet_of
from tests.scale.measuring import Figure, Memory, allocated, timed

Taken = Figure | Memory

_SIGNALS: Final = (
    Signal("latency-p95", "max(latency)", (Plane.MODEL,), maximum=Decimal("0.120"), rule="inference"),
    Signal("restarts", "sum(restarts)", (Plane.FIRMWARE, Plane.CONFIG), maximum=Decimal(3), rule="resources"),
)
_VERDICTS: Final = {signal.name: Verdict(signal.name, Result.PASS, NOW, signal.query, 0.1) for signal in _SIGNALS}
_GROUPS: Final = ("cameras", "warehouses", "streets", "shops")
_CLOSED_NOW: Final = Window(frozenset({(NOW.weekday() - 1) % 7}), time(9), time(16), ZoneInfo("Europe/Berlin"))
_HOLD: Final = Hold("customer-04", Selector.labels(customer="customer-04"), reason="they are moving")


@dataclass(slots=True)
class Desk:
    """A plan at one point of its rollout, with its fleet."""

    size: int
    devices: list[Device]
    plan: Plan
    state: RevisionState
    view: FleetView

    @classmethod
    def at(cls, devices: list[Device], phase: Phase, *, ring: int = LAST, plan: Plan = PLAN) -> "Desk":
        """A fleet, in a phase that began a minute ago."""
        since = NOW - timedelta(minutes=1)
        state = RevisionState(REVISION, 7, REVISION.split("-")[0], phase, since, ring=ring, ring_since=since)
        if phase is Phase.ROLLING_BACK:
            cause = Because(Reason.SIGNAL_FAILED, "latency-p95: 0.2 is above the maximum of 0.120")
            state = replace(state, plane=Plane.CONFIG, suspects=(Plane.MODEL,), cause=cause)
        plan = replace(plan, signals=_SIGNALS)
        return cls(len(devices), devices, plan, state, FleetView(plan, REVISION, devices))

    def decide(self, *holds: Hold) -> Decision:
        """Decide once, with groups that have room."""
        groups = {name: GroupRules(max_unavailable=Count(10**9), devices=self.size) for name in _GROUPS}
        observed = Observed(
            self.plan, self.view, self.state, holds=holds, verdicts=_VERDICTS, known=KNOWN, groups=groups
        )
        return decide(observed, NOW)

    def nothing_to_do(self, what: str) -> Figure:
        """A decision that finds nothing to do."""
        decision = self.decide()
        if decision.actions or decision.phase is not self.state.phase:
            message = f"{what}: something was to be done: {decision.phase}, {decision.because}"
            raise AssertionError(message)
        return timed(what, self.size, self.decide)

    def at_rest(self, progress: Progress) -> Iterator[Device]:
        """The devices of the last ring that have come so far, over and over."""
        return cycle(self.view.members(LAST, progress)[:2000])


def figures(size: int) -> Iterator[Taken]:
    """All figures for one number of devices, as soon as each is taken."""
    yield from _new(size)
    yield from _soaking(size)
    yield from _ready(size)
    yield from _rolling(size)
    yield from _busy(size)
    yield from _done(size)
    yield from _returning(size)


def _new(size: int) -> Iterator[Taken]:
    devices = fleet_of(size, Scene.NEW)
    yield timed("first membership: build the view", size, lambda: len(_built(devices).all_buckets()))
    yield allocated("a fleet at rest", size, lambda: _built(devices))


def _built(devices: list[Device]) -> FleetView:
    view = FleetView(PLAN, REVISION, devices)
    view.counts(0)
    return view


def _soaking(size: int) -> Iterator[Taken]:
    desk = Desk.at(fleet_of(size, Scene.SOAKING), Phase.SOAKING, ring=2)
    yield desk.nothing_to_do("Soaking: nothing to do")


def _ready(size: int) -> Iterator[Taken]:
    desk = Desk.at(fleet_of(size, Scene.READY), Phase.ROLLING)
    ordered = len(desk.decide().actions)
    yield timed(f"Rolling: {ordered} orders", size, desk.decide)
    last = replace(desk.plan.rings[LAST], windows=(_CLOSED_NOW,))
    desk.plan = replace(desk.plan, rings=(*desk.plan.rings[:LAST], last))
    yield desk.nothing_to_do("Rolling: nothing to do, the window is closed")


def _rolling(size: int) -> Iterator[Taken]:
    desk = Desk.at(fleet_of(size, Scene.ROLLING), Phase.ROLLING)
    yield desk.nothing_to_do("Rolling: nothing to do, the budget is full")
    yield from _one_changes(desk)
    yield from _held(desk)
    yield from _membership_changes(desk)


def _one_changes(desk: Desk) -> Iterator[Taken]:
    flying = desk.at_rest(Progress.IN_FLIGHT)

    def begins() -> None:
        device = next(flying)
        status = replace(device.planes[Plane.MODEL], step=2, state=PlaneState.INSTALLING, since=NOW)
        desk.view.put(replace(device, planes={**device.planes, Plane.MODEL: status}))
        desk.decide()

    def confirms() -> None:
        device = next(flying)
        desk.view.put(confirmed(device, "everyone"))
        if len(desk.decide().actions) != 1:
            message = "a place in the budget was free, and not one order was given"
            raise AssertionError(message)
        desk.view.put(device)

    yield timed("Rolling: one device makes progress", desk.size, begins)
    yield timed("Rolling: one device confirms, the next is ordered", desk.size, confirms)


def _held(desk: Desk) -> Iterator[Taken]:
    def placed() -> None:
        desk.decide(_HOLD)

    def lifted() -> None:
        desk.decide()

    yield timed("Rolling: a hold on some devices is placed", desk.size, placed, prepare=lifted)
    yield timed("Rolling: a hold on some devices is lifted", desk.size, lifted, prepare=placed)


def _membership_changes(desk: Desk) -> Iterator[Taken]:
    indexes = count(desk.size)
    names: list[DeviceName] = []

    def joins() -> None:
        device = device_of(next(indexes))
        names.append(device.name)
        desk.view.put(device)
        desk.decide()

    def leaves() -> None:
        desk.view.remove(names.pop())
        desk.decide()

    yield timed("Rolling: a device joins, membership is drawn anew", desk.size, joins)
    yield timed("Rolling: a device is gone, membership is drawn anew", desk.size, leaves, prepare=joins)


def _busy(size: int) -> Iterator[Taken]:
    devices = fleet_of(size, Scene.BUSY)
    last = replace(PLAN.rings[LAST], in_flight=Share(PLAN.rings[LAST].in_flight.part * 2))
    desk = Desk.at(devices, Phase.ROLLING, plan=replace(PLAN, rings=(*PLAN.rings[:LAST], last)))
    yield desk.nothing_to_do("Rolling: nothing to do, a fifth of the fleet in flight")
    yield allocated("a fifth of the fleet in flight", size, lambda: _built(devices))


def _done(size: int) -> Iterator[Taken]:
    devices = fleet_of(size, Scene.DONE)
    yield Desk.at(devices, Phase.STABILIZING).nothing_to_do("Stabilizing: nothing to do")
    yield Desk.at(devices, Phase.SUCCEEDED).nothing_to_do("Succeeded: nothing to do")


def _returning(size: int) -> Iterator[Taken]:
    desk = Desk.at(fleet_of(size, Scene.RETURNING), Phase.ROLLING_BACK)
    yield desk.nothing_to_do("RollingBack: nothing to do, a fifth on their way back")
    desk.state = replace(desk.state, segment=Segment("region", "latam"))
    yield desk.nothing_to_do("RollingBack: the same, confined to one region")
