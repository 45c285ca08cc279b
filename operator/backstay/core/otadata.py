"""ESP-IDF's otadata: which app slot an ESP32 boots, and what each reset does to that choice.

The otadata partition is two sectors of 4 KiB, each with one 32-byte `esp_ota_select_entry_t` at its start: two so
that one is always whole while the other is being erased. The same two-sector selector chooses our model and config
slots. Rollback is enabled (`CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE`), anti-rollback by eFuse is not.

Source: esp-idf `bootloader_common_loader.c` (validity, choice), `bootloader_utility.c` (resets), `esp_ota_ops.c`
(setting and confirming).
"""

import struct
import zlib
from dataclasses import dataclass, replace
from typing import Final, Self

SECTOR_BYTES: Final = 4096
ENTRY_BYTES: Final = 32
SLOTS_MAX: Final = 16
"""ESP-IDF numbers its OTA app subtypes in four bits."""

_UNSET: Final = 0xFFFFFFFF
_ENTRY: Final = struct.Struct("<I20sII")


class ImageState:
    """`esp_ota_img_states_t`; flash may hold any other number too, and ESP-IDF then treats it as no obstacle."""

    NEW: Final = 0
    PENDING_VERIFY: Final = 1
    VALID: Final = 2
    INVALID: Final = 3
    ABORTED: Final = 4
    UNDEFINED: Final = _UNSET


