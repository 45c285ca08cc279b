"""EdgeDevice: what one device shall run, by the operator, and what it runs, by its own word."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from backstay.api.conditions import Conditions
from backstay.api.probes import ResolvedProbe
from backstay.api.resource import Column, Reported, Resource, Served, Written
from backstay.api.rules import SET, list_map, rule, rules
from backstay.api.scalars import (
    ArtifactReference,
    DeviceClassName,
    Digest,
    Duration,
    Name,
    ObjectName,
    ShortText,
)
from backstay.core.devices import Drill, Mode, PlaneState, StepType
from backstay.core.planes import Plane

_HAS_PLANE = " || ".join(f"(self.step.plane == '{plane}' && has(self.{plane}))" for plane in Plane)


class Pins(Written):
    """Contents that a device keeps, whatever plans say."""

    firmware: Digest | None = None
    """Content digest of the firmware to keep."""
    model: Digest | None = None
    """Content digest of the model to keep."""
    config: Digest | None = None
    """Content digest of the config to keep."""


class NeededRanges(Reported):
    """What a version needs of the versions beside it, its artifact's ranges and the plan's together."""

    firmware: Annotated[str, Field(max_length=300)] | None = None
    """Range that the device's firmware must lie in."""
    model: Annotated[str, Field(max_length=300)] | None = None
    """Range that the device's model must lie in."""
    config: Annotated[str, Field(max_length=300)] | None = None
    """Range that the device's config must lie in."""


class Assignment(Reported):
    """What a device shall run in one plane, and in whose name."""

    plan: ObjectName
    """The ReleasePlan that assigned it."""
    revision: Annotated[str, Field(max_length=32)]
    """The plan's revision."""
    ring: Annotated[str, Field(max_length=63)] = ""
    """The ring that the device belongs to."""
    version: Annotated[str, Field(max_length=64)] = ""
    """The version, for people; `content` is what counts. A device that goes back has its own word for it."""
    artifact: ArtifactReference | None = None
    """The OCI artifact to fetch, by the digest of its manifest; absent where only the device has the content."""
    content: Digest
    """SHA-256 of the payload bytes, which the device compares with what it runs."""
    retain: Duration | None = None
    """How long a node keeps a version of this plane after it has left it, its fallback aside. Absent: not at all."""
    requires: NeededRanges | None = None
    """What the content needs beside it; the device keeps it, and never falls back to a set that breaks it."""


class Step(Reported):
    """The one change that a device is ordered to make now."""

    number: Annotated[
        int,
        Field(
            ge=1,
            le=2**53,
            json_schema_extra=rules(rule("self >= oldSelf", "the number of a device's steps only grows")),
        ),
    ]
    """Grows by one with every step of the device; answers carry it."""
    plane: Plane
    """The plane that changes; its assignment says to what."""
    type: StepType
    """Install brings new content; Return goes back to content that the device ran before, and no hold stops it."""
    issued: AwareDatetime
    """When it was ordered."""
    withdrawn: bool | None = None
    """True takes the order back: a device that has not begun it leaves it alone. Its number stays used."""
    attempt: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Grows by one while the same change is ordered again because it could not be delivered. Absent: the first."""
    again: bool | None = None
    """True where a person asked for it to be tried again: also a device does that saw it fail. Absent: false."""
    rehearsal: Drill | None = None
    """Set where the step belongs to a rehearsal and says nothing about the version. RoundTrip: the device goes back, or
    forward again. Break: a probe fails on purpose, and the device must fall back by itself. Absent: none."""


class Desired(Reported):
    """What the device shall run, with all that it needs to act and to fall back offline.

    Written by the operator alone.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.step) || {_HAS_PLANE}",
                "the step's plane has no assignment to change to",
                at=".step.plane",
            )
        )
    )

    firmware: Assignment | None = None
    """What to run as firmware."""
    model: Assignment | None = None
    """What to run as model."""
    config: Assignment | None = None
    """What to run as config."""
    step: Step | None = None
    """The change that is ordered now, or was last."""
    probes: Annotated[tuple[ResolvedProbe, ...], Field(max_length=32, json_schema_extra=list_map("name"))] = ()
    """Checks that must pass before the device confirms the step."""
    window: Duration | None = None
    """How long the device tries the step's content before it falls back."""
    expires: AwareDatetime | None = None
    """A step that has not begun by then is dropped."""

    def by_plane(self) -> dict[Plane, Assignment]:
        """The planes that were assigned."""
        every = {Plane.FIRMWARE: self.firmware, Plane.MODEL: self.model, Plane.CONFIG: self.config}
        return {plane: found for plane, found in every.items() if found is not None}


