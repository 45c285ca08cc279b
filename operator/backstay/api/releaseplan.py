"""ReleasePlan: which versions a fleet shall run, and how carefully it gets there."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, field_validator

from backstay.api.releaseplan_status import ReleasePlanStatus
from backstay.api.resource import Column, Resource, Served, Written
from backstay.api.rules import ATOMIC, SET, rule, rules
from backstay.api.scalars import (
    ArtifactReference,
    Count,
    CountOrPercentage,
    Duration,
    LabelKey,
    Name,
    ObjectName,
    Percentage,
    PositiveCountOrPercentage,
    PositiveDuration,
    SemVer,
    SemVerRange,
    parse_fraction,
)
from backstay.api.selectors import LabelSelector
from backstay.api.windows import Window
from backstay.core.plan import Denominator, Scope
from backstay.core.planes import Plane

_SHRINKS = "sizes count earlier rings too, so they must not shrink from ring to ring"


class Requirements(Written):
    """What a version needs of the versions beside it."""

    firmware: SemVerRange | None = None
    """Range that the device's firmware must lie in, such as `>=2.2.0,<3.0.0`."""
    model: SemVerRange | None = None
    """Range that the device's model must lie in."""
    config: SemVerRange | None = None
    """Range that the device's config must lie in."""

    def by_plane(self) -> dict[Plane, SemVerRange]:
        """The ranges that are set."""
        every = {Plane.FIRMWARE: self.firmware, Plane.MODEL: self.model, Plane.CONFIG: self.config}
        return {plane: found for plane, found in every.items() if found is not None}


class PlaneVersion(Written):
    """The version that a plane shall run."""

    version: SemVer
    """Semantic version of the artifact, without a leading v. It must be the version that the artifact itself
    declares."""
    artifact: ArtifactReference
    """The OCI artifact by the digest of its manifest: `HOST[:PORT]/REPOSITORY@sha256:…`. A tag alone is refused,
    because what it names can change during the rollout."""
    requires: Requirements | None = None
    """Tightens what the artifact declares about the other planes; it never loosens it. No device gets this version next
    to one that does not satisfy it."""
    irreversible: bool | None = None
    """True says that this version cannot be taken back once it runs: a missing way back is then no refusal, and no
    rollback and no rehearsal touches the plane. A gate that fails stops for a person where nothing else can go back.
    Absent: it can be taken back."""


class Versions(Written):
    """The version of each plane. A plane that is left out is not managed by this plan and stays as it is."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.firmware) || has(self.model) || has(self.config)",
                "at least one of firmware, model and config must be set",
            ),
            rule(
                "(!has(self.firmware) || !has(self.firmware.requires) || !has(self.firmware.requires.firmware)) && "
                "(!has(self.model) || !has(self.model.requires) || !has(self.model.requires.model)) && "
                "(!has(self.config) || !has(self.config.requires) || !has(self.config.requires.config))",
                "a version cannot require something of its own plane",
            ),
        )
    )

    firmware: PlaneVersion | None = None
    """Drivers, acquisition, inference runtime and agent."""
    model: PlaneVersion | None = None
    """Weights, labels, pre- and post-processing."""
    config: PlaneVersion | None = None
    """Thresholds, sampling, flags and model selection."""

    def by_plane(self) -> dict[Plane, PlaneVersion]:
        """The planes that the plan manages."""
        every = {Plane.FIRMWARE: self.firmware, Plane.MODEL: self.model, Plane.CONFIG: self.config}
        return {plane: found for plane, found in every.items() if found is not None}


class SecretReference(Written):
    """A Secret of the plan's namespace."""

    name: ObjectName
    """Name of the Secret."""


class Success(Written):
    """When enough devices of a ring run the new versions, by their own word, for the ring to pass."""

    confirmed: Percentage = "98%"
    """Share of the devices named by `of` that must have confirmed. It rounds up to whole devices. Default: 98%."""
    of: Denominator = Denominator.STARTED
    """Started counts the devices that were ordered to change, also those that fell silent since; Target counts every
    device of the ring, and those that were offline from the beginning for as long as `offlineGrace` lasts.
    Default: Started."""
    min_confirmed: Annotated[Count, Field(ge=1)] = 1
    """Number of devices that must have confirmed, whatever the share says. Default: 1."""
    offline_grace: Duration = "72h"
    """How long after a ring's start it waits for devices that were offline before anything was ordered, where it cannot
    pass without them. Whoever comes later catches up through the same gates. Default: 72h."""


class Rehearsal(Written):
    """Proves on healthy devices that going back works before the ring passes.

    A rehearsal that does not go as it should stops the rollout for a person. Its devices count in no gate meanwhile.
    """

    devices: Annotated[int, Field(ge=1, le=100)]
    """How many confirmed devices go back and forward again."""
    break_one: bool | None = None
    """True also makes one more device fail on purpose, to see it fall back by itself: a confirmed one that opted in by
    the label `backstay.dev/may-break: "true"`. Absent: none is broken."""