@dataclass(frozen=True, slots=True)
class Entry:
    """One `esp_ota_select_entry_t`, as it stands in flash, valid or not."""

    seq: int = _UNSET
    label: bytes = b"\xff" * 20
    state: int = ImageState.UNDEFINED
    crc: int = _UNSET

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read the 32 bytes of an entry."""
        return cls(*_ENTRY.unpack(data))

    @classmethod
    def choosing(cls, seq: int, state: int, label: bytes = b"\xff" * 20) -> Self:
        """Build a whole entry with its checksum; ESP-IDF carries the label along and never looks at it."""
        return cls(seq, label, state, _checksum(seq))

    def pack(self) -> bytes:
        """Return the 32 bytes of the entry."""
        return _ENTRY.pack(self.seq, self.label, self.state, self.crc)

    @property
    def is_written(self) -> bool:
        """Tell whether the sequence number can be trusted, whatever became of the image."""
        return self.seq != _UNSET and self.crc == _checksum(self.seq)

    @property
    def is_valid(self) -> bool:
        """Tell whether the bootloader may choose by this entry."""
        return self.is_written and self.state not in (
            ImageState.INVALID,
            ImageState.ABORTED,
        )

    def slot(self, slots: int) -> int:
        """Return the slot that the sequence number means; the subtraction wraps in 32 bits as in C."""
        return ((self.seq - 1) & 0xFFFFFFFF) % slots


@dataclass(frozen=True, slots=True)
class OtaData:
    """Both entries."""

    entries: tuple[Entry, Entry] = (Entry(), Entry())

    @classmethod
    def unpack(cls, first: bytes, second: bytes) -> Self:
        """Read the two entries of 32 bytes each."""
        return cls((Entry.unpack(first), Entry.unpack(second)))

    @classmethod
    def from_partition(cls, dump: bytes) -> Self:
        """Read a dump of the whole partition, 8 KiB.

        Raises:
            ValueError: the dump has another size.

        """
        if len(dump) != 2 * SECTOR_BYTES:
            found = f"only {len(dump)}" if len(dump) < 2 * SECTOR_BYTES else "more"
            message = f"an otadata partition is {2 * SECTOR_BYTES} bytes (two sectors of 4 KiB), this is {found}"
            raise ValueError(message)
        return cls.unpack(dump[:ENTRY_BYTES], dump[SECTOR_BYTES : SECTOR_BYTES + ENTRY_BYTES])

    def pack(self) -> bytes:
        """Return both entries, 64 bytes, as devices report them."""
        return self.entries[0].pack() + self.entries[1].pack()

    @property
    def active(self) -> int | None:
        """The index of the entry that decides: the valid one with the higher sequence number, the first on a tie."""
        first, second = self.entries
        if first.is_valid and second.is_valid:
            return 0 if first.seq >= second.seq else 1
        return 0 if first.is_valid else 1 if second.is_valid else None

    @property
    def active_entry(self) -> Entry | None:
        """The entry that decides, if one does."""
        return None if self.active is None else self.entries[self.active]

    @property
    def is_blank(self) -> bool:
        """Tell whether neither entry was ever written whole, as on a device fresh from the factory."""
        return not any(entry.is_written for entry in self.entries)

    def entry_of(self, slot: int, slots: int) -> Entry | None:
        """The newest entry that means this slot, or None where no entry does."""
        found = [x for x in self.entries if x.is_written and x.slot(slots) == slot]
        return max(found, key=lambda x: x.seq) if found else None

    def written(self, change: "Write") -> "OtaData":
        """The entries once this write is done."""
        first, second = self.entries
        return OtaData((change.entry, second) if change.index == 0 else (first, change.entry))


@dataclass(frozen=True, slots=True)
class Write:
    """Erase the sector of one entry and write it anew."""

    index: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Reset:
    """What the bootloader does at a reset: writes, in order, then the slot that it loads; None is the factory app."""

    writes: tuple[Write, ...]
    boots: int | None

    def __str__(self) -> str:
        return "factory" if self.boots is None else f"ota_{self.boots}"


def at_reset(otadata: OtaData, slots: int, *, factory: bool) -> Reset:
    """Decide as ESP-IDF's bootloader does, before it looks at any image.

    Whoever was on trial and did not confirm has failed it; only then is the choice made, and a new image's trial
    begins. Where no entry decides, the factory app is the choice, or slot 0 on a device without one.
    """
    check_slots(slots)
    writes = tuple(
        Write(index, replace(entry, state=ImageState.ABORTED))
        for index, entry in enumerate(otadata.entries)
        if entry.state == ImageState.PENDING_VERIFY
    )
    for write in writes:
        otadata = otadata.written(write)
    if (active := otadata.active) is None:
        return Reset(writes, None if factory else 0)
    entry = otadata.entries[active]
    if entry.state == ImageState.NEW:
        writes += (Write(active, replace(entry, state=ImageState.PENDING_VERIFY)),)
    return Reset(writes, entry.slot(slots))


def choose(otadata: OtaData, slot: int, slots: int, state: int = ImageState.NEW, label: bytes = b"\xff" * 20) -> Write:
    """Make `slot` the choice of the next reset, in the sector that does not decide now.

    The sequence number is the lowest one not below the active one that means the slot.

    Raises:
        ValueError: the device has no such slot, or the sequence numbers are used up.

    """
    check_slots(slots)
    if not 0 <= slot < slots:
        message = f"slot {slot} does not exist on a device with {slots} slots"
        raise ValueError(message)
    if (active := otadata.active) is None:
        return Write(0, Entry.choosing(slot + 1, state, label))
    seq = max(otadata.entries[active].seq, 1)
    seq += (slot + 1 - seq) % slots
    if seq >= _UNSET:
        message = f"the sequence numbers are used up at {seq}: erase the otadata partition"
        raise ValueError(message)
    return Write(1 - active, Entry.choosing(seq, state, label))


def mark(otadata: OtaData, state: int) -> Write | None:
    """Give the active entry a new state: VALID to confirm, INVALID to condemn; None where nothing would change."""
    if (active := otadata.active) is None or otadata.entries[active].state == state:
        return None
    return Write(active, replace(otadata.entries[active], state=state))


def check_slots(slots: int) -> None:
    """Refuse a number of slots that ESP-IDF cannot have.

    Raises:
        ValueError: the number is not 1 to 16.

    """
    if not 1 <= slots <= SLOTS_MAX:
        message = f"{slots} OTA slots: ESP-IDF has 1 to {SLOTS_MAX}"
        raise ValueError(message)


def _checksum(seq: int) -> int:
    # The ROM's crc32_le inverts its start value: UINT32_MAX in C is zlib's 0xFFFFFFFF, not zlib's default.
    return zlib.crc32(seq.to_bytes(4, "little"), 0xFFFFFFFF)
