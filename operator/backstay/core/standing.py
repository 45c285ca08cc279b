"""How a device stands, in the one word by which people sort a fleet, and whole fleets counted by it."""

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, TypeVar

from backstay.core.devices import Device, PlaneState
from backstay.core.planes import ContentDigest, Plane

K = TypeVar("K")


class Standing(StrEnum):
    """What is said of a device, one of these at a time, in the order in which a person looks at them."""

    UNHEALTHY = "Unhealthy"
    """A probe that it must pass fails."""
    FAILED = "Failed"
    """It answered its last step, and did not confirm it."""
    OFFLINE = "Offline"
    """It cannot be ordered anything, because nobody hears of it or it is in safe mode."""
    CHANGING = "Changing"
    """It has an order that it has not answered."""
    HEALTHY = "Healthy"


_WELL: Final = frozenset({PlaneState.CONFIRMED, PlaneState.INSTALLED_UNVERIFIED})


def standing_of(device: Device) -> Standing:
    """How a device stands. One that is not there is Offline, whatever it said last."""
    if not device.reachable:
        return Standing.OFFLINE
    if device.failing:
        return Standing.UNHEALTHY
    step = device.step
    if step is None:
        return Standing.HEALTHY
    if device.in_flight:
        return Standing.CHANGING
    if device.answered and step.drill is None and device.status(step.plane).state not in _WELL:
        return Standing.FAILED
    return Standing.HEALTHY


class Running(NamedTuple):
    """What runs in one plane of a device: the version is its name for people, the content is what it is."""

    plane: Plane
    version: str
    content: ContentDigest


@dataclass(slots=True)
class Census:
    """Some devices, counted as they come and go."""

    devices: int = 0
    by_standing: Counter[Standing] = field(default_factory=Counter)
    by_running: Counter[tuple[Running, Standing]] = field(default_factory=Counter)

    def add(self, device: Device, sign: int) -> Standing:
        """Count a device in, or out with -1; gives how it stands."""
        standing = standing_of(device)
        self.devices += sign
        self._count(self.by_standing, standing, sign)
        for plane, status in device.planes.items():
            if status.running is not None:
                self._count(self.by_running, (Running(plane, status.version, status.running), standing), sign)
        return standing

    @staticmethod
    def _count(counter: Counter[K], key: K, sign: int) -> None:
        counter[key] += sign
        # A fleet that has seen a thousand versions in its life must not remember each of them.
        if not counter[key]:
            del counter[key]
