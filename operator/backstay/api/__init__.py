"""The resources of `backstay.dev/v1alpha1` as typed models: the single source of `crds/` and of the reference."""

from backstay.api.conditions import Condition, ConditionStatus
from backstay.api.devicegroup import DeviceGroup, DeviceGroupSpec, DeviceGroupStatus
from backstay.api.edgedevice import Desired, EdgeDevice, EdgeDeviceSpec, EdgeDeviceStatus
from backstay.api.healthrule import HealthRule, HealthRuleSpec, HealthRuleStatus
from backstay.api.hold import Hold, HoldSpec, HoldStatus
from backstay.api.releaseplan import ReleasePlan, ReleasePlanSpec, Ring
from backstay.api.releaseplan_status import ReleasePlanStatus, RevisionPhase
from backstay.api.resource import GROUP, VERSION, InvalidDocument, Resource

KINDS: tuple[type[Resource], ...] = (DeviceGroup, EdgeDevice, HealthRule, Hold, ReleasePlan)
"""Every kind of the group, by name."""

__all__ = [
    "GROUP",
    "KINDS",
    "VERSION",
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
