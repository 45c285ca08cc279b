"""The two slots of one plane and the selector between them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from backstay.core.otadata import ImageState
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.errors import Refused
from backstay.simulate.flash import Flash
from backstay.simulate.image import verify_image
from backstay.simulate.inference import load_model
from backstay.simulate.partitions import Partition
from backstay.simulate.selector import Selector
from backstay.simulate.serving import Config
from backstay.simulate.slots import Slot

_LABELS: Final = {
    Plane.FIRMWARE: ("otadata", "ota_0", "ota_1"),
    Plane.MODEL: ("model_sel", "model_a", "model_b"),
    Plane.CONFIG: ("config_sel", "config_a", "config_b"),
}


class Bank:
    """One plane's storage: which slot runs, which is spare, and what each holds by its own bytes."""

    def __init__(self, flash: Flash, table: Mapping[str, Partition], plane: Plane) -> None:
        selector, *slots = _LABELS[plane]
        self.plane = plane
        self.selector = Selector(flash, table[selector])
        self.slots = tuple(Slot(flash, table[label], plane) for label in slots)
        self.running: int | None = None
        """The slot that runs; None where none does, as under the factory app or in safe mode."""
        self.releases: list[Release | None] = [None, None]
        self.look()

    def look(self) -> None:
        """Read again what the slots hold; a payload that does not load counts as nothing."""
        self.releases = [self._loadable(slot) for slot in self.slots]

    @property
    def spare(self) -> int:
        """The slot that the next install goes to."""
        return 1 - (self.running or 0)

    @property
    def current(self) -> Release | None:
        """What runs."""
        return None if self.running is None else self.releases[self.running]

    @property
    def other(self) -> Release | None:
        """What the spare slot holds, confirmed or not."""
        return self.releases[self.spare]

    @property
    def fallback(self) -> Release | None:
        """What the device ran before and can go back to."""
        return self.other if self.running is not None and self.selector.confirmed(self.spare) else None

    @property
    def on_trial(self) -> bool:
        """Tell whether what runs has not been confirmed."""
        return self.running is not None and self.selector.on_trial(self.running)

    def payload(self) -> bytes | None:
        """Return the bytes that run."""
        if self.running is None or (holding := self.slots[self.running].holding()) is None:
            return None
        return self.slots[self.running].read(holding.size)

    def holds(self, content: ContentDigest) -> bool:
        """Tell whether the spare slot has this content, whole."""
        return self.other is not None and self.other.content == content

    def run(self, slot: int | None) -> None:
        """Take a slot as the one that runs, and make the selector agree where it chose another.

        A choice on trial that did not come up has failed its trial. A slot that failed its own and runs all the same,
        because nothing else would start, is not confirmed by that.
        """
        self.running = slot
        chosen = self.selector.slot()
        if slot is None or chosen == slot or self.selector.condemned(slot):
            return
        if chosen is not None and self.selector.on_trial(chosen):
            self.selector.mark(ImageState.INVALID)
        if self.selector.slot() != slot:
            self.selector.choose(slot, ImageState.VALID)

    def candidates(self) -> list[int]:
        """The slots that may run, the selector's choice first: never one that failed or has not begun its trial."""
        chosen = self.selector.slot()
        allowed = [slot for slot in (0, 1) if slot == chosen or self.selector.confirmed(slot)]
        return sorted((slot for slot in allowed if self.releases[slot]), key=lambda slot: slot != chosen)

    def _loadable(self, slot: Slot) -> Release | None:
        if (holding := slot.holding()) is None:
            return None
        payload = slot.read(holding.size)
        try:
            match self.plane:
                case Plane.FIRMWARE:
                    image = verify_image(payload)
                    # The image's own word counts, as it will when it runs.
                    whole = image.content == holding.release.content
                    return replace(holding.release, version=image.version) if whole else None
                case Plane.MODEL:
                    load_model(payload)
                case Plane.CONFIG:
                    Config.parse(payload)
        except Refused:
            return None
        return holding.release
