"""The three kinds of object that a bridge reads, from the API server's JSON into what decisions need.

Devices are many, so that they are read by hand. A hold or a group that cannot be read counts as one that covers
everything: whatever a person wrote to stop devices must never start them.
"""

import logging
import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from backstay.api.devicegroup import DeviceGroupSpec
from backstay.api.hold import HoldScope, HoldSpec
from backstay.api.resource import InvalidDocument
from backstay.api.selectors import LabelSelector
from backstay.bridge.status import REACHABLE, Status, status_from, time_from
from backstay.core.devices import (
    Assignment,
    Device,
    DeviceName,
    PlaneState,
    PlaneStatus,
    RevisionName,
    Step,
    StepType,
)
from backstay.core.holds import Hold
from backstay.core.planes import ContentDigest, Plane
from backstay.core.selectors import EVERYTHING, MatchExpression, Operator, Selector

Json = dict[str, Any]

LONGEST_STEP: Final = timedelta(hours=1)
"""When a step that names no expiry is dropped."""

CHECKS_IN: Final = re.compile(r"checks in every ([0-9]{1,6}(?:\.[0-9]{1,3})?) s")
"""How the condition Reachable keeps a declared interval: a restarted bridge must not take a sleeper for lost."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedDevice:
    """A device of this gateway: its orders, its last written status, and what lets it in."""

    device: Device
    generation: int = 1
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
        InvalidDocument: it lacks what every EdgeDevice has.
    """
    try:
        return _device_record(item)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        name = (item.get("metadata") or {}).get("name", "(no name)")
        msg = f"EdgeDevice {name} cannot be read ({error!r}); check that the CRDs are those of this release"
        raise InvalidDocument(msg) from error


def _device_record(item: Json) -> ServedDevice:
    metadata, spec, status = item["metadata"], item["spec"], status_from(item.get("status") or {})
    desired = spec.get("desired") or {}
    device = Device(
        name=DeviceName(metadata["name"]),
        labels=metadata.get("labels") or {},
        device_class=spec["class"],
        gateway=spec.get("gateway", ""),
        revoked=bool(spec.get("revoked", False)),
        rollback_capable=status.rollback_capable is not False,
        planes=status.planes,
        assigned={plane: _assignment(desired[plane]) for plane in Plane if desired.get(plane)},
        step=_step(desired),
        failing=status.failing,
        resource_version=metadata.get("resourceVersion", ""),
        uid=metadata.get("uid", ""),
    )
    return ServedDevice(
        device=device,
        generation=int(spec.get("tokenGeneration", 1)),
        probes=tuple(desired.get("probes") or ()),
        window=desired.get("window") or "",
        object_generation=int(metadata.get("generation", 0)),
        status=status,
    )


def _assignment(found: Json) -> Assignment:
    return Assignment(
        plan=found["plan"],
        revision=RevisionName(found["revision"]),
        ring=found.get("ring", ""),
        version=found["version"],
        content=ContentDigest(found["content"]),
        artifact=found["artifact"],
    )


def _step(desired: Json) -> Step | None:
    if not (found := desired.get("step")):
        return None
    issued = time_from(found["issued"])
    expires = time_from(desired["expires"]) if desired.get("expires") else issued + LONGEST_STEP
    return Step(int(found["number"]), Plane(found["plane"]), StepType(found["type"]), issued, expires)


def with_groups(record: ServedDevice, groups: frozenset[str]) -> ServedDevice:
    """The same device as a member of these groups."""
    return replace(record, device=replace(record.device, groups=groups))


def hold_record(item: Json) -> Hold:
    """Read a Hold; one that cannot be read holds everything."""
    name = item["metadata"]["name"]
    try:
        spec = HoldSpec.from_document(item.get("spec") or {})
    except InvalidDocument as error:
        log.warning("hold %s cannot be read and therefore stops every change here: %s", name, error)
        return Hold(name, reason="this hold cannot be read, so it stops every change")
    scope = spec.scope or HoldScope()
    return Hold(
        name=name,
        selector=_selector(scope.selector) if scope.selector else EVERYTHING,
        groups=frozenset(scope.groups or ()),
        devices=frozenset(DeviceName(device) for device in scope.devices or ()),
        versions=frozenset((held.plane, ContentDigest(held.digest)) for held in spec.versions),
        reason=spec.reason,
        until=spec.until,
    )


def group_record(item: Json) -> Selector:
    """Read whom a DeviceGroup picks; one that cannot be read picks every device, so that a hold on it stops them."""
    try:
        return _selector(DeviceGroupSpec.from_document(item.get("spec") or {}).selector)
    except InvalidDocument as error:
        log.warning("group %s cannot be read and counts as all devices: %s", item["metadata"]["name"], error)
        return EVERYTHING


def _selector(selector: LabelSelector) -> Selector:
    labels = (
        MatchExpression(key, Operator.IN, frozenset({value})) for key, value in sorted(selector.match_labels.items())
    )
    expressions = (
        MatchExpression(found.key, found.operator, frozenset(found.values)) for found in selector.match_expressions
    )
    return Selector((*labels, *expressions))
