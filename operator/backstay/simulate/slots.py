"""One slot of a plane: a payload at its start, and in its last sector a trailer that is written last.

The trailer says what the payload is: `b"BSTR"`, the length of a JSON object (u32), its CRC-32 (u32), then
`{"content", "size", "version", "requires"}`. Without it, or when the payload's bytes do not make its digest, the slot
holds nothing. While a download runs, 1 KiB into the same sector stands what is being downloaded (32 bytes of digest)
and, cleared bit by bit, which sectors are complete: a download cut short goes on where it was, also after a reboot.
"""

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Final

from backstay.core.device_record import requirements
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.errors import Refused
from backstay.simulate.flash import SECTOR_BYTES, Flash
from backstay.simulate.image import digest_of
from backstay.simulate.partitions import Partition

_TRAILER: Final = struct.Struct("<4sII")
_MAGIC: Final = b"BSTR"
_MARK_AT: Final = 1024
_DIGEST_BYTES: Final = 32


class NoSpaceLeft(Refused):
    """The payload is larger than the slot."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a slot holds, by its own bytes."""

    release: Release
    size: int


class Slot:
    """A partition that holds one payload of one plane."""

    def __init__(self, flash: Flash, partition: Partition, plane: Plane) -> None:
        self._flash, self._partition, self._plane = flash, partition, plane
        self._trailer = partition.offset + partition.size - SECTOR_BYTES

    @property
    def capacity(self) -> int:
        """How many bytes a payload may have."""
        return self._partition.size - SECTOR_BYTES

    def read(self, size: int | None = None) -> bytes:
        """Return the payload's first bytes, or all that a payload could have."""
        return self._flash.read(self._partition.offset, self.capacity if size is None else size)

    def holding(self) -> Holding | None:
        """Return what the slot holds, or None when its bytes are not whole."""
        magic, length, checksum = _TRAILER.unpack(self._flash.read(self._trailer, _TRAILER.size))
        if magic != _MAGIC or length > _MARK_AT:
            return None
        text = self._flash.read(self._trailer + _TRAILER.size, length)
        if zlib.crc32(text) != checksum:
            return None
        said = json.loads(text)
        if digest_of(self.read(said["size"])) != said["content"]:
            return None
        content = ContentDigest(said["content"])
        return Holding(Release(self._plane, said["version"], content, requirements(said["requires"])), said["size"])

    def begin(self, content: ContentDigest, size: int) -> "Download":
        """Take up a download of this content where it was left, or make the slot empty and begin it.

        Raises:
            NoSpaceLeft: the slot is too small.
        """
        if size > self.capacity:
            raise NoSpaceLeft(f"{size} bytes do not fit into {self._partition.label}, which takes {self.capacity}")
        name = bytes.fromhex(content.removeprefix("sha256:"))
        mark, fresh = self._trailer + _MARK_AT, self._flash.read(self._trailer, 4) == b"\xff" * 4
        if not fresh or self._flash.read(mark, _DIGEST_BYTES) != name:
            self._flash.erase(self._trailer)
            self._flash.write(mark, name)
        return Download(self._flash, self._partition.offset, mark + _DIGEST_BYTES, size)

    def seal(self, release: Release, size: int) -> None:
        """Declare the payload whole: the last write of an install into this slot."""
        text = json.dumps(
            {
                "content": release.content,
                "size": size,
                "version": release.version,
                "requires": {str(need.plane): need.range.text for need in release.requires},
            },
            separators=(",", ":"),
        ).encode()
        if len(text) > _MARK_AT - _TRAILER.size:
            raise NoSpaceLeft(f"the requirements of {release} take {len(text)} bytes; a trailer has room for 1000")
        self._flash.write(self._trailer, _TRAILER.pack(_MAGIC, len(text), zlib.crc32(text)) + text)

    def clear(self) -> None:
        """Make the slot hold nothing, not even part of a download."""
        self._flash.erase(self._trailer)

    def fill(self, release: Release, payload: bytes) -> None:
        """Put a whole payload in, as the flashing tool at the factory does."""
        download = self.begin(release.content, len(payload))
        download.write(payload)
        download.finish()
        self.seal(release, len(payload))


class Download:
    """A payload on its way into a slot, hashed as it comes."""

    def __init__(self, flash: Flash, offset: int, marks: int, size: int) -> None:
        self._flash, self._offset, self._marks, self._size = flash, offset, marks, size
        self._hash = hashlib.sha256()
        self._buffer = b""
        self.written = SECTOR_BYTES * self._complete()
        """How many bytes are safe in the slot; the next byte to fetch is this one plus what `write` still holds."""
        self._hash.update(flash.read(offset, self.written))

    @property
    def wanted(self) -> int:
        """The offset of the next byte to write."""
        return self.written + len(self._buffer)

    @property
    def complete(self) -> bool:
        """Tell whether every byte has come."""
        return self.wanted >= self._size

    def write(self, data: bytes) -> None:
        """Take the next bytes; they reach the flash a sector at a time.

        Raises:
            NoSpaceLeft: there are more bytes than the download was to have.
        """
        if self.wanted + len(data) > self._size:
            raise NoSpaceLeft(f"the download goes on beyond its {self._size} bytes")
        self._buffer += data
        while len(self._buffer) >= SECTOR_BYTES:
            self._flush(SECTOR_BYTES)

    def finish(self) -> ContentDigest:
        """Write what is left and return the digest of everything that came."""
        if self._buffer:
            self._flush(len(self._buffer))
        return ContentDigest(f"sha256:{self._hash.hexdigest()}")

    def _flush(self, size: int) -> None:
        sector, self._buffer = self._buffer[:size], self._buffer[size:]
        self._flash.erase(self._offset + self.written)
        self._flash.write(self._offset + self.written, sector)
        self._hash.update(sector)
        number = self.written // SECTOR_BYTES
        if size == SECTOR_BYTES:
            self._flash.write(self._marks + number // 8, bytes([0xFF ^ (1 << number % 8)]))
        self.written += size

    def _complete(self) -> int:
        """How many sectors, from the first on without a gap, are marked complete."""
        marks = int.from_bytes(self._flash.read(self._marks, 1 + self._size // SECTOR_BYTES // 8), "little")
        number = 0
        while number < self._size // SECTOR_BYTES and not marks >> number & 1:
            number += 1
        return number
