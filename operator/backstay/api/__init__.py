"""The resources of `backstay.dev/v1alpha1` as typed models: the single source of `crds/` and of the reference.

A model is built when its name is first asked for: all of them together take 10 MB, which the agent of a node has not.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from backstay.api.agentlease import AgentLease
    from backstay.api.conditions import Condition, ConditionStatus
    from backstay.api.devicegroup import DeviceGroup, DeviceGroupSpec, DeviceGroupStatus
    from backstay.api.edgedevice import Desired, EdgeDevice, EdgeDeviceSpec, EdgeDeviceStatus
    from backstay.api.healthrule import HealthRule, HealthRuleSpec, HealthRuleStatus
    from backstay.api.hold import Hold, HoldSpec, HoldStatus
    from backstay.api.releaseplan import ReleasePlan, ReleasePlanSpec, Ring
    from backstay.api.releaseplan_status import ReleasePlanStatus, RevisionPhase
    from backstay.api.resource import GROUP, VERSION, InvalidDocument, Resource

    KINDS: tuple[type[Resource], ...]
    """Every kind of the group, by name."""

__all__ = [
    "GROUP",
    "KINDS",
    "VERSION",
    "AgentLease",
    "Condition",
    "ConditionStatus",
    "Desired",
    "DeviceGroup",
    "DeviceGroupSpec",
    "DeviceGroupStatus",
    "EdgeDevice",
    "EdgeDeviceSpec",
    "EdgeDeviceStatus",
    "HealthRule",
    "HealthRuleSpec",
    "HealthRuleStatus",
    "Hold",
    "HoldSpec",
    "HoldStatus",
    "InvalidDocument",
    "ReleasePlan",
    "ReleasePlanSpec",
    "ReleasePlanStatus",
    "Resource",
    "RevisionPhase",
    "Ring",
]

_NAMES: Final = {
    "agentlease": ("AgentLease",),
    "conditions": ("Condition", "ConditionStatus"),
    "devicegroup": ("DeviceGroup", "DeviceGroupSpec", "DeviceGroupStatus"),
    "edgedevice": ("Desired", "EdgeDevice", "EdgeDeviceSpec", "EdgeDeviceStatus"),
    "healthrule": ("HealthRule", "HealthRuleSpec", "HealthRuleStatus"),
    "hold": ("Hold", "HoldSpec", "HoldStatus"),
    "releaseplan": ("ReleasePlan", "ReleasePlanSpec", "Ring"),
    "releaseplan_status": ("ReleasePlanStatus", "RevisionPhase"),
    "resource": ("GROUP", "VERSION", "InvalidDocument", "Resource"),
}
_MODULES: Final = {name: module for module, names in _NAMES.items() for name in names}
_KINDS: Final = ("AgentLease", "DeviceGroup", "EdgeDevice", "HealthRule", "Hold", "ReleasePlan")


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name == "KINDS":
        return tuple(__getattr__(kind) for kind in _KINDS)
    if (module := _MODULES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
