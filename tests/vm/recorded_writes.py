"""The writes of a disk in their order, as qemu's `blklogwrites` records them, and any first part of them done again.

Source: https://docs.kernel.org/admin-guide/device-mapper/log-writes.html (the format), qemu's block/blklogwrites.c
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
MAGIC = 0x6A736677736872
DISCARD, MARK = 4, 8


@dataclass(frozen=True, slots=True)
class Write:
    """One write: where it went on the disk, and where its bytes are in the record."""

    at: int
    size_bytes: int
    data_at: int


def writes(record: Path) -> Iterator[Write]:
    """Every write that reached the disk; flushes and discards write nothing."""
    with record.open("rb") as log:
        magic, version, _, sector_bytes = struct.unpack("<QQQI", log.read(28))
        assert (magic, version, sector_bytes) == (MAGIC, 1, SECTOR)
        where, end = SECTOR, record.stat().st_size
        # The count of entries in the first sector is written now and then only.
        while where + SECTOR <= end:
            log.seek(where)
            sector, sectors, flags, data_bytes = struct.unpack("<QQQQ", log.read(32))
            if (sector, sectors, flags, data_bytes) == (0, 0, 0, 0):
                return
            where += SECTOR
            if flags & (DISCARD | MARK):
                where += data_bytes if flags & MARK else 0
                continue
            if sectors:
                yield Write(sector * SECTOR, sectors * SECTOR, where)
            where += sectors * SECTOR


def replay(record: Path, done: Sequence[Write], disk: Path) -> None:
    """Do writes again."""
    with record.open("rb") as log, disk.open("r+b") as target:
        for one in done:
            log.seek(one.data_at)
            target.seek(one.at)
            target.write(log.read(one.size_bytes))
