"""The second-stage bootloader: which app runs after a reset, and what that does to otadata.

Source: esp-idf `bootloader_utility.c` (`bootloader_utility_get_selected_boot_partition`,
`bootloader_utility_load_boot_image`), with rollback enabled.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from backstay.core.otadata import ImageState
from backstay.errors import BackstayError
from backstay.simulate.flash import SECTOR_BYTES, Flash
from backstay.simulate.image import BadImage, Image, verify_image
from backstay.simulate.partitions import Partition
from backstay.simulate.selector import SLOTS, Selector


class NothingToBoot(BackstayError):
    """No partition holds an image that verifies; a real device would reset for ever."""


@dataclass(frozen=True, slots=True)
class App:
    """The app that was started."""

    slot: int | None
    """The number of its OTA slot; None is the factory app."""
    image: Image

    def __str__(self) -> str:
        return "factory" if self.slot is None else f"ota_{self.slot}"


def boot(flash: Flash, table: Mapping[str, Partition]) -> App:
    """Decide, write what the decision changes, and return the first candidate whose image verifies.

    Raises:
        NothingToBoot: none does.
    """
    selector = Selector(flash, table["otadata"])
    blank = selector.read().is_blank
    chosen = selector.reset(factory="factory" in table)
    for slot in _candidates(chosen):
        if (image := _image_in(flash, table, slot)) is None:
            continue
        if blank and slot is not None and "factory" not in table:
            selector.choose(slot, ImageState.VALID)
        return App(slot, image)
    raise NothingToBoot("neither app slot nor a factory partition holds an image that verifies")


def _candidates(chosen: int | None) -> Iterator[int | None]:
    """The choice, then down to the factory app, then up through the slots above the choice."""
    start = -1 if chosen is None else chosen
    for index in (*range(start, -2, -1), *range(start + 1, SLOTS)):
        yield None if index < 0 else index


def _image_in(flash: Flash, table: Mapping[str, Partition], slot: int | None) -> Image | None:
    if (partition := table.get("factory" if slot is None else f"ota_{slot}")) is None:
        return None
    try:
        return verify_image(flash.read(partition.offset, partition.size - SECTOR_BYTES))
    except BadImage:
        return None
