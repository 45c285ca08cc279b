"""Hold: a standing order that stops changes."""

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from backstay.api.conditions import Conditions
from backstay.api.resource import Column, Reported, Resource, Served, Written
from backstay.api.rules import SET, list_map, rule, rules
from backstay.api.scalars import Cell16, Cell24, Digest, ObjectName
from backstay.api.selectors import LabelSelector
from backstay.core.holds import InFlight
from backstay.core.planes import Plane


class HoldScope(Written):
    """The devices that a hold stops: by exactly one of selector, groups and devices."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "[has(self.selector), has(self.groups), has(self.devices)].filter(x, x).size() == 1",
                "exactly one of selector, groups and devices must be set",
            ),
            rule("!has(self.groups) || size(self.groups) > 0", "an empty list would hold nothing", at=".groups"),
            rule("!has(self.devices) || size(self.devices) > 0", "an empty list would hold nothing", at=".devices"),
        )
    )

    selector: LabelSelector | None = None
    """Devices with these labels. An empty selector is every device of the namespace."""
    groups: Annotated[tuple[ObjectName, ...], Field(max_length=32, json_schema_extra=SET)] | None = None
    """Devices of these DeviceGroups."""
    devices: Annotated[tuple[ObjectName, ...], Field(max_length=256, json_schema_extra=SET)] | None = None
    """These devices."""


class HeldVersion(Written):
    """A version that no device may install."""

    plane: Plane
    """Its plane."""
    digest: Digest
    """SHA-256 of its content, the payload bytes themselves, so that packing it anew evades nothing."""


class HoldSpec(Written):
    """What is stopped, and why. It cannot be changed: delete the hold to lift it, and create another."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("self == oldSelf", "a hold cannot be changed: delete it to lift it, and create another"),
            rule(
                "has(self.scope) || (has(self.versions) && size(self.versions) > 0)",
                "scope, versions or both must say what is held",
            ),
        )
    )

    scope: HoldScope | None = None
    """The devices that are stopped. Absent: every device of the namespace."""
    versions: Annotated[
        tuple[HeldVersion, ...], Field(max_length=32, json_schema_extra=list_map("plane", "digest"))
    ] = ()
    """The versions that may not be installed. Absent: every change is stopped."""
    in_flight: InFlight = InFlight.FINISH
    """What devices do that are changing already. Finish: they finish, or fall back by themselves. Return: they go back
    to what they ran before the change. A change that has not begun is taken back either way. Default: Finish."""
    reason: Annotated[str, Field(min_length=1, max_length=2048)]
    """Why, for the person who finds it at night."""
    until: AwareDatetime | None = None
    """When the hold runs out. Absent: never; it stands until somebody deletes it."""


class HoldSummary(Reported):
    """The columns of `kubectl get`, ready to print."""

    scope: Cell24 = ""
    """The devices that are held."""
    versions: Cell16 = ""
    """The versions that are held."""
    reason: Cell24 = ""
    """Why."""


class HoldStatus(Reported):
    """What the hold reaches. It stops changes from the moment it exists, whatever its status says."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that this status answers."""
    summary: HoldSummary = HoldSummary()
    """What `kubectl get` prints."""
    conditions: Conditions = ()
    """Ready, Reconciling and Stalled as kstatus reads them; Accepted; InForce, until the hold runs out."""


class Hold(Resource):
    """A standing order that stops changes: for some devices, for a version, or both.

    Deleting it lifts it. It never stops a device from going back to what it ran before.
    """

    served: ClassVar[Served] = Served(
        plural="holds",
        short_names=(),
        columns=(
            Column("Scope", ".status.summary.scope", description="The devices that are held."),
            Column("Versions", ".status.summary.versions", description="The versions that are held."),
            Column("Reason", ".status.summary.reason", description="Why."),
            Column("Since", ".metadata.creationTimestamp", "date", description="How long it has stood."),
            Column("Until", ".spec.until", priority=1, description="When it runs out."),
        ),
    )

    kind: Literal["Hold"] = "Hold"
    spec: HoldSpec
    status: HoldStatus = HoldStatus()


def summarize(spec: HoldSpec) -> HoldSummary:
    """The ready-made columns of a hold."""
    return HoldSummary(scope=_scope(spec.scope), versions=_versions(spec.versions), reason=spec.reason.split("\n")[0])


def _scope(scope: HoldScope | None) -> str:
    if scope is None:
        return "all devices"
    if scope.devices is not None:
        return scope.devices[0] if len(scope.devices) == 1 else f"{len(scope.devices)} devices"
    if scope.groups is not None:
        return f"group {','.join(scope.groups)}"
    return _selector(scope.selector or LabelSelector())


def _selector(selector: LabelSelector) -> str:
    labels = [f"{key}={value}" for key, value in selector.match_labels.items()]
    return ",".join(labels + [f"{found.key} {found.operator}" for found in selector.match_expressions]) or "all devices"


def _versions(versions: tuple[HeldVersion, ...]) -> str:
    if not versions:
        return "every change"
    if len(versions) > 1:
        return f"{len(versions)} versions"
    return f"{versions[0].plane} {versions[0].digest.removeprefix('sha256:')[:8]}"
