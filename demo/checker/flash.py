"""What the bytes of a simulated ESP32's flash say: which slot of each plane runs, what it holds, how often it booted.

Written from the formats alone. Source: ESP-IDF's partition table (entries of 32 bytes at 0x8000, magic 0x50AA) and
otadata (`esp_ota_select_entry_t`, one in each of two 4 KiB sectors); the slots' trailer (`BSTR`, length, CRC-32, JSON)
stands in the last sector of each slot, and the journal is two records (`BSJ1`, number, length, CRC-32, JSON).
"""

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SECTOR: Final = 4096
TABLE_AT: Final = 0x8000
ERASED: Final = 0xFFFFFFFF
STATES: Final = {0: "New", 1: "PendingVerify", 2: "Valid", 3: "Invalid", 4: "Aborted", ERASED: "Undefined"}
REFUSED: Final = frozenset({3, 4})
PARTITIONS: Final = {
    "firmware": ("otadata", "ota_0", "ota_1"),
    "model": ("model_sel", "model_a", "model_b"),
    "config": ("config_sel", "config_a", "config_b"),
}


@dataclass(frozen=True, slots=True)
class SlotBytes:
    """What one slot holds; the digest is computed here, and empty where the bytes are not whole."""

    content: str
    version: str
    state: str
    """What the selector says of the slot: Valid, PendingVerify, Aborted …; empty where it says nothing."""


@dataclass(frozen=True, slots=True)
class PlaneBytes:
    """One plane: the slot that runs and the other one."""

    slot: int
    running: SlotBytes
    spare: SlotBytes


@dataclass(frozen=True, slots=True)
class FlashBytes:
    """One device's flash."""

    sha256: str
    """Of the whole chip: equal means that not one byte changed."""
    boots: int
    planes: dict[str, PlaneBytes]


class UnreadableFlash(Exception):
    """The file is no flash of such a device."""


def read_flash(file: Path) -> FlashBytes:
    """Read one device's flash.

    Raises:
        UnreadableFlash: the file is missing, or has no partition table with the partitions that are needed.
    """
    try:
        chip = file.read_bytes()
    except OSError as error:
        raise UnreadableFlash(f"{file}: {error.strerror}") from error
    table = _partitions(chip)
    wanted = {"journal", *(label for labels in PARTITIONS.values() for label in labels)}
    if missing := sorted(wanted - table.keys()):
        raise UnreadableFlash(f"{file} has no partition {', '.join(missing)}")
    planes = {plane: _plane(chip, table, labels) for plane, labels in PARTITIONS.items()}
    return FlashBytes(hashlib.sha256(chip).hexdigest(), _boots(chip, *table["journal"]), planes)


def _partitions(chip: bytes) -> dict[str, tuple[int, int]]:
    found, at = {}, TABLE_AT
    while chip[at : at + 2] == b"\xaa\x50":
        offset, size = struct.unpack_from("<II", chip, at + 4)
        found[chip[at + 12 : at + 28].rstrip(b"\0").decode(errors="replace")] = (offset, size)
        at += 32
    return found


def _plane(chip: bytes, table: dict[str, tuple[int, int]], labels: tuple[str, str, str]) -> PlaneBytes:
    entries = _entries(chip, table[labels[0]][0])
    slot = _chosen(entries)
    slots = [_slot(chip, *table[label], _state(entries, number)) for number, label in enumerate(labels[1:])]
    return PlaneBytes(slot, slots[slot], slots[1 - slot])


def _entries(chip: bytes, selector: int) -> list[tuple[int, int]]:
    """Sequence number and state of the entries that were written whole."""
    found = []
    for at in (selector, selector + SECTOR):
        number, state, checksum = struct.unpack("<I20xII", chip[at : at + 32])
        if number != ERASED and checksum == zlib.crc32(struct.pack("<I", number), ERASED):
            found.append((number, state))
    return found


def _chosen(entries: list[tuple[int, int]]) -> int:
    valid = [number for number, state in entries if state not in REFUSED]
    return (max(valid) - 1) % 2 if valid else 0


def _state(entries: list[tuple[int, int]], slot: int) -> str:
    states = [(number, state) for number, state in entries if (number - 1) % 2 == slot]
    return STATES.get(max(states)[1], "Unknown") if states else ""


def _slot(chip: bytes, offset: int, size: int, state: str) -> SlotBytes:
    trailer = offset + size - SECTOR
    said = _record(chip, trailer, b"BSTR", "<4sII")
    if said is None:
        return SlotBytes("", "", state)
    payload = chip[offset : offset + int(said["size"])]
    digest = f"sha256:{hashlib.sha256(payload).hexdigest()}"
    return SlotBytes(digest if digest == said["content"] else "", str(said["version"]), state)


def _boots(chip: bytes, offset: int, size: int) -> int:
    newest, boots = -1, 0
    for at in (offset, offset + size // 2):
        record = _record(chip, at, b"BSJ1", "<4sIII")
        number = struct.unpack_from("<I", chip, at + 4)[0]
        if record is not None and number > newest:
            newest, boots = number, int(record.get("boots", 0))
    return boots


def _record(chip: bytes, at: int, magic: bytes, head: str) -> dict[str, Any] | None:
    size = struct.calcsize(head)
    found, *_, length, checksum = struct.unpack_from(head, chip, at)
    text = chip[at + size : at + size + min(length, SECTOR * 2)]
    if found != magic or zlib.crc32(text) != checksum:
        return None
    record = json.loads(text)
    return record if isinstance(record, dict) else None
