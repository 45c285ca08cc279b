"""Where things stand in the flash: a genuine ESP-IDF partition table at 0x8000, read at every boot.

    offset    size     label       what
    0x008000  0x1000   -           partition table
    0x00d000  0x2000   otadata     the selector of the app slots
    0x00f000  0x2000   model_sel   the selector of the model slots, in otadata's format
    0x011000  0x2000   config_sel  the selector of the config slots, in otadata's format
    0x013000  0xc000   journal     two records of progress, taken in turns
    0x020000  0x80000  ota_0       app
    0x0a0000  0x80000  ota_1       app
    0x120000  0x20000  model_a     model
    0x140000  0x20000  model_b     model
    0x160000  0x4000   config_a    config
    0x164000  0x4000   config_b    config
    0x168000  0x80000  factory     app, only where the device has one

Source: https://docs.espressif.com/projects/esp-idf/en/stable/esp32c3/api-guides/partition-tables.html (binary format
from gen_esp32part.py: entries of 32 bytes, magic 0x50AA, closed by an MD5 of the entries).
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from backstay.errors import Refused
from backstay.simulate.flash import Flash

TABLE_OFFSET: Final = 0x8000
TABLE_BYTES: Final = 0x1000
_ENTRY: Final = struct.Struct("<2sBBII16sI")
_MAGIC: Final = b"\xaa\x50"
_MD5_MAGIC: Final = b"\xeb\xeb" + b"\xff" * 14

_APP, _DATA = 0x00, 0x01


class BadTable(Refused):
    """The partition table in flash cannot be used."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A named stretch of flash."""

    label: str
    type: int
    subtype: int
    offset: int
    size: int

    def pack(self) -> bytes:
        """Return the 32 bytes of its entry in the table."""
        label = self.label.encode().ljust(16, b"\0")
        return _ENTRY.pack(_MAGIC, self.type, self.subtype, self.offset, self.size, label, 0)


FACTORY: Final = Partition("factory", _APP, 0x00, 0x168000, 0x80000)
LAYOUT: Final = (
    Partition("otadata", _DATA, 0x00, 0xD000, 0x2000),
    Partition("model_sel", _DATA, 0x41, 0xF000, 0x2000),
    Partition("config_sel", _DATA, 0x41, 0x11000, 0x2000),
    Partition("journal", _DATA, 0x40, 0x13000, 0xC000),
    Partition("ota_0", _APP, 0x10, 0x20000, 0x80000),
    Partition("ota_1", _APP, 0x11, 0xA0000, 0x80000),
    Partition("model_a", _DATA, 0x42, 0x120000, 0x20000),
    Partition("model_b", _DATA, 0x42, 0x140000, 0x20000),
    Partition("config_a", _DATA, 0x43, 0x160000, 0x4000),
    Partition("config_b", _DATA, 0x43, 0x164000, 0x4000),
)


def write_table(flash: Flash, partitions: Iterable[Partition]) -> None:
    """Write the table as the flashing tool does at the factory."""
    entries = b"".join(partition.pack() for partition in partitions)
    flash.erase(TABLE_OFFSET, TABLE_BYTES)
    flash.write(TABLE_OFFSET, entries + _MD5_MAGIC + hashlib.md5(entries, usedforsecurity=False).digest())


def read_table(flash: Flash) -> Mapping[str, Partition]:
    """Return the partitions by label.

    Raises:
        BadTable: there is no table, or its MD5 is wrong.
    """
    table, found, at = flash.read(TABLE_OFFSET, TABLE_BYTES), {}, 0
    while table[at : at + 2] == _MAGIC:
        _, kind, subtype, offset, size, label, _ = _ENTRY.unpack_from(table, at)
        name = label.rstrip(b"\0").decode()
        found[name] = Partition(name, kind, subtype, offset, size)
        at += _ENTRY.size
    closing = _MD5_MAGIC + hashlib.md5(table[:at], usedforsecurity=False).digest()
    if not found or table[at : at + 32] != closing:
        raise BadTable(f"no usable partition table at {TABLE_OFFSET:#x}: flash the device at the factory first")
    return found
