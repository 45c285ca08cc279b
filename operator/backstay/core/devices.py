"""One device as the operator knows it: what it was ordered to do, and what it says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NewType

from backstay.core.planes import ContentDigest, Plane

DeviceName = NewType("DeviceName", str)
RevisionName = NewType("RevisionName", str)


class StepType(StrEnum):
    """What a step does in its plane."""

    INSTALL = "Install"
    RETURN = "Return"


class Drill(StrEnum):
    """What a step of a rehearsal proves; such a step says nothing about the version."""

    ROUND_TRIP = "RoundTrip"
    """The device can go back, and forward again."""
    BREAK = "Break"
    """The device is told to fail a probe, and must fall back by itself."""


class Mode(StrEnum):
    """What a device runs beside its agent and its connection."""

    NORMAL = "Normal"
    SAFE = "Safe"
    """Nothing."""


class PlaneState(StrEnum):
    """Where a plane of a device stands, by the device's own word."""

    IDLE = "Idle"
    DOWNLOADING = "Downloading"
    VERIFIED = "Verified"
    INSTALLING = "Installing"
    PENDING_CONFIRM = "PendingConfirm"
    CONFIRMED = "Confirmed"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"
    INSTALLED_UNVERIFIED = "InstalledUnverified"

    @property
    def is_answer(self) -> bool:
        """Tell whether a step that reached this state is over."""
        return self in _ANSWERS


_ANSWERS: Final = frozenset(
    {
        PlaneState.CONFIRMED,
        PlaneState.ROLLED_BACK,
        PlaneState.FAILED,
        PlaneState.INSTALLED_UNVERIFIED,
    }
)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a device shall run in one plane, and in whose name."""

    plan: str
    revision: RevisionName
    ring: str
    version: str
    content: ContentDigest
    artifact: str = ""
    requires: tuple[tuple[Plane, str], ...] = ()
    """What it needs of the planes beside it, as ranges: the artifact's own and the plan's together."""


@dataclass(frozen=True, slots=True)
class Step:
    """The one change that a device is ordered to make now; its content is the assignment's of that plane."""

    number: int
    plane: Plane
    type: StepType
    issued: datetime
    expires: datetime
    withdrawn: bool = False
    """Taken back before it was begun; its number stays used."""
    attempt: int = 1
    """Grows while the same change is ordered again because it could not be delivered."""
    drill: Drill | None = None
    """Set on the steps of a rehearsal."""
    again: bool = False
    """A person asked for it to be tried again, also where the device has seen it fail."""


@dataclass(frozen=True, slots=True)
class PlaneStatus:
    """What a device reports of one plane."""

    running: ContentDigest | None = None
    version: str = ""
    fallback: ContentDigest | None = None
    fallback_version: str = ""
    state: PlaneState = PlaneState.IDLE
    step: int = 0
    """The number of the last step that this plane has begun or answered; 0 for none."""
    reason: str = ""
    since: datetime | None = None


NOTHING_REPORTED: Final = PlaneStatus()


@dataclass(frozen=True, slots=True)
class Device:
    """A device record; immutable, so that a view of the fleet can hand it out."""

    name: DeviceName
    labels: Mapping[str, str] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()
    device_class: str = "esp32"
    gateway: str = ""
    reachable: bool = True
    """Whether it can be ordered anything: one in safe mode is there, and counts as if it were not."""
    revoked: bool = False
    rollback_capable: bool = True
    planes: Mapping[Plane, PlaneStatus] = field(default_factory=dict)
    assigned: Mapping[Plane, Assignment] = field(default_factory=dict)
    step: Step | None = None
    failing: tuple[str, ...] = ()
    resource_version: str = ""
    uid: str = ""
    safe: bool = False
    """It is in safe mode, or is ordered to be."""

    def status(self, plane: Plane) -> PlaneStatus:
        """What the device reports of a plane."""
        return self.planes.get(plane, NOTHING_REPORTED)

    @property
    def in_flight(self) -> bool:
        """Tell whether a step was ordered that the device has not answered; silence keeps it in flight.

        One that was taken back is in flight only if the device had begun it all the same.
        """
        if self.step is None or self.answered:
            return False
        return self.begun or not self.step.withdrawn

    @property
    def answered(self) -> bool:
        """Tell whether the device has answered the step that it was last ordered."""
        if self.step is None:
            return False
        status = self.status(self.step.plane)
        return status.step == self.step.number and status.state.is_answer

    @property
    def begun(self) -> bool:
        """Tell whether the device has given any feedback on its present step."""
        return self.step is not None and self.status(self.step.plane).step == self.step.number

    def runs(self, plane: Plane, content: ContentDigest) -> bool:
        """Tell whether the device itself says that it runs this content; orders and downloads do not count."""
        return self.status(plane).running == content


def answered_well(device: Device) -> bool:
    """Tell whether the last step was confirmed and the device runs what was ordered.

    A device that claims success but reports other bytes has not answered well.
    """
    if device.step is None or not device.answered:
        return False
    assignment = device.assigned.get(device.step.plane)
    confirmed = device.status(device.step.plane).state is PlaneState.CONFIRMED
    return confirmed and assignment is not None and device.runs(device.step.plane, assignment.content)


def deadline_of(device: Device, allowed: Mapping[Plane, timedelta]) -> datetime | None:
    """When the present step fails if it is not answered: counted from the first feedback, or its expiry before that."""
    if device.step is None:
        return None
    status = device.status(device.step.plane)
    if device.begun and status.since is not None:
        # Whatever its gateway's clock says, a step begins neither before it was ordered nor after it has expired.
        begun = min(max(status.since, device.step.issued), max(device.step.expires, device.step.issued))
        return begun + allowed[device.step.plane]
    return device.step.expires
