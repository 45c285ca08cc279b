"""What the factory does to a device before it ships: the partition table and the first version of each plane."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backstay.core.device_record import requirements
from backstay.core.otadata import ImageState
from backstay.core.planes import Plane, Release
from backstay.simulate.bank import Bank
from backstay.simulate.flash import Flash
from backstay.simulate.image import digest_of
from backstay.simulate.partitions import LAYOUT, Partition, write_table


@dataclass(frozen=True, slots=True)
class Payload:
    """The bytes of one version, and what travels beside them."""

    data: bytes
    version: str
    requires: Mapping[str, str] = field(default_factory=dict)

    def release(self, plane: Plane) -> Release:
        """The same as a release of this plane."""
        return Release(plane, self.version, digest_of(self.data), requirements(self.requires))


def provision(flash: Flash, payloads: Mapping[Plane, Payload], layout: tuple[Partition, ...] = LAYOUT) -> None:
    """Flash a device: what is in the first slot of each plane counts as confirmed."""
    write_table(flash, layout)
    table = {partition.label: partition for partition in layout}
    for label in ("journal", "otadata", "model_sel", "config_sel"):
        flash.erase(table[label].offset, table[label].size)
    for plane, payload in payloads.items():
        bank = Bank(flash, table, plane)
        bank.slots[0].fill(payload.release(plane), payload.data)
        bank.selector.choose(0, ImageState.VALID)
