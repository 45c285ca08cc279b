"""What kind of failure a device's step ended in, and what it says about the version."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from backstay.core.device import Reason as DeviceReason
from backstay.core.device import probes_named
from backstay.core.devices import Device, PlaneState
from backstay.core.planes import Plane


class FailureKind(StrEnum):
    """How a step failed, in the words that people are told."""

    REJECTED = "Rejected"
    """The device refused the content before it changed anything."""
    FAILED_PROBE = "FailedProbe"
    """A probe failed after the change, and the device went back."""
    FELL_BACK = "FellBack"
    """The content did not start or did not confirm, and the device went back."""
    TIMED_OUT = "TimedOut"
    """The device fell silent after it was ordered to change."""
    RESOURCE_ANOMALY = "ResourceAnomaly"
    """Storage, memory or temperature left its range after the change, or there was no room for it."""
    UNDELIVERED = "Undelivered"
    """The content was not tried on the device: that is no evidence against it, and it is ordered again."""

    @property
    def is_evidence(self) -> bool:
        """Tell whether the failure speaks against the version."""
        return self is not FailureKind.UNDELIVERED


_KINDS: Final[Mapping[str, FailureKind]] = MappingProxyType(
    {
        DeviceReason.DIGEST_MISMATCH: FailureKind.REJECTED,
        DeviceReason.REJECTED: FailureKind.REJECTED,
        DeviceReason.INCOMPATIBLE: FailureKind.REJECTED,
        DeviceReason.DOWNLOAD_FAILED: FailureKind.UNDELIVERED,
        DeviceReason.EXPIRED: FailureKind.UNDELIVERED,
        DeviceReason.CANCELED: FailureKind.UNDELIVERED,
        DeviceReason.SAFE_MODE: FailureKind.UNDELIVERED,
        # The failure that froze it has been judged already; to count it once more would convict without a trial.
        DeviceReason.FROZEN: FailureKind.UNDELIVERED,
        DeviceReason.NO_SPACE: FailureKind.RESOURCE_ANOMALY,
        DeviceReason.PROBE_FAILED: FailureKind.FAILED_PROBE,
        DeviceReason.CONFIRM_TIMEOUT: FailureKind.FELL_BACK,
        DeviceReason.WATCHDOG: FailureKind.FELL_BACK,
        DeviceReason.BOOT_FAILED: FailureKind.FELL_BACK,
    }
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a change that could not be delivered is ordered again, and how long is waited before."""

    attempts: int = 3
    """Orders in all, the first one included."""
    backoff: timedelta = timedelta(minutes=1)
    """Before the second order; each further wait is twice as long."""

    def due(self, attempt: int, failed_at: datetime) -> datetime:
        """When the order after the failed `attempt` is due."""
        return failed_at + self.backoff * (1 << (attempt - 1))


def failure_of(device: Device, resource_probes: frozenset[str] = frozenset()) -> FailureKind:
    """The kind of failure that a device's last step is, by the device's own reason; no answer is a time-out.

    A reason that we do not know is judged by what the device did: one that went back fell back, one that did not
    refused.
    """
    if device.step is None or not device.answered:
        return FailureKind.TIMED_OUT
    status = device.status(device.step.plane)
    reason, _, detail = status.reason.partition(":")
    if reason == DeviceReason.PROBE_FAILED and resource_probes.intersection(probes_named(detail)):
        return FailureKind.RESOURCE_ANOMALY
    if (kind := _KINDS.get(reason)) is not None:
        return kind
    return FailureKind.REJECTED if status.state is PlaneState.FAILED else FailureKind.FELL_BACK


def words_of(device: Device, kind: FailureKind) -> str:
    """The failure in the device's words where it gave any, as `model FailedProbe: camera`."""
    plane: Plane | str = device.step.plane if device.step else "device"
    if kind is FailureKind.TIMED_OUT or device.step is None:
        return f"{plane} {kind}"
    told = device.status(device.step.plane).reason
    return f"{plane} {told or f'{kind}: it does not run what it confirmed'}"


def sort_of(device: Device, kind: FailureKind) -> str:
    """The failure without what differs from device to device, so that the same failures count as one."""
    words = words_of(device, kind)
    told, _, detail = words.partition(": ")
    return f"{told}: {detail.partition(':')[0]}" if told.endswith(f" {DeviceReason.PROBE_FAILED}") else words


def is_undelivered(device: Device) -> bool:
    """Tell whether the last step ended because its content never arrived."""
    return device.answered and failure_of(device) is FailureKind.UNDELIVERED
