"""A device as the bridge reads it, from the API server's JSON into what decisions need."""

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from sys import intern
from typing import Any, Final

import orjson

from backstay.api.device_conversion import device_from, is_enrolled
from backstay.api.device_status import REACHABLE, Status, status_from
from backstay.core.devices import Assignment, Device, DeviceName, PlaneState, PlaneStatus, Step
from backstay.core.planes import Plane

Json = dict[str, Any]

CHECKS_IN: Final = re.compile(r"checks in every ([0-9]{1,6}(?:\.[0-9]{1,3})?) s")
"""How the condition Reachable keeps a declared interval: a restarted bridge must not take a sleeper for lost."""


@dataclass(frozen=True, slots=True)
class ServedDevice:
    """A device of this gateway: its orders, its last written status, and what lets it in."""

    device: Device
    generation: int = 1
    """The generation of its token."""
    revoked: bool = False
    """Its token is refused. `device.revoked` says more: it also covers devices that get no orders but may speak."""
    enrolled: bool = True
    """Whether somebody has let it in; until then it is answered as a stranger."""
    probes: tuple[Json, ...] = ()
    window: str = ""
    object_generation: int = 0
    status: Status = field(default_factory=Status)

    @property
    def name(self) -> DeviceName:
        """The device's name."""
        return self.device.name

    @property
    def step(self) -> Step | None:
        """The step that was ordered last."""
        return self.device.step

    @property
    def ordered(self) -> Assignment | None:
        """What the step that was ordered last changes to."""
        return None if self.step is None else self.device.assigned.get(self.step.plane)

    @property
    def declared_interval(self) -> float | None:
        """The check-in interval that the device declared before this bridge started."""
        reachable = self.status.conditions.get(REACHABLE)
        found = CHECKS_IN.search(reachable.message) if reachable else None
        return float(found[1]) if found else None

    def installed(self) -> tuple[int, Plane, Assignment] | None:
        """The last step that the device confirmed and whose content it still runs, by its number."""
        found = [
            (status.step, plane, assignment)
            for plane, status in self.device.planes.items()
            if status.state is PlaneState.CONFIRMED
            and status.step > 0
            and (assignment := self.device.assigned.get(plane)) is not None
            and assignment.content == status.running
        ]
        return max(found, key=lambda one: one[0], default=None)

    def superseded(self) -> tuple[Plane, PlaneStatus] | None:
        """The plane of an action that the device has begun, never answered, and is no longer ordered to do."""
        number = self.step.number if self.step else 0
        for plane, status in self.device.planes.items():
            begun = status.state is not PlaneState.IDLE and not status.state.is_answer
            if begun and status.step > 0 and status.step != number:
                return plane, status
        return None


def device_record(item: Json) -> ServedDevice:
    """Read an EdgeDevice as the API server sends it.

    Raises:
        Refused: it lacks what every EdgeDevice has.
    """
    device = device_from(item)
    desired = item["spec"].get("desired") or {}
    return ServedDevice(
        device=device,
        generation=int(item["spec"].get("tokenGeneration", 1)),
        revoked=bool(item["spec"].get("revoked")),
        enrolled=is_enrolled(item),
        probes=_shared_probes(orjson.dumps(desired.get("probes") or ())),
        window=intern(desired.get("window") or ""),
        object_generation=int(item["metadata"].get("generation", 0)),
        status=status_from(item.get("status") or {}, device.planes),
    )


@lru_cache(maxsize=256)
def _shared_probes(raw: bytes) -> tuple[Json, ...]:
    """The same probes for all devices that are ordered the same."""
    return tuple(orjson.loads(raw))


def with_groups(record: ServedDevice, groups: frozenset[str]) -> ServedDevice:
    """The same device as a member of these groups."""
    if groups == record.device.groups:
        return record
    return replace(record, device=replace(record.device, groups=groups))


def with_status(record: ServedDevice, status: Status) -> ServedDevice:
    """The same device with another status."""
    return replace(record, status=status, device=replace(record.device, planes=status.planes))