class Approval(StrEnum):
    """Who lets a ring start."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class Ring(Written):
    """A step of the rollout.

    Rings run in the order of the list; a ring starts only when every gate of the one before it has passed.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("has(self.select) || has(self.size)", "select or size must say which devices the ring takes")
        )
    )

    name: Name
    """Name of the ring, unique in the plan."""
    select: LabelSelector | None = None
    """Takes only devices with these labels, out of the plan's groups. Absent: all of them."""
    size: PositiveCountOrPercentage | None = None
    """How many devices have the new versions when this ring is complete: a number, or a percentage of the devices that
    `select` picks, earlier rings included. It rounds up. Which devices they are follows from their names, so that the
    choice is stable. Absent: all that `select` picks."""
    min: Count = 1
    """Number of devices that this ring adds at least, however small its size, and that must confirm. Default: 1."""
    spread_by: Annotated[tuple[LabelKey, ...], Field(max_length=8, json_schema_extra=SET)] = ()
    """Labels such as hardware or customer: the ring takes at least one device for each value that occurs, also where
    that makes it larger than its size."""
    soak: Duration = "10m"
    """How long the ring is watched, with every signal passing, before the next one starts. Default: 10m."""
    in_flight: PositiveCountOrPercentage = "20%"
    """How many devices may be changing at the same time: a number, or a percentage of the ring, rounded up. A device
    that fell silent stays counted until it answers, also past its deadline. Default: 20%."""
    max_failed: CountOrPercentage = 0
    """How many devices may fail without failing the ring: a number, or a percentage of the ring, rounded down, so that
    2% of three devices tolerates none. Default: 0, so the first failure fails the ring."""
    min_samples: Annotated[Count, Field(ge=1)] = 1
    """Number of started devices below which `maxFailed` does not fail the ring yet. Default: 1."""
    rehearsal: Rehearsal | None = None
    """Recovery to be proved on this ring before it passes. Absent: none."""
    approval: Approval | None = None
    """Manual waits before the ring starts until a person approves it, by the annotation
    `backstay.dev/request: approve@REVISION/RING/NONCE` on the plan; Automatic does not. Absent: Automatic."""
    window: Window | None = None
    """Hours in which devices of this ring may start a change. Absent: any time."""


class Deadlines(Written):
    """How long a device may take for one step, download included, counted from its first feedback.

    A step that is not answered by then has failed. One that got no feedback at all fails as long after it was ordered.
    """

    firmware: PositiveDuration = "40m"
    """For a firmware step. Default: 40m."""
    model: PositiveDuration = "2h"
    """For a model step. Default: 2h."""
    config: PositiveDuration = "15m"
    """For a config step. Default: 15m."""


class ConfirmWindow(Written):
    """How long a device tries a new version, from the first boot or activation, until all its probes have passed.

    A device that has not confirmed by then falls back by itself, with no network.
    """

    firmware: PositiveDuration = "5m"
    """For firmware. Default: 5m."""
    model: PositiveDuration = "5m"
    """For a model. Default: 5m."""
    config: PositiveDuration = "2m"
    """For a config. Default: 2m."""


class Retries(Written):
    """How a change that could not be delivered to a device is ordered again.

    What never reached the device says nothing against the version: the device failed only once all its attempts did.
    """

    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    """Orders in all, the first one included; 1 orders nothing again. Default: 3."""
    backoff: PositiveDuration = "1m"
    """How long is waited before the second order; each further wait is twice as long. Default: 1m."""


class Rollback(Written):
    """What happens when a gate fails."""

    automatic: bool = True
    """True takes the release back plane by plane, the likeliest culprit first, until health has returned; false stops
    and leaves the decision to a person. Default: true."""
    order: Annotated[
        tuple[Plane, ...],
        Field(
            max_length=3,
            json_schema_extra=rules(
                rule("self.all(p, self.exists_one(q, q == p))", "a plane can stand in the order only once"), **ATOMIC
            ),
        ),
    ] = ()
    """Which plane is reverted first where the evidence is even. Only planes that the plan manages may be named.
    Absent: config, model, firmware."""
    scope: Scope = Scope.PLAN
    """How far a rollback reaches. Plan takes back every device that this revision has reached. Ring takes back those of
    the ring that failed. Segment takes back those that share the label on which the failing devices concentrate, and
    all of them where there is none; the version is frozen for these devices alone. Default: Plan."""
    verify: Duration = "10m"
    """How long health is watched after each reverted plane before the next one is. Default: 10m."""


def _per_plane(expression: str) -> str:
    return " && ".join(f"({expression.replace('PLANE', plane)})" for plane in Plane)


_CAN_GO_BACK: Final = " || ".join(
    f"(has(self.versions.{plane}) && !(has(self.versions.{plane}.irreversible) && self.versions.{plane}.irreversible))"
    for plane in Plane
)


