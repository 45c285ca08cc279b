"""Device classes: a name and what devices of that class can do."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from backstay.core.planes import Plane


class Storage(StrEnum):
    """How a plane keeps its versions on a device."""

    TWO_SLOTS = "TwoSlots"
    """Installing overwrites the fallback."""
    SPARE = "Spare"
    """Earlier versions stay beside the new one until nobody needs them."""


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """What Backstay may expect of a device."""

    name: str
    storage: Mapping[Plane, Storage]

    def overwrites_fallback(self, plane: Plane) -> bool:
        """Tell whether installing in this plane costs the device its fallback."""
        return self.storage[plane] is Storage.TWO_SLOTS


ESP32: Final = DeviceClass("esp32", MappingProxyType(dict.fromkeys(Plane, Storage.TWO_SLOTS)))
RK3566: Final = DeviceClass(
    "rk3566",
    MappingProxyType(
        {
            Plane.FIRMWARE: Storage.TWO_SLOTS,
            Plane.MODEL: Storage.SPARE,
            Plane.CONFIG: Storage.SPARE,
        },
    ),
)
CLASSES: Final[Mapping[str, DeviceClass]] = MappingProxyType({known.name: known for known in (ESP32, RK3566)})


def class_named(name: str) -> DeviceClass:
    """The class of that name; one that we do not know is treated as the most careful, with two slots everywhere."""
    return CLASSES.get(name, DeviceClass(name, ESP32.storage))
