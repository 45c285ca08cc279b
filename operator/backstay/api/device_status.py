"""The status of an EdgeDevice as a value, and the smallest patch from one status to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from sys import intern
from typing import Any, Final

from backstay.core.devices import NOTHING_REPORTED, PlaneStatus
from backstay.core.planes import Plane

Json = dict[str, Any]

REACHABLE: Final = "Reachable"
READY: Final = "Ready"
ENROLLED: Final = "Enrolled"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition; `since` is when its status last changed."""

    holds: bool
    reason: str
    message: str
    since: datetime
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """All that a bridge or an agent writes of a device."""

    planes: Mapping[Plane, PlaneStatus] = field(default_factory=dict)
    health: str = "Unknown"
    failing: tuple[str, ...] = ()
    advisory: tuple[str, ...] = ()
    slot: str = ""
    rollback_capable: bool | None = None
    agent: str = ""
    mode: str = ""
    """Normal or Safe, as the device says; empty where it says nothing of it."""
    recovered: int = 0
    """The last request to recover that the device has carried out."""
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    @property
    def reported(self) -> bool:
        """Whether the status holds what only a device with health reports can have said."""
        return bool(self.agent) or any(found.running for found in self.planes.values())

    def plane(self, plane: Plane) -> PlaneStatus:
        """What is known of a plane."""
        return self.planes.get(plane, NOTHING_REPORTED)

    def with_plane(self, plane: Plane, found: PlaneStatus) -> "Status":
        """The same status with one plane changed."""
        return replace(self, planes={**self.planes, plane: found})

    def with_condition(self, kind: str, condition: Condition) -> "Status":
        """The same status with one condition; what is only said again keeps its time."""
        if known := self.conditions.get(kind):
            same = (known.holds, known.reason, known.message) == (condition.holds, condition.reason, condition.message)
            since = known.since if known.holds == condition.holds else condition.since
            condition = known if same else replace(condition, since=since)
        return replace(self, conditions={**self.conditions, kind: condition})


def status_from(document: Json, planes: Mapping[Plane, PlaneStatus]) -> Status:
    """Read a status as the API server sends it; its planes are read already. Texts that devices share are kept once."""
    health = document.get("health") or {}
    return Status(
        planes=planes,
        health=intern(health.get("state", "Unknown")),
        failing=tuple(health.get("failing") or ()),
        advisory=tuple(health.get("advisory") or ()),
        slot=intern(document.get("slot", "")),
        rollback_capable=document.get("rollbackCapable"),
        agent=intern(document.get("agent", "")),
        mode=intern(document.get("mode", "")),
        recovered=int(document.get("recovered", 0)),
        conditions={intern(found["type"]): _condition_from(found) for found in document.get("conditions") or ()},
    )


def difference(before: Status, after: Status) -> Json:
    """The merge patch that turns one status into the other; empty if nothing changed.

    Source: RFC 7396; a null removes a field, a list is replaced as a whole.
    """
    patch: Json = {}
    planes = {
        str(plane): _plane_document(found) for plane, found in after.planes.items() if found != before.plane(plane)
    }
    if planes:
        patch["planes"] = planes
    if (after.health, after.failing) != (before.health, before.failing):
        patch["health"] = {"state": after.health, "failing": list(after.failing)}
    if after.advisory != before.advisory:
        patch["health"] = {**patch.get("health", {}), "advisory": list(after.advisory)}
    for name, old, new in (
        ("slot", before.slot, after.slot),
        ("rollbackCapable", before.rollback_capable, after.rollback_capable),
        ("agent", before.agent, after.agent),
        ("mode", before.mode, after.mode),
        ("recovered", before.recovered, after.recovered),
    ):
        if old != new:
            patch[name] = new
    if after.conditions != before.conditions:
        patch["conditions"] = [_condition_document(kind, found) for kind, found in sorted(after.conditions.items())]
    return patch


def _plane_document(found: PlaneStatus) -> Json:
    return {
        "running": found.running,
        "version": found.version,
        "fallback": found.fallback,
        "fallbackVersion": found.fallback_version,
        "state": str(found.state),
        "step": found.step,
        "reason": found.reason,
        "since": _text(found.since, "microseconds") if found.since else None,
    }


def _condition_from(found: Json) -> Condition:
    return Condition(
        holds=found["status"] == "True",
        reason=intern(found["reason"]),
        message=intern(found.get("message", "")),
        since=datetime.fromisoformat(found["lastTransitionTime"]),
        generation=int(found.get("observedGeneration", 0)),
    )


def _condition_document(kind: str, found: Condition) -> Json:
    return {
        "type": kind,
        "status": "True" if found.holds else "False",
        "reason": found.reason,
        "message": found.message,
        "lastTransitionTime": _text(found.since, "seconds"),
        "observedGeneration": found.generation,
    }


def _text(when: datetime, precision: str) -> str:
    return when.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")