class EdgeDeviceSpec(Written):
    """What the device is, how it is reached, and what it shall run."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.gateway) != has(self.node)", "exactly one of gateway and node must be set"),
            rule(
                "self.class != 'esp32' || has(self.gateway)",
                "an esp32 stands behind a gateway, not on a node",
                at=".node",
            ),
            rule(
                "self.class != 'rk3566' || has(self.node)", "an rk3566 is a node, not behind a gateway", at=".gateway"
            ),
            rule(
                "!has(self.recover) || self.recover == 0 || has(self.node)",
                "only a node recovers by order: a device behind a gateway goes back by itself",
                at=".recover",
            ),
        )
    )

    device_class: Annotated[
        DeviceClassName,
        Field(
            validation_alias="class",
            serialization_alias="class",
            json_schema_extra=rules(
                rule("self == oldSelf", "a device's class cannot change: delete the EdgeDevice and create another")
            ),
        ),
    ]
    """What kind of device this is, such as esp32 or rk3566; it decides what the device can do. It cannot change."""
    gateway: ObjectName | None = None
    """The gateway that serves the device; no other one may. Changing it moves the device. Exactly one of gateway and
    node is set."""
    node: ObjectName | None = None
    """The Node that the device is. Exactly one of gateway and node is set."""
    mode: Mode = Mode.NORMAL
    """Safe keeps only the agent and its connection running, on a device that is a node: the workload is stopped, and
    nothing is installed. No version is lost. Default: Normal."""
    recover: Annotated[
        int,
        Field(
            ge=0,
            le=2**31 - 1,
            json_schema_extra=rules(rule("self >= oldSelf", "each request to recover has a higher number")),
        ),
    ] = 0
    """Raised by one to ask a node to recover: to leave a safe mode that it went into by itself, to forget which
    versions failed on it, and to give up what is on trial. `status.recovered` answers. `backstay recover` does it."""
    pins: Pins | None = None
    """Contents that the device keeps, whatever plans say."""
    token_generation: Annotated[
        int,
        Field(
            ge=1,
            le=2**31 - 1,
            json_schema_extra=rules(rule("self >= oldSelf", "going back would make withdrawn tokens valid again")),
        ),
    ] = 1
    """The generation of the device's token; raising it makes every earlier token invalid. Default: 1."""
    revoked: bool = False
    """True shuts the device out: its token is refused. Default: false."""
    enrolled: Annotated[
        bool,
        Field(
            json_schema_extra=rules(
                rule("self || !oldSelf", "an enrolled device stays enrolled: shut it out with spec.revoked")
            )
        ),
    ] = True
    """False where a gateway has put the device up because it showed itself with a valid token: it waits for a person,
    or for the `enrol` rule of a DeviceGroup, to set this to true. Until then it belongs to no group and gets nothing.
    Default: true."""
    desired: Desired | None = None
    """What the device shall run. Written by the operator alone."""


class PlaneReport(Reported):
    """What the device says of one plane."""

    running: Digest | None = None
    """Content digest of what runs, computed by the device from its own bytes."""
    version: Annotated[str, Field(max_length=64)] = ""
    """Version of what runs."""
    fallback: Digest | None = None
    """Content digest of what the device goes back to when the present content fails."""
    fallback_version: Annotated[str, Field(max_length=64)] = ""
    """Version of the fallback."""
    state: PlaneState = PlaneState.IDLE
    """Where the plane stands in its last step."""
    step: Annotated[int, Field(ge=0, le=2**53)] = 0
    """Number of the last step that the plane began or answered; 0 for none."""
    reason: ShortText = ""
    """Why the last step failed, such as `ProbeFailed: camera: no frame in 5 s`; of probes, all names come first."""
    since: AwareDatetime | None = None
    """When the state was reached."""


