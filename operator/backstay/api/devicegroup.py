"""DeviceGroup: the devices that a label selector picks."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from backstay.api.conditions import Conditions
from backstay.api.resource import Column, Reported, Resource, Served, Written
from backstay.api.rules import ATOMIC, rule, rules
from backstay.api.scalars import Cell11, Cell16, Count, DeviceNamePattern, Digest, PositiveCountOrPercentage
from backstay.api.selectors import Labels, LabelSelector
from backstay.api.windows import Window


class EnrolmentRule(Written):
    """Which devices come into the group by themselves when they first show themselves to a gateway.

    A device that presents a valid token and has no EdgeDevice gets one that is not enrolled. Where rules contradict
    each other, or labels that the device has already, it waits for a person.
    """

    names: DeviceNamePattern
    """Pattern of the whole names of the devices, as in a shell, such as cam-[0-9]*."""
    labels: Labels = Field(default_factory=dict)
    """Labels that such a device gets; with them it must belong to the group."""


_MATCHES_LABELS = (
    "!has(self.selector.matchLabels) || self.selector.matchLabels.all(key, "
    "has(self.enrol.labels) && key in self.enrol.labels && self.enrol.labels[key] == self.selector.matchLabels[key])"
)


class DeviceGroupSpec(Written):
    """Which devices belong together, and what all plans must respect when they change them.

    Where groups overlap, the strictest rule wins.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.enrol) || ({_MATCHES_LABELS})",
                "enrol.labels must hold every label of selector.matchLabels, or who is enrolled would not belong here",
                at=".enrol.labels",
            )
        )
    )

    selector: LabelSelector
    """Picks the group's devices by the labels of their EdgeDevice. An empty selector picks every device of the
    namespace."""
    max_unavailable: PositiveCountOrPercentage | None = None
    """How many devices of the group may be changing or unhealthy at the same time, over all plans: a number, or a
    percentage of the group, rounded up. A rollback never waits for it. Absent: only the plans' own limits hold."""
    window: Window | None = None
    """Hours in which devices of this group may start a change, in every plan. Absent: any time."""
    enrol: EnrolmentRule | None = None
    """Lets devices in without a person. Absent: each waits for one."""
    paused: bool = False
    """True starts nothing new on the group's devices, in every plan. Devices that are changing finish, and a rollback
    goes on. Default: false."""


class VersionCount(Reported):
    """How many devices run a version."""

    version: Annotated[str, Field(max_length=64)] = ""
    """The version, as the devices report it."""
    digest: Digest | None = None
    """The digest of its content."""
    devices: Count = 0
    """Number of devices that run it."""


Counts = Annotated[tuple[VersionCount, ...], Field(max_length=8, json_schema_extra=ATOMIC)]


class RunningVersions(Reported):
    """What the group's devices run in each plane: the most frequent versions first, at most 8."""

    firmware: Counts = ()
    """Versions of the firmware."""
    model: Counts = ()
    """Versions of the model."""
    config: Counts = ()
    """Versions of the config."""


class DeviceGroupSummary(Reported):
    """The columns of `kubectl get`, ready to print."""

    ready: Cell11 = ""
    """Healthy and reachable devices of all devices, as 58/60."""
    firmware: Cell11 = ""
    """The most frequent firmware, with + where others run too."""
    model: Cell11 = ""
    """The most frequent model, with + where others run too."""
    config: Cell11 = ""
    """The most frequent config, with + where others run too."""
    health: Cell16 = ""
    """Healthy, Paused, or why not."""


class DeviceGroupStatus(Reported):
    """What the group's devices report."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that this status answers."""
    devices: Count = 0
    """Number of devices that the selector picks."""
    ready: Count = 0
    """Number of those that are reachable and healthy."""
    versions: RunningVersions = RunningVersions()
    """What they run."""
    summary: DeviceGroupSummary = DeviceGroupSummary()
    """What `kubectl get` prints."""
    conditions: Conditions = ()
    """Ready, Reconciling and Stalled as kstatus reads them; Accepted."""


class DeviceGroup(Resource):
    """The devices that a label selector picks: by group, customer, region, site or hardware.

    ReleasePlans name groups.
    """

    served: ClassVar[Served] = Served(
        plural="devicegroups",
        short_names=("dg",),
        columns=(
            Column("Ready", ".status.summary.ready", description="Healthy and reachable devices, of all."),
            Column("Firmware", ".status.summary.firmware", description="What most devices run."),
            Column("Model", ".status.summary.model", description="What most devices run."),
            Column("Config", ".status.summary.config", description="What most devices run."),
            Column("Health", ".status.summary.health", description="Healthy, or why not."),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    kind: Literal["DeviceGroup"] = "DeviceGroup"
    spec: DeviceGroupSpec
    status: DeviceGroupStatus = DeviceGroupStatus()
