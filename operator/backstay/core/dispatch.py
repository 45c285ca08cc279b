"""Whom to order what, now: never more devices in flight than the ring's budget, never a held one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from itertools import islice
from math import ceil
from typing import Final

from backstay.core.actions import Action, Dispatch, Withdraw
from backstay.core.devices import Device, Drill, StepType
from backstay.core.failures import is_undelivered
from backstay.core.fleet import Bucket, Kind, Progress, was_pardoned
from backstay.core.gates import NOBODY_HELD, Held
from backstay.core.holds import Hold, InFlight
from backstay.core.observed import Observed
from backstay.core.path import NoPath
from backstay.core.planes import ContentDigest, Plane
from backstay.core.reasons import Because, Reason, devices
from backstay.core.revision import RevisionState
from backstay.core.room import Room
from backstay.core.steps import Order, next_back, search_once, way_out
from backstay.core.windows import next_opening

RETURNS_IN_FLIGHT: Final = 100
"""A rollback's own budget: it has right of way, but a registry and a gateway must still carry it."""
RETURNS_SHARE: Final = Fraction(1, 5)
"""Of a large fleet so many return at the same time, so that a bad version never stays for the number's sake."""
MOST_AT_ONCE: Final = 256
"""Orders of one decision; the next decision gives the next ones, and may know better by then."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What can be done now, whether anything is left to do, and what stops the rest."""

    actions: tuple[Action, ...]
    is_complete: bool
    """No device of the ring is in flight, and none that could be ordered is left."""
    because: tuple[Because, ...] = ()
    held: Held = NOBODY_HELD
    wakes: tuple[datetime | None, ...] = ()


@dataclass(slots=True)
class _Stopped:
    """Devices that could be ordered to change and are not, counted by what stops them."""

    held: int = 0
    held_half_way: int = 0
    paused: int = 0
    closed: int = 0
    cannot_fall_back: int = 0
    busy: Counter[str] = field(default_factory=Counter)
    no_path: Counter[str] = field(default_factory=Counter)
    opens: list[datetime] = field(default_factory=list)
    """When windows open for them."""


class Desk:
    """What all orders of one decision share: the time, the groups' room, and each search for a path made once."""

    def __init__(self, observed: Observed, now: datetime) -> None:
        self.observed: Final = observed
        self.now: Final = now
        self.room: Final = Room(observed.groups, now)
        self.next_step: Final = search_once(observed, now)
        self._opens: dict[tuple[int | None, frozenset[str]], datetime | None] = {}

    def opens_at(self, kind: Kind) -> datetime | None:
        """When every window of such devices may be open, of their ring and their groups; None when all are."""
        key = (kind.ring, kind.groups)
        if key not in self._opens:
            windows = () if kind.ring is None else self.observed.plan.rings[kind.ring].windows
            opens = [self.room.opens_at(kind.groups), next_opening(windows, self.now)]
            self._opens[key] = max((at for at in opens if at is not None), default=None)
        return self._opens[key]


def orders_for_ring(desk: Desk, ring: int) -> Orders:
    """Choose the next devices of a ring, in order of rank, as far as its budget and its groups go."""
    observed, now, room = desk.observed, desk.now, desk.room
    fleet, rules = observed.fleet, observed.plan.rings[ring]
    counts = fleet.counts(ring)
    free = max(1, rules.in_flight.of(counts.target)) - counts.in_flight
    stopped, deadline, due = _Stopped(), fleet.next_deadline(ring, now), fleet.next_due(ring, now)
    ready = list(_ready(desk, ring, stopped))
    actions: list[Action] = [*_stops(observed, ring, now)]
    number = max(0, min(free, MOST_AT_ONCE))
    given: Counter[frozenset[str]] = Counter()
    for device, order in _by_rank(observed, ready, number):
        if given.total() == number:
            break
        if room.full(device.groups) is None:
            room.take(device.groups)
            given[device.groups] += 1
            actions.append(dispatch(device, order, observed, rules.name, now))
    for source, _ in ready:
        groups = source.groups if isinstance(source, Device) else source.kind.groups
        if (full := room.full(groups)) is not None:
            stopped.busy[full] += 1 if isinstance(source, Device) else source.count
    for groups, count in given.items():
        if (full := room.full(groups)) is not None:
            stopped.busy[full] -= count
    is_waiting = bool(ready or stopped.paused or stopped.closed)
    is_awaited = deadline is not None or due is not None
    because = [*_reasons(stopped, rules.name)]
    if ready and not actions and not is_awaited and not +stopped.busy:
        words = (
            f"all devices that ring {rules.name} may change at the same time ({counts.in_flight}) have fallen silent,"
            " and stay counted until they answer"
        )
        because.append(Because(Reason.BUDGET_SPENT, words))
    goes_on_at = now if given.total() == MOST_AT_ONCE < free else None
    return Orders(
        tuple(actions),
        not is_waiting and not is_awaited,
        tuple(because),
        Held(stopped.held, stopped.held_half_way),
        (deadline, due, goes_on_at, *stopped.opens),
    )


