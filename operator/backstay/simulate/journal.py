"""What a device has to remember through a reboot: two records in flash, written in turns, each with a checksum.

A record is `b"BSJ1"`, a sequence number (u32), the length of the text (u32), its CRC-32 (u32), and JSON. The newest
whole one counts. A write torn by a power cut leaves the one before it.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

from backstay.errors import Refused
from backstay.simulate.flash import SECTOR_BYTES, Flash
from backstay.simulate.partitions import Partition

_HEAD: Final = struct.Struct("<4sIII")
_MAGIC: Final = b"BSJ1"


class Journal:
    """A small JSON object that is replaced as a whole."""

    def __init__(self, flash: Flash, partition: Partition) -> None:
        self._flash, self._half = flash, partition.size // 2
        self._at = (partition.offset, partition.offset + self._half)
        found = [self._read(at) for at in self._at]
        self._seq, self._text = max(found, key=lambda record: record[0])
        self._next = 1 if found[0][0] >= found[1][0] and found[0][0] else 0

    @property
    def record(self) -> Mapping[str, Any]:
        """The newest whole record; empty on a device that never wrote one."""
        return json.loads(self._text) if self._text else {}

    def save(self, record: Mapping[str, Any]) -> None:
        """Replace the record; nothing is written where nothing changed.

        Raises:
            Refused: the record is too long for the partition.
        """
        text = json.dumps(record, separators=(",", ":")).encode()
        if text == self._text:
            return
        if _HEAD.size + len(text) > self._half:
            raise Refused(f"the order takes {len(text)} bytes to remember; the journal has room for {self._half - 16}")
        self._seq += 1
        at = self._at[self._next]
        self._flash.erase(at, -(-(_HEAD.size + len(text)) // SECTOR_BYTES) * SECTOR_BYTES)
        self._flash.write(at, _HEAD.pack(_MAGIC, self._seq, len(text), zlib.crc32(text)) + text)
        self._text, self._next = text, 1 - self._next

    def _read(self, at: int) -> tuple[int, bytes]:
        magic, seq, length, checksum = _HEAD.unpack(self._flash.read(at, _HEAD.size))
        if magic != _MAGIC or _HEAD.size + length > self._half:
            return 0, b""
        text = self._flash.read(at + _HEAD.size, length)
        return (seq, text) if zlib.crc32(text) == checksum else (0, b"")
