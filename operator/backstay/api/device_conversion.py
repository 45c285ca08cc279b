"""EdgeDevice as JSON ⇄ the core's device record, without a model in between.

There are up to a hundred thousand devices and each change of one passes here, so the parsing is written
out by hand; the API server's schema has already checked the document.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from sys import intern
from types import MappingProxyType
from typing import Any, Final

from backstay.core.devices import (
    Assignment,
    Device,
    DeviceName,
    Drill,
    Mode,
    PlaneState,
    PlaneStatus,
    RevisionName,
    Step,
    StepType,
)
from backstay.core.enrolment import Newcomer
from backstay.core.planes import ContentDigest, Plane
from backstay.errors import Refused

Json = dict[str, Any]

_STATES: Final = {state.value: state for state in PlaneState}
_DRILLS: Final = {None: None} | {drill.value: drill for drill in Drill}
_TYPES: Final = {step_type.value: step_type for step_type in StepType}
_PLANES: Final = tuple((plane, plane.value) for plane in Plane)
_PLANE_NAMED: Final = {plane.value: plane for plane in Plane}
_NOTHING: Final[Json] = {}


def namespace_of(raw: Json) -> str:
    """The namespace of an object."""
    return str(raw["metadata"].get("namespace", ""))


def is_enrolled(raw: Json) -> bool:
    """Whether a device has been let in; one that has not is in no group, and nothing is decided for it."""
    return (raw.get("spec") or _NOTHING).get("enrolled") is not False


def newcomer_from(raw: Json) -> Newcomer:
    """Read a device that is not enrolled."""
    return Newcomer(DeviceName(raw["metadata"]["name"]), raw["metadata"].get("labels") or _NOTHING)


def device_from(raw: Json) -> Device:
    """Read a device; the groups that select it are not its own business and are left empty.

    Raises:
        Refused: a field that the schema demands is missing or means nothing.
    """
    try:
        return _device(raw)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        message = (
            f"EdgeDevice {raw.get('metadata', _NOTHING).get('name')} cannot be read: {error!r}; is its CRD up to date?"
        )
        raise Refused(message) from error


def _device(raw: Json) -> Device:
    metadata, spec, status = raw["metadata"], raw["spec"], raw.get("status") or _NOTHING
    desired = spec.get("desired") or _NOTHING
    # Ordered and not yet there, or left and not yet said so: for whoever gives orders, both are safe mode.
    is_safe = bool(spec.get("node")) and Mode.SAFE in (spec.get("mode"), status.get("mode"))
    return Device(
        name=DeviceName(intern(metadata["name"])),
        labels=MappingProxyType({key: intern(value) for key, value in (metadata.get("labels") or _NOTHING).items()}),
        device_class=intern(spec["class"]),
        gateway=intern(spec.get("gateway") or spec.get("node") or ""),
        reachable=_is_reachable(status) and not is_safe,
        safe=is_safe,
        revoked=bool(spec.get("revoked")) or asks_for_more(spec),
        rollback_capable=status.get("rollbackCapable") is not False,
        planes=_planes(status.get("planes") or _NOTHING),
        assigned=_together(*((plane, _assignment(found)) for plane, name in _PLANES if (found := desired.get(name)))),
        step=_step(desired),
        failing=tuple((status.get("health") or _NOTHING).get("failing") or ()),
        resource_version=metadata.get("resourceVersion", ""),
        uid=metadata.get("uid", ""),
    )


def asks_for_more(spec: Json) -> bool:
    """Whether a person asks of the device what this version cannot keep; such a device is given no orders at all."""
    return bool(spec.get("pins")) or (spec.get("mode", Mode.NORMAL) != Mode.NORMAL and not spec.get("node"))


def _is_reachable(status: Json) -> bool:
    """Whether the device's gateway says so; one that was never heard of is not."""
    return any(
        condition["type"] == "Reachable" and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )


def _planes(reports: Json) -> Mapping[Plane, PlaneStatus]:
    return {plane: _plane_status(found) for plane, name in _PLANES if (found := reports.get(name))}


def _plane_status(report: Json) -> PlaneStatus:
    return PlaneStatus(
        running=_digest(report.get("running")),
        version=intern(report.get("version", "")),
        fallback=_digest(report.get("fallback")),
        fallback_version=intern(report.get("fallbackVersion", "")),
        state=_STATES[report.get("state", "Idle")],
        step=report.get("step", 0),
        reason=report.get("reason", ""),
        since=_time(report.get("since")),
    )


def _assignment(found: Json) -> Assignment:
    assignment = Assignment(
        plan=found["plan"],
        revision=RevisionName(found["revision"]),
        ring=found.get("ring", ""),
        version=found.get("version", ""),
        content=ContentDigest(found["content"]),
        artifact=found.get("artifact", ""),
        requires=tuple((_PLANE_NAMED[plane], text) for plane, text in sorted(found.get("requires", {}).items())),
    )
    return _shared(assignment)


@lru_cache(maxsize=4096)
def _shared(assignment: Assignment) -> Assignment:
    """The same record for all devices that are ordered the same: a fleet has few of them, and keeps one each."""
    return assignment


@lru_cache(maxsize=4096)
def _together(*assignments: tuple[Plane, Assignment]) -> Mapping[Plane, Assignment]:
    """What is assigned to a device in all its planes, also one mapping for all who are ordered the same."""
    return MappingProxyType(dict(assignments))


def _step(desired: Json) -> Step | None:
    if not (step := desired.get("step")):
        return None
    issued = datetime.fromisoformat(step["issued"])
    return Step(
        number=step["number"],
        plane=_PLANE_NAMED[step["plane"]],
        type=_TYPES[step["type"]],
        issued=issued,
        expires=_time(desired.get("expires")) or issued,
        withdrawn=bool(step.get("withdrawn")),
        attempt=step.get("attempt") or 1,
        drill=_DRILLS[step.get("rehearsal")],
        again=bool(step.get("again")),
    )


def _digest(text: str | None) -> ContentDigest | None:
    return ContentDigest(intern(text)) if text else None


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