_Ready = tuple[Bucket | Device, Order]


def _ready(desk: Desk, ring: int, stopped: _Stopped) -> Iterator[_Ready]:
    """What may be ordered as soon as there is room, each with its next step; what may not is counted."""
    fleet = desk.observed.fleet
    for bucket in fleet.buckets(ring, Progress.UNTOUCHED, Progress.UNDER_WAY, Progress.DRILLED):
        if bucket.kind.order is not None:
            continue
        if (order := _may(desk, bucket.kind, bucket.one(), bucket.count, stopped)) is not None:
            yield bucket, order
    for device in fleet.due_again(ring, desk.now):
        kind = fleet.kind_of(device.name)
        if kind is not None and (order := _may(desk, kind, device, 1, stopped)) is not None:
            yield device, order


def _may(desk: Desk, kind: Kind, device: Device, count: int, stopped: _Stopped) -> Order | None:
    """The next step that devices of a kind may take now, but for the budgets; None where there is none."""
    if not kind.may_be_ordered or (order := desk.next_step(device)) is None:
        return None
    if isinstance(order, NoPath):
        stopped.no_path[str(order)] += count
        return None
    return None if _is_stopped(desk, kind, order, count, stopped) else order


def _is_stopped(desk: Desk, kind: Kind, order: Order, count: int, stopped: _Stopped) -> bool:
    """Tell whether something stops this step of devices of a kind, and count them under what it is."""
    observed, now, room = desk.observed, desk.now, desk.room
    if not can_undo(kind, order, observed):
        stopped.cannot_fall_back += count
        return True
    if is_held(kind, order.type, order.release.plane, order.release.content, observed.holds, now):
        stopped.held += count
        stopped.held_half_way += count if kind.progress is not Progress.UNTOUCHED else 0
        return True
    if observed.plan.paused or room.is_paused(kind.groups):
        stopped.paused += count
        return True
    if (opens := desk.opens_at(kind)) is not None:
        stopped.closed += count
        stopped.opens.append(opens)
        return True
    return False


def can_undo(kind: Kind, order: Order, observed: Observed) -> bool:
    """Tell whether the device could fall back from a change by itself, or the plan does without."""
    is_risk = order.release.plane is Plane.FIRMWARE and order.type is StepType.INSTALL
    return kind.is_rollback_capable or not is_risk or Plane.FIRMWARE in observed.plan.irreversible


def _by_rank(observed: Observed, ready: list[_Ready], number: int) -> Iterator[tuple[Device, Order]]:
    """The devices of all these, the lowest rank first; more than `number`, so that groups may pass some over."""
    orders: dict[str, Order] = {}
    chosen: list[Device] = []
    for source, order in ready:
        found = [source] if isinstance(source, Device) else source.first(number)
        orders.update((device.name, order) for device in found)
        chosen.extend(found)
    return ((device, orders[device.name]) for device in observed.fleet.by_rank(chosen))


def _reasons(stopped: _Stopped, ring: str) -> Iterator[Because]:
    for words, count in sorted(stopped.no_path.items()):
        yield Because(Reason.NO_PATH, f"{devices(count)} of ring {ring}: no safe order of changes: {words}")
    if stopped.cannot_fall_back:
        words = f"{devices(stopped.cannot_fall_back)} of ring {ring} cannot fall back from a firmware without help"
        yield Because(Reason.CANNOT_FALL_BACK, f"{words}, so it stays; `irreversible: true` would change it anyway")
    if stopped.held:
        yield Because(Reason.HELD, f"held in ring {ring}: {devices(stopped.held)}")
    if stopped.paused:
        words = f"waiting in ring {ring} until the pause ends: {devices(stopped.paused)}"
        yield Because(Reason.PAUSED, words)
    if stopped.closed:
        opens = min(stopped.opens)
        words = (
            f"waiting in ring {ring} until {opens:%Y-%m-%d %H:%M} UTC, when a window opens: {devices(stopped.closed)}"
        )
        yield Because(Reason.WINDOW_CLOSED, words)
    for group, count in sorted((+stopped.busy).items()):
        words = f"waiting in ring {ring} because maxUnavailable of group {group} is reached: {devices(count)}"
        yield Because(Reason.GROUP_BUSY, words)


def _stops(observed: Observed, ring: int, now: datetime) -> Iterator[Action]:
    """What a hold takes back: orders that nobody has begun, and, where it says so, changes that are under way."""
    rules = observed.plan.rings[ring]
    for bucket in observed.fleet.buckets(ring, Progress.IN_FLIGHT):
        order = bucket.kind.order
        if order is None or order.content is None:
            continue
        holding = holds_on(bucket.kind, order.type, order.plane, order.content, observed.holds, now)
        if not holding:
            continue
        if not order.is_begun:
            yield from (Withdraw(d.name, d.resource_version, d.step.number) for d in bucket if d.step is not None)
        elif any(hold.in_flight is InFlight.RETURN for hold in holding) and (
            back := way_out(bucket.one(), order.plane, observed.known)
        ):
            yield from (dispatch(device, back, observed, rules.name, now) for device in bucket if device.reachable)


