"""Whom to order what, now: never more devices in flight than the ring's budget, never a held one."""

from dataclasses import dataclass
from datetime import datetime

from backstay.core.actions import Action, Dispatch, Withdraw
from backstay.core.devices import Device, StepType, answered_well, deadline_of
from backstay.core.fleet import Progress
from backstay.core.holds import Action as Asked
from backstay.core.holds import hold_on
from backstay.core.observed import Observed
from backstay.core.path import NoPath
from backstay.core.plan import Count
from backstay.core.planes import ContentDigest, Plane
from backstay.core.reasons import Because, Reason
from backstay.core.steps import Order, frozen_versions, next_back, search_once

RETURNS_IN_FLIGHT = Count(100)
"""A rollback's own budget: it has right of way, but a registry and a gateway must still carry it."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What can be done now, whether anything is left to do, and what stops the rest."""

    actions: tuple[Action, ...]
    is_complete: bool
    """No device of the ring is in flight, and none that could be ordered is left."""
    because: tuple[Because, ...] = ()
    held_half_way: int = 0
    """Devices that a hold stopped between two planes: like held ones that never began, they are not asked for."""


def orders_for_ring(observed: Observed, ring: int, now: datetime) -> Orders:
    """Choose the next devices of a ring, in order of rank, as far as its budget goes."""
    fleet, rules = observed.fleet, observed.plan.rings[ring]
    next_step = search_once(observed, frozen_versions(observed.holds, now))
    in_flight = fleet.members(ring, Progress.IN_FLIGHT)
    free = max(1, rules.in_flight.of(fleet.counts(ring).target)) - len(in_flight)
    actions: list[Action] = [*_withdrawals(in_flight, observed, now)]
    under_way = {device.name for device in fleet.members(ring, Progress.UNDER_WAY)}
    is_complete = not any(_is_awaited(device, observed, now) for device in in_flight)
    held = held_half_way = waiting = 0
    because: list[Because] = []
    for device in fleet.members(ring, Progress.UNTOUCHED, Progress.UNDER_WAY):
        if not device.reachable or device.revoked:
            continue
        order = next_step(device)
        if order is None:
            continue
        if isinstance(order, NoPath):
            because.append(Because(Reason.NO_PATH, f"{device.name}: {order}"))
            continue
        if _is_held(device, order.type, order.release.plane, order.release.content, observed, now):
            held += 1
            held_half_way += device.name in under_way
            continue
        is_complete = False
        if observed.plan.paused or device.groups & observed.paused_groups:
            waiting += 1
        elif free > 0:
            actions.append(dispatch(device, order, observed, rules.name, now))
            free -= 1
    if held:
        because.append(Because(Reason.HELD, f"{held} devices of ring {rules.name} are held"))
    if waiting:
        because.append(
            Because(
                Reason.PAUSED,
                f"{waiting} devices of ring {rules.name} wait until the pause ends",
            )
        )
    return Orders(tuple(actions), is_complete, tuple(because), held_half_way)


def orders_back(observed: Observed, plane: Plane, now: datetime) -> Orders:
    """Choose the next devices to return in one plane; holds, pauses and windows do not stop a return."""
    awaited, actions, because = 0, [], []
    returning = [device for device in observed.fleet.participants() if device.in_flight and _is_returning(device)]
    free = RETURNS_IN_FLIGHT.devices - len(returning)
    for device in observed.fleet.participants():
        order = next_back(device, plane, observed)
        if device.in_flight and (_is_returning(device) or order is None or _is_elsewhere(device, plane)):
            awaited += _is_awaited(device, observed, now) and device.reachable
            continue
        if order is None or device.revoked:
            continue
        if isinstance(order, NoPath):
            because.append(
                Because(
                    Reason.NO_PATH,
                    f"{device.name} cannot return its {plane}: {order}",
                )
            )
            continue
        if _has_refused_return(device):
            because.append(
                Because(
                    Reason.NOT_ALL_RETURNED,
                    f"{device.name} could not return its {plane}",
                )
            )
            continue
        awaited += device.reachable
        if free > 0 and device.reachable:
            ring = _ring_name(device, observed)
            actions.append(dispatch(device, order, observed, ring, now))
            free -= 1
    return Orders(tuple(actions), is_complete=not awaited, because=tuple(because))


def dispatch(device: Device, order: Order, observed: Observed, ring: str, now: datetime) -> Dispatch:
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
    )


def _last_number(device: Device) -> int:
    return max((device.status(plane).step for plane in Plane), default=0)


def _withdrawals(in_flight: list[Device], observed: Observed, now: datetime) -> list[Withdraw]:
    """Orders that no device has begun and that a hold covers now: left standing, they would spend the budget."""
    return [
        Withdraw(device.name, device.resource_version, device.step.number)
        for device in in_flight
        if device.step is not None and not device.begun and _is_order_held(device, observed, now)
    ]


def _is_order_held(device: Device, observed: Observed, now: datetime) -> bool:
    """Tell whether a hold now covers the order that the device has but has not begun."""
    step = device.step
    if step is None or (assignment := device.assigned.get(step.plane)) is None:
        return False
    return _is_held(device, step.type, step.plane, assignment.content, observed, now)


def _is_held(
    device: Device, step_type: StepType, plane: Plane, content: ContentDigest, observed: Observed, now: datetime
) -> bool:
    """Tell whether a hold stops this change; it never stops a return, and expiry is not its business."""
    if step_type is StepType.RETURN:
        return False
    asked = Asked(device.name, device.labels, device.groups, plane, step_type, content, expires=now)
    return hold_on(asked, observed.holds, now) is not None


def _is_awaited(device: Device, observed: Observed, now: datetime) -> bool:
    deadline = deadline_of(device, observed.plan.deadlines)
    return deadline is None or now < deadline


def _is_returning(device: Device) -> bool:
    return device.step is not None and device.step.type is StepType.RETURN


def _is_elsewhere(device: Device, plane: Plane) -> bool:
    """In flight in another plane: one change at a time, so the return waits for its answer."""
    return device.step is not None and device.step.plane is not plane


def _has_refused_return(device: Device) -> bool:
    return _is_returning(device) and device.answered and not answered_well(device)


def _ring_name(device: Device, observed: Observed) -> str:
    index = observed.fleet.ring_of(device.name)
    return "" if index is None else observed.plan.rings[index].name
