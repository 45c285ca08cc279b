"""What one device does next: the first step of its own path, from what it runs itself.

Installing in a two-slot plane overwrites the fallback. So a device that runs something unproven or
frozen goes back to its fallback first; only then is there a good version left to fall back to.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

from backstay.core.classes import class_named
from backstay.core.devices import Device, StepType
from backstay.core.fleet import kept_by, running_of, version_set
from backstay.core.holds import Hold
from backstay.core.observed import Observed
from backstay.core.path import NoPath, Path, path_between
from backstay.core.planes import ContentDigest, Plane, Release

Frozen = frozenset[tuple[Plane, ContentDigest]]


@dataclass(frozen=True, slots=True)
class Order:
    """One change of one plane."""

    type: StepType
    release: Release


def frozen_versions(holds: Iterable[Hold], now: datetime) -> Frozen:
    """Every version that a hold in force stops everywhere."""
    return frozenset(
        version for hold in holds if hold.is_in_force(now) and not hold.names_devices for version in hold.versions
    )


def _condemned(holds: Iterable[Hold]) -> Frozen:
    """Every version that is stopped everywhere and without end: a hold that ends says nothing against a version."""
    return frozenset(
        version for hold in holds if hold.until is None and not hold.names_devices for version in hold.versions
    )


def next_towards_target(device: Device, observed: Observed, frozen: Frozen) -> Order | NoPath | None:
    """The next step of a device towards the plan's target; None when it is there."""
    running = version_set(running_of(device), observed.known)
    if unsafe := planes_to_leave_first(device, observed, frozen):
        earlier = {plane: release for plane in unsafe if (release := fallback_of(device, plane, observed.known))}
        return _first(
            path_between(running, earlier, observed.plan.rollback.order),
            StepType.RETURN,
        )
    return _first(path_between(running, observed.plan.target), StepType.INSTALL)


def search_once(observed: Observed, now: datetime) -> Callable[[Device], Order | NoPath | None]:
    """The same search, made once for each distinct set that devices run and keep: a fleet of thousands has few."""
    found: dict[object, Order | NoPath | None] = {}
    frozen = frozen_versions(observed.holds, now)

    def next_step(device: Device) -> Order | NoPath | None:
        key = (device.device_class, running_of(device), kept_by(device))
        if key not in found:
            found[key] = next_towards_target(device, observed, frozen)
        return found[key]

    return next_step


def planes_to_leave_first(device: Device, observed: Observed, frozen: Frozen) -> tuple[Plane, ...]:
    """The planes in which installing would leave the device with nothing proven."""
    kind, condemned = class_named(device.device_class), _condemned(observed.holds)
    return tuple(
        plane
        for plane, wanted in observed.plan.target.items()
        if (running := device.status(plane).running) is not None
        and running != wanted.content
        and kind.overwrites_fallback(plane)
        and (plane, running) in (frozen | observed.unproven)
        and (fallback := device.status(plane).fallback) is not None
        and fallback != running
        and (plane, fallback) not in condemned
    )


def next_back(device: Device, plane: Plane, observed: Observed) -> Order | NoPath | None:
    """The next step of a device away from the plan's version of one plane; None when it is rid of it.

    Other planes go back with it only where the set would break otherwise, and as few of them as do.
    """
    bad = observed.plan.target[plane].content
    if not device.runs(plane, bad):
        return _stop_install(device, plane, observed) if device.in_flight else None
    running = version_set(running_of(device), observed.known)
    order = observed.plan.rollback.order
    others = [other for other in order if other is not plane and _is_of_revision(device, other, observed)]
    found: Path | NoPath = NoPath(())
    for count in range(len(others) + 1):
        for beside in combinations(others, count):
            earlier = _fallbacks(device, (plane, *beside), observed.known)
            if plane not in earlier:
                return NoPath(())
            found = path_between(running, earlier, order)
            if isinstance(found, Path):
                return _first(found, StepType.RETURN)
    return _first(found, StepType.RETURN)


def _stop_install(device: Device, plane: Plane, observed: Observed) -> Order | None:
    """Call an installation of the bad version off: the device is ordered to what it runs."""
    step, assignment = device.step, device.assigned.get(plane)
    if step is None or step.plane is not plane or step.type is StepType.RETURN or assignment is None:
        return None
    if assignment.content != observed.plan.target[plane].content:
        return None
    return back_to_running(device, plane, observed.known)


def back_to_running(device: Device, plane: Plane, known: Mapping[ContentDigest, Release]) -> Order | None:
    """The order to what a device reports that it runs, which ends whatever it is doing in that plane."""
    status = device.status(plane)
    if status.running is None:
        return None
    return Order(StepType.RETURN, known.get(status.running) or Release(plane, status.version, status.running))


def way_out(device: Device, plane: Plane, known: Mapping[ContentDigest, Release]) -> Order | None:
    """The order that ends a change under way with what the device ran before it, wherever the change has come to."""
    assignment = device.assigned.get(plane)
    if assignment is None or not device.runs(plane, assignment.content):
        return back_to_running(device, plane, known)
    earlier = fallback_of(device, plane, known)
    return None if earlier is None else Order(StepType.RETURN, earlier)


def _is_of_revision(device: Device, plane: Plane, observed: Observed) -> bool:
    wanted = observed.plan.target.get(plane)
    return wanted is not None and device.runs(plane, wanted.content)


def _fallbacks(
    device: Device, planes: tuple[Plane, ...], known: Mapping[ContentDigest, Release]
) -> dict[Plane, Release]:
    return {plane: release for plane in planes if (release := fallback_of(device, plane, known))}


def fallback_of(device: Device, plane: Plane, known: Mapping[ContentDigest, Release]) -> Release | None:
    """The release that a device keeps to fall back to, by its own word."""
    status = device.status(plane)
    if status.fallback is None or status.fallback == status.running:
        return None
    return known.get(status.fallback) or Release(plane, status.fallback_version, status.fallback)


def _first(path: Path | NoPath, step_type: StepType) -> Order | NoPath | None:
    if isinstance(path, NoPath):
        return path
    return Order(step_type, path.steps[0]) if path.steps else None
