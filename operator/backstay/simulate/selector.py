"""A two-sector selector in flash: what otadata is to the app slots, and the same for model and config.

Each write erases one sector and writes one entry of it. The other sector is whole all the while, so that power lost
at any instant leaves either the old choice or the new one.
"""

from backstay.core.otadata import ENTRY_BYTES, OtaData, Write, at_reset, choose, mark
from backstay.core.otadata import ImageState as State
from backstay.simulate.flash import SECTOR_BYTES, Flash
from backstay.simulate.partitions import Partition

SLOTS = 2
_STEP_BYTES = 8


class Selector:
    """The choice between two slots, kept in flash alone."""

    def __init__(self, flash: Flash, partition: Partition) -> None:
        self._flash, self._at = flash, partition.offset

    def read(self) -> OtaData:
        """Return both entries as they stand."""
        return OtaData.unpack(
            self._flash.read(self._at, ENTRY_BYTES), self._flash.read(self._at + SECTOR_BYTES, ENTRY_BYTES)
        )

    def write(self, write: Write) -> None:
        """Erase and write one entry."""
        offset = self._at + SECTOR_BYTES * write.index
        self._flash.erase(offset)
        self._flash.write(offset, write.entry.pack())

    def reset(self, *, factory: bool = False) -> int | None:
        """Do what a reset does and return the slot that it chose; None is the factory app."""
        reset = at_reset(self.read(), SLOTS, factory=factory)
        for write in reset.writes:
            self.write(write)
        return reset.boots

    def choose(self, slot: int, state: int, step: int = 0) -> None:
        """Make a slot the choice of the next reset, and note in the entry which step did it."""
        label = step.to_bytes(_STEP_BYTES, "little").ljust(20, b"\xff")
        self.write(choose(self.read(), slot, SLOTS, state, label))

    def mark(self, state: int) -> None:
        """Confirm or condemn the active choice."""
        if write := mark(self.read(), state):
            self.write(write)

    def slot(self) -> int | None:
        """The slot that the active entry means, if there is one."""
        active = self.read().active_entry
        return active.slot(SLOTS) if active else None

    def on_trial(self, slot: int) -> bool:
        """Tell whether the slot's newest entry waits to be confirmed."""
        entry = self.read().entry_of(slot, SLOTS)
        return entry is not None and entry.state in (State.NEW, State.PENDING_VERIFY)

    def confirmed(self, slot: int) -> bool:
        """Tell whether the bootloader may still choose the slot without a trial."""
        entry = self.read().entry_of(slot, SLOTS)
        return entry is not None and entry.is_valid and not self.on_trial(slot)

    def condemned(self, slot: int) -> bool:
        """Tell whether the slot failed its trial."""
        entry = self.read().entry_of(slot, SLOTS)
        return entry is not None and not entry.is_valid

    def ended_trial(self, slot: int, step: int) -> bool:
        """Tell whether it was this step that put the slot on trial, and the trial failed."""
        entry = self.read().entry_of(slot, SLOTS)
        return entry is not None and not entry.is_valid and entry.label.startswith(step.to_bytes(_STEP_BYTES, "little"))