def orders_back(observed: Observed, state: RevisionState, plane: Plane, now: datetime) -> Orders:
    """Choose the next devices to return in one plane; holds, pauses and windows do not stop a return."""
    fleet = observed.fleet
    buckets = [bucket for bucket in fleet.all_buckets() if bucket.kind.takes_part and _is_reached(bucket.kind, state)]
    late_of_kind = Counter(fleet.kind_of(device.name) for device in fleet.late(now))
    returning, is_awaited = 0, False
    ready: list[_Ready] = []
    troubles: Counter[Because] = Counter()
    for bucket in buckets:
        kind = bucket.kind
        if kind.order is not None and kind.order.type is StepType.RETURN:
            returning += bucket.count
        if not kind.is_in_segment:
            continue
        order = next_back(bucket.one(), plane, observed)
        if kind.order is not None and (
            kind.order.type is StepType.RETURN or order is None or kind.order.plane is not plane
        ):
            if kind.is_reachable and bucket.count > late_of_kind[kind]:
                is_awaited = True
        elif order is None or kind.is_revoked:
            continue
        elif isinstance(order, NoPath):
            troubles[Because(Reason.NO_PATH, str(order))] += bucket.count
        elif kind.has_refused_return:
            troubles[Because(Reason.NOT_ALL_RETURNED, "the order to go back was refused")] += bucket.count
        elif kind.is_reachable:
            is_awaited = True
            ready.append((bucket, order))
    taking_part = sum(bucket.count for bucket in buckets)
    free = max(RETURNS_IN_FLIGHT, ceil(RETURNS_SHARE * taking_part)) - returning
    number = max(0, min(free, MOST_AT_ONCE))
    chosen = [
        dispatch(device, order, observed, _ring_name(device, observed), now)
        for device, order in islice(_by_rank(observed, ready, number), number)
    ]
    because = tuple(
        Because(what.reason, f"{devices(count)} could not return to the previous {plane}: {what.message}")
        for what, count in sorted(troubles.items(), key=lambda item: str(item[0]))
    )
    deadlines = tuple(fleet.next_deadline(ring, now) for ring in range(len(observed.plan.rings)))
    wakes = (*deadlines, now) if len(chosen) == MOST_AT_ONCE else deadlines
    return Orders(tuple(chosen), is_complete=not is_awaited, because=because, wakes=wakes)


def _is_reached(kind: Kind, state: RevisionState) -> bool:
    return not state.confined_to_ring or kind.ring == state.ring


def dispatch(
    device: Device, order: Order, observed: Observed, ring: str, now: datetime, drill: Drill | None = None
) -> Dispatch:
    """Write an order down; its number is the device's next, so that no order is ever given twice."""
    number = device.step.number + 1 if device.step else _last_number(device) + 1
    expires = now + observed.plan.deadlines[order.release.plane]
    return Dispatch(
        device.name,
        device.resource_version,
        number,
        order.type,
        order.release,
        ring,
        expires,
        _attempt(device, order, observed.state),
        drill,
        observed.state is not None and was_pardoned(device, observed.state.retried_at),
    )


def _attempt(device: Device, order: Order, state: RevisionState | None) -> int:
    """Count on where the same change could not be delivered, and from the start where a person asked to try again."""
    step, release = device.step, order.release
    if step is None or (step.type, step.plane) != (order.type, release.plane) or not is_undelivered(device):
        return 1
    if state is not None and was_pardoned(device, state.retried_at):
        return 1
    assignment = device.assigned.get(release.plane)
    return step.attempt + 1 if assignment is not None and assignment.content == release.content else 1


def _last_number(device: Device) -> int:
    return max(device.status(plane).step for plane in Plane)


def is_held(
    kind: Kind, step_type: StepType, plane: Plane, content: ContentDigest, holds: Iterable[Hold], now: datetime
) -> bool:
    """Tell whether a hold stops this change of devices of a kind; none ever stops a return."""
    return bool(holds_on(kind, step_type, plane, content, holds, now))


def holds_on(
    kind: Kind, step_type: StepType, plane: Plane, content: ContentDigest, holds: Iterable[Hold], now: datetime
) -> list[Hold]:
    """The holds that stop this change of devices of a kind, by the devices' standing under `FleetView.cover`."""
    if step_type is StepType.RETURN:
        return []
    return [
        hold
        for hold in holds
        if hold.is_in_force(now)
        and (not hold.names_devices or hold.name in kind.holds)
        and hold.covers_version(plane, content)
    ]


def _ring_name(device: Device, observed: Observed) -> str:
    index = observed.fleet.ring_of(device.name)
    return "" if index is None else observed.plan.rings[index].name