class PlaneReports(Reported):
    """What the device says of each plane."""

    firmware: PlaneReport | None = None
    """Its firmware."""
    model: PlaneReport | None = None
    """Its model."""
    config: PlaneReport | None = None
    """Its config."""

    def by_plane(self) -> dict[Plane, PlaneReport]:
        """The planes that the device has reported."""
        every = {Plane.FIRMWARE: self.firmware, Plane.MODEL: self.model, Plane.CONFIG: self.config}
        return {plane: found for plane, found in every.items() if found is not None}


class HealthState(StrEnum):
    """What a device's probes say together."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"


class DeviceHealth(Reported):
    """What the device's probes say."""

    state: HealthState = HealthState.UNKNOWN
    """Healthy: every required probe passes. Degraded: some fail. Unknown: the device does not report health."""
    failing: Annotated[tuple[Name, ...], Field(max_length=32, json_schema_extra=SET)] = ()
    """The required probes that fail."""
    advisory: Annotated[tuple[Name, ...], Field(max_length=32, json_schema_extra=SET)] = ()
    """The advisory probes that fail: to be known, and nothing follows from it. Of nodes only."""


class EdgeDeviceStatus(Reported):
    """What the device runs, by its own word. Written by its gateway, or by its agent on a node."""

    planes: PlaneReports = PlaneReports()
    """What runs in each plane."""
    health: DeviceHealth = DeviceHealth()
    """What the probes say."""
    slot: Annotated[str, Field(max_length=32)] = ""
    """The slot that the device booted from, such as ota_0."""
    rollback_capable: bool | None = None
    """Whether the bootloader falls back by itself; absent where the device has not said."""
    agent: Annotated[str, Field(max_length=128)] = ""
    """The agent and its version, such as backstay-esp32/0.1.0."""
    mode: Mode | None = None
    """Whether the device is in safe mode, ordered or not; absent where it says nothing of it. Ready says why."""
    recovered: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """The last `spec.recover` that the device has carried out."""
    conditions: Conditions = ()
    """Reachable: the device has reported within the interval that it declares; of a node whose agent is silent, the
    operator takes it back. Ready: it is reachable, healthy, and runs what it shall. Enrolled, where it came by itself:
    whether it has been let in."""


class EdgeDevice(Resource):
    """One device, also behind a gateway. Its labels say which groups and rings it belongs to."""

    served: ClassVar[Served] = Served(
        plural="edgedevices",
        short_names=("ed",),
        columns=(
            Column("Gateway", ".spec.gateway", description="The gateway that serves it."),
            Column("Firmware", ".status.planes.firmware.version", description="What it runs."),
            Column("Model", ".status.planes.model.version", description="What it runs."),
            Column("Config", ".status.planes.config.version", description="What it runs."),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status', description="Healthy and up to date."),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', description="Why, or why not."),
            Column(
                "Since",
                '.status.conditions[?(@.type=="Ready")].lastTransitionTime',
                "date",
                description="How long it has been so.",
            ),
            Column("Mode", ".status.mode", priority=1, description="Whether it is in safe mode."),
            Column("Class", ".spec.class", priority=1, description="What kind of device it is."),
            Column("Node", ".spec.node", priority=1, description="The Node that it is."),
            Column("Slot", ".status.slot", priority=1, description="The slot it booted from."),
            Column("Agent", ".status.agent", priority=1, description="Its agent."),
        ),
        selectable=(".spec.gateway", ".spec.node"),
    )

    kind: Literal["EdgeDevice"] = "EdgeDevice"
    spec: EdgeDeviceSpec
    status: EdgeDeviceStatus = EdgeDeviceStatus()