class ReleasePlanSpec(Written):
    """What the devices of some groups shall run, in which rings they get it, and what must hold before a ring passes.

    A change of `versions` starts a new revision.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.rollback.order) || self.rollback.order.all(p, "
                + " || ".join(f"(p == '{plane}' && has(self.versions.{plane}))" for plane in Plane)
                + ")",
                "the order names a plane that spec.versions does not manage",
                at=".rollback.order",
            ),
            rule(
                _per_plane("duration(self.confirmWindow.PLANE) <= duration(self.deadlines.PLANE)"),
                "a confirm window must not be longer than the deadline of its plane",
                at=".confirmWindow",
            ),
            rule(
                "!has(self.rings) || !self.rings.exists(r, has(r.rehearsal)) || " + _CAN_GO_BACK,
                "a ring rehearses going back, and every version of the plan is irreversible",
                at=".rings",
            ),
        )
    )

    groups: Annotated[tuple[ObjectName, ...], Field(min_length=1, max_length=32, json_schema_extra=SET)]
    """The DeviceGroups whose devices this plan manages; a device in several of them counts once."""
    versions: Versions
    """The version of each plane that the plan manages."""
    pull_secret_ref: SecretReference | None = None
    """Credentials for the registry, of type kubernetes.io/dockerconfigjson. Absent: none."""
    success: Success = Success()
    """When enough devices of a ring have confirmed."""
    rings: (
        Annotated[
            tuple[Ring, ...],
            Field(
                min_length=1,
                max_length=64,
                json_schema_extra=rules(
                    rule("self.all(r, self.exists_one(o, o.name == r.name))", "two rings have the same name"),
                    rule(
                        "self.filter(r, has(r.size) && !has(r.select) && type(r.size) == int)"
                        ".map(r, int(r.size)).isSorted()",
                        _SHRINKS,
                    ),
                    **ATOMIC,
                ),
            ),
        ]
        | None
    ) = None
    """The steps of the rollout, in order. A device belongs to the first ring that takes it; a device that no ring takes
    is left as it is. Absent: one ring named `all`, which takes every device at once."""
    health: Annotated[tuple[ObjectName, ...], Field(max_length=16, json_schema_extra=SET)] = ()
    """The HealthRules whose signals gate every ring and whose probes run on every device before it confirms."""
    deadlines: Deadlines = Deadlines()
    """How long a device may take for a step."""
    confirm_window: ConfirmWindow = ConfirmWindow()
    """How long a device tries a new version before it falls back."""
    retries: Retries = Retries()
    """How a change that could not be delivered is ordered again."""
    rollback: Rollback = Rollback()
    """What happens when a gate fails."""
    stability_window: Duration = "24h"
    """How long the whole fleet is watched after the last ring before the revision has succeeded. Until then the
    previous versions are not overwritten. Default: 24h."""
    retain: Duration | None = None
    """How long after a revision has succeeded the versions before it are kept for a return, by the operator and by
    devices with spare storage. Absent: only what devices themselves keep to fall back to."""
    paused: bool = False
    """True starts nothing new. Devices that are changing finish, and a rollback goes on. Default: false."""

    @field_validator("rings")
    @classmethod
    def _sizes_never_shrink(cls, rings: tuple[Ring, ...] | None) -> tuple[Ring, ...] | None:
        # CEL checks the counts only: it cannot bound the length of a share, and the API server refuses to pay for that.
        sizes = [ring.size for ring in rings or () if ring.select is None]
        shares = [parse_fraction(size) for size in sizes if isinstance(size, str)]
        counts = [size for size in sizes if isinstance(size, int)]
        if shares != sorted(shares) or counts != sorted(counts):
            raise ValueError(_SHRINKS)
        return rings


class ReleasePlan(Resource):
    """A release, which reaches a fleet ring by ring and goes back by itself when health fails.

    It names the versions of firmware, model and config. A plan is long-lived, like a Deployment: change its
    versions to start the next revision. Deleting it stops it: nothing new starts, and devices keep what they run.
    """

    served: ClassVar[Served] = Served(
        plural="releaseplans",
        short_names=("rp", "plan"),
        columns=(
            Column("Phase", ".status.phase", description="What the revision is doing."),
            Column("Revision", ".status.revision", description="The revision that is rolled out."),
            Column("Ring", ".status.summary.ring", description="The ring it has reached."),
            Column(
                "Confirmed",
                ".status.summary.confirmed",
                description="Confirmed devices of the plan, of all its devices.",
            ),
            Column("Health", ".status.summary.health", description="Healthy, or why not."),
            Column("Since", ".status.phaseSince", "date", description="How long it has been in this phase."),
            Column("Culprit", ".status.culprit.plane", priority=1, description="The plane that was found guilty."),
            Column("Age", ".metadata.creationTimestamp", "date", priority=1),
        ),
    )

    kind: Literal["ReleasePlan"] = "ReleasePlan"
    spec: ReleasePlanSpec
    status: ReleasePlanStatus = ReleasePlanStatus()
