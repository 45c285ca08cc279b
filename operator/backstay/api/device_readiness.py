"""The condition Ready of an EdgeDevice: reachable, healthy, and running what it shall."""

from datetime import datetime
from typing import Final

from backstay.api.device_status import REACHABLE, READY, Condition, Status
from backstay.core.devices import Device, PlaneState, PlaneStatus
from backstay.core.planes import Plane


def with_readiness(
    status: Status, device: Device, generation: int, now: datetime, *, enrolled: bool = True, safe: str = ""
) -> Status:
    """The status with the condition Ready: reachable, healthy, and running what it shall.

    An order that the device has not begun does not count yet: the status is not written for it. Of a device that nobody
    has heard of, nothing is said: that would be a write for each device of a new gateway, and a guess. `safe` says why
    it is in safe mode, if it is.
    """
    if enrolled and REACHABLE not in status.conditions:
        return status
    holds, reason, message = _readiness(status, device, enrolled=enrolled)
    if safe and reason != "Unreachable":
        holds, reason, message = False, "SafeMode", f"safe mode: {safe}"
    return status.with_condition(READY, Condition(holds, reason, message, now, generation))


def _readiness(status: Status, device: Device, *, enrolled: bool) -> tuple[bool, str, str]:
    if not enrolled:
        return False, "NotEnrolled", "the device waits to be let in"
    reachable = status.conditions.get(REACHABLE)
    if reachable is not None and not reachable.holds:
        return False, "Unreachable", "the device does not check in"
    step = device.step
    for plane in device.assigned:
        found = status.plane(plane)
        right = found.running == device.assigned[plane].content
        if found.step and not (found.state in _AT_REST or (found.state in _WENT_BACK and right)):
            return False, *_unrest(plane, found)
        waits = step is not None and step.plane is plane and found.step != step.number
        if not waits and not right:
            return False, "OutOfDate", f"the device does not run the {plane} that it shall"
    if status.failing:
        return False, "ProbesFailing", f"failing: {', '.join(status.failing)}"
    return True, "UpToDate", "the device is healthy and runs what it shall"


_AT_REST: Final = frozenset({PlaneState.CONFIRMED, PlaneState.IDLE})
_WENT_BACK: Final = frozenset({PlaneState.FAILED, PlaneState.ROLLED_BACK})


def _unrest(plane: Plane, found: PlaneStatus) -> tuple[str, str]:
    match found.state:
        case PlaneState.INSTALLED_UNVERIFIED:
            return "Unverified", f"{plane}: the device does not report what it runs"
        case state if state in _WENT_BACK:
            return "StepFailed", f"{plane}: {found.reason}"
        case _:
            return "Changing", f"{plane}: step {found.step} is in progress"
