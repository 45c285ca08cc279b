"""Fleets for the benchmarks: as large as asked for, the same every time, and as mixed as real ones are.

Every device has a serial number of its own, as real ones have: whatever is kept for each distinct set of labels is kept
for each device. Texts are made anew for each device, as they are when a device is read from a server.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Final

from backstay.core.devices import Assignment, Device, DeviceName, PlaneState, PlaneStatus, RevisionName, Step, StepType
from backstay.core.fleet import FleetView
from backstay.core.plan import Plan, Ring, Share, hash_of
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.selectors import Selector

NOW: Final = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
A_WHILE_AGO: Final = NOW - timedelta(hours=30)

HARDWARE: Final = (("esp32-s3", "esp32"), ("esp32-p4", "esp32"), ("rk3566", "rk3566"))
REGIONS: Final = ("eu", "us", "apac", "latam")
CUSTOMERS: Final = 40
DEVICES_OF_A_SITE: Final = 25


def release(plane: Plane, version: str) -> Release:
    """A release whose digest is as long as a real one."""
    digest = hash_of({plane: ContentDigest(version)}) * 7
    return Release(plane, version, ContentDigest(f"sha256:{digest[:64]}"))


TARGET: Final = {plane: release(plane, "3.0.0") for plane in Plane}
OLDER: Final = tuple({plane: release(plane, version) for plane in Plane} for version in ("1.9.0", "2.0.0", "2.0.1"))
"""What devices run before the rollout, or keep beside it."""
KNOWN: Final = {one.content: one for releases in (TARGET, *OLDER) for one in releases.values()}
REVISION: Final = RevisionName(f"{hash_of({plane: one.content for plane, one in TARGET.items()})}-7")

_TWO_PERCENT: Final = Share(Fraction(1, 50))
RINGS: Final = (
    Ring("canary", size=Share(Fraction(1, 100)), minimum=3, soak=timedelta(hours=2), spread_by=("hardware", "region")),
    Ring("tenth", size=Share(Fraction(1, 10)), soak=timedelta(hours=6), max_failed=_TWO_PERCENT),
    Ring("latam", selector=Selector.labels(region="latam"), soak=timedelta(hours=6), max_failed=_TWO_PERCENT),
    Ring("half", size=Share(Fraction(1, 2)), soak=timedelta(hours=6), max_failed=_TWO_PERCENT),
    Ring("everyone", soak=timedelta(hours=6), max_failed=_TWO_PERCENT),
)
LAST: Final = len(RINGS) - 1
PLAN: Final = Plan("acme", "vision", TARGET, RINGS)


class Scene(StrEnum):
    """How far a rollout has come."""

    NEW = "New"
    """Nobody was ordered anything."""
    SOAKING = "Soaking"
    """The first three rings are through."""
    READY = "Ready"
    """All rings but the last are through, and nobody is in flight."""
    ROLLING = "Rolling"
    """In the last ring a third is through and as many are in flight as may be."""
    BUSY = "Busy"
    """The same with a fifth of the whole fleet in flight."""
    DONE = "Done"
    """All rings are through."""
    RETURNING = "Returning"
    """Of those that are through, as many are on their way back as may be."""


_RINGS_THROUGH: Final = {
    Scene.NEW: 0,
    Scene.SOAKING: 3,
    Scene.READY: LAST,
    Scene.ROLLING: LAST,
    Scene.BUSY: LAST,
    Scene.DONE: LAST + 1,
    Scene.RETURNING: LAST,
}


def fleet_of(size: int, scene: Scene) -> list[Device]:
    """That many devices, each where the scene has it; they come in no order of rank."""
    new = [device_of(index) for index in range(size)]
    if scene is Scene.NEW:
        return new
    membership = FleetView(PLAN, REVISION, new)
    rings = [membership.ring_of(device.name) or 0 for device in new]
    through = sum(ring < _RINGS_THROUGH[scene] for ring in rings)
    returning = through // 5 if scene is Scene.RETURNING else 0
    last = size - through
    in_flight = {Scene.ROLLING: last // 5, Scene.BUSY: size // 5}.get(scene, 0)
    also_through = last // 3 if in_flight else 0
    devices = []
    for index, (device, ring) in enumerate(zip(new, rings, strict=True)):
        here, name = device, RINGS[ring].name
        if not device.reachable:
            pass
        elif ring < _RINGS_THROUGH[scene]:
            if returning and not _is_odd(index, ring):
                here, returning = on_its_way_back(device, name, is_begun=index % 2 == 0), returning - 1
            else:
                here = _ended(device, index, ring)
        elif ring == LAST and in_flight:
            here, in_flight = on_its_way(device, name, is_begun=index % 2 == 0), in_flight - 1
        elif ring == LAST and also_through:
            here, also_through = _ended(device, index, ring), also_through - 1
        devices.append(here)
    return devices


def device_of(index: int) -> Device:
    """A device that was never ordered anything by the revision; a few cannot be reached or cannot fall back."""
    hardware, device_class = HARDWARE[index % 7 % len(HARDWARE)]
    site = index // DEVICES_OF_A_SITE
    region = REGIONS[site % 9 % len(REGIONS)]
    labels = {
        "region": _anew(region),
        "site": f"site-{site:05}",
        "customer": f"customer-{site % CUSTOMERS:02}",
        "hardware": _anew(hardware),
        "serial": f"SN{index * 7919:010}",
    }
    running, kept = OLDER[1 + index % 5 % 2], OLDER[index % 11 % 2 - 1]
    return Device(
        DeviceName(f"cam-{index:07}"),
        MappingProxyType(labels),
        frozenset({"cameras", ("warehouses", "streets", "shops")[site % 3]}),
        device_class=_anew(device_class),
        gateway=f"gateway-{site:05}",
        reachable=index % 33 != 5,
        rollback_capable=index % 101 != 7,
        planes={plane: _status(running[plane], kept[plane]) for plane in Plane},
        resource_version=str(100_000 + index),
        uid=f"{index:032x}",
    )


def confirmed(device: Device, ring: str, planes: int = len(Plane)) -> Device:
    """The device after it took the target in its first planes, and answered each step well."""
    taken = list(Plane)[:planes]
    after = {
        plane: _status(TARGET[plane], OLDER[1][plane], PlaneState.CONFIRMED, step, A_WHILE_AGO)
        for step, plane in enumerate(taken, 1)
    }
    return replace(
        device,
        planes={**device.planes, **after},
        assigned={plane: _assignment(TARGET[plane], ring) for plane in taken},
        step=Step(planes, taken[-1], StepType.INSTALL, A_WHILE_AGO, A_WHILE_AGO + timedelta(minutes=40)),
        resource_version=f"{device.resource_version}{planes}",
    )


def on_its_way(device: Device, ring: str, *, is_begun: bool) -> Device:
    """The device after it was ordered its second plane."""
    return _ordered(confirmed(device, ring, 1), ring, Plane.MODEL, StepType.INSTALL, TARGET, is_begun=is_begun)


def on_its_way_back(device: Device, ring: str, *, is_begun: bool) -> Device:
    """The device after it was ordered back in its last plane."""
    return _ordered(confirmed(device, ring), ring, Plane.CONFIG, StepType.RETURN, OLDER[1], is_begun=is_begun)


def failed(device: Device, ring: str) -> Device:
    """The device after it fell back from its second plane."""
    ordered = on_its_way(device, ring, is_begun=True)
    status = replace(ordered.planes[Plane.MODEL], state=PlaneState.ROLLED_BACK, reason=_anew("ProbeFailed: camera"))
    return replace(ordered, planes={**ordered.planes, Plane.MODEL: status})


def undelivered(device: Device, ring: str) -> Device:
    """The device after its second plane did not arrive a few seconds ago."""
    ordered = on_its_way(device, ring, is_begun=True)
    status = replace(
        ordered.planes[Plane.MODEL], state=PlaneState.FAILED, reason=_anew("DownloadFailed: timeout"), since=NOW
    )
    return replace(ordered, planes={**ordered.planes, Plane.MODEL: status})


def _is_odd(index: int, ring: int) -> bool:
    """Whether a device did not end well; the canaries all did."""
    return ring > 0 and (index % 400 == 399 or index % 1000 == 999)


def _ended(device: Device, index: int, ring: int) -> Device:
    name = RINGS[ring].name
    if not _is_odd(index, ring):
        return confirmed(device, name)
    return failed(device, name) if index % 400 == 399 else undelivered(device, name)


def _ordered(
    device: Device, ring: str, plane: Plane, what: StepType, to: Mapping[Plane, Release], *, is_begun: bool
) -> Device:
    number = 1 + max(status.step for status in device.planes.values())
    issued = NOW - timedelta(seconds=60 + number * int(device.uid, 16) % 600)
    status = replace(
        device.planes[plane],
        step=number if is_begun else 0,
        state=PlaneState.DOWNLOADING if is_begun else PlaneState.IDLE,
        since=issued + timedelta(seconds=20) if is_begun else None,
    )
    return replace(
        device,
        planes={**device.planes, plane: status},
        assigned={**device.assigned, plane: _assignment(to[plane], ring)},
        step=Step(number, plane, what, issued, issued + timedelta(hours=2)),
    )


def _status(
    running: Release,
    kept: Release,
    state: PlaneState = PlaneState.IDLE,
    step: int = 0,
    since: datetime | None = None,
) -> PlaneStatus:
    return PlaneStatus(
        ContentDigest(_anew(running.content)),
        _anew(running.version),
        ContentDigest(_anew(kept.content)),
        _anew(kept.version),
        state,
        step,
        since=since,
    )


def _assignment(to: Release, ring: str) -> Assignment:
    content = ContentDigest(_anew(to.content))
    artifact = f"registry.example/vision/{to.plane}@{content}"
    return Assignment("vision", RevisionName(_anew(REVISION)), _anew(ring), _anew(to.version), content, artifact)


def _anew(text: str) -> str:
    """The same text as an object of its own."""
    return text[:1] + text[1:]
