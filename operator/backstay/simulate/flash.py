"""NOR flash: erase a sector to ones, write only zeros into it, and lose power at any instant.

Its cells are a file, which holds the chip's bytes as a dump of it would, or memory. What was never written reads as
zeros, which like anything but 0xFF have to be erased before they can be written.
"""

import mmap
from pathlib import Path
from typing import Final, Protocol, Self

from backstay.errors import BackstayError, Refused

SECTOR_BYTES: Final = 4096
CHIP_BYTES: Final = 4 * 1024 * 1024


class PowerCut(BackstayError):
    """The power went; nothing reaches the chip until it is powered on again."""


class OutOfRange(Refused):
    """An access that the chip does not have, or an erase that is not of whole sectors."""


class Cells(Protocol):
    """What holds a chip's bytes: a bytearray, a mapped file, or sectors that many chips share."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes | bytearray: ...

    def __setitem__(self, part: slice, data: bytes, /) -> None: ...


class Flash:
    """A chip. Each sector erase and each write is one operation, and an order to cut the power names one of them."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._cut_after: int | None = None
        self._torn = 0.0
        self.operations = 0
        """How many operations the chip has begun since it was made."""
        self.powered = True

    @classmethod
    def open(cls, path: Path, size_bytes: int = CHIP_BYTES) -> Self:
        """Open the chip in this file; a new file is a chip that was never written."""
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.truncate(size_bytes)
            return cls(mmap.mmap(file.fileno(), size_bytes))

    def __len__(self) -> int:
        return len(self._cells)

    def close(self) -> None:
        """Let go of the file; its bytes stay."""
        if isinstance(self._cells, mmap.mmap):
            self._cells.close()

    def dump(self, path: Path) -> None:
        """Write all bytes of the chip to a file, as reading a real one out would; it needs no power for that."""
        with path.open("wb") as file:
            file.truncate(len(self._cells))
            for offset in range(0, len(self._cells), SECTOR_BYTES):
                sector = bytes(self._cells[offset : offset + SECTOR_BYTES])
                if any(sector):
                    file.seek(offset)
                    file.write(sector)

    def cut_power(self, at: int, torn: float = 0.0) -> None:
        """Order that the power goes at the operation `at` from now, 0 being the next.

        `torn` is the share of that operation's bytes that still reach the cells: 0 leaves them as they were,
        1 completes the operation, and anything between tears it at a byte.
        """
        self._cut_after, self._torn = self.operations + at, torn

    def power_on(self) -> None:
        """Put the power back; an order to cut it that was not yet carried out stands."""
        self.powered = True

    def power_off(self) -> None:
        """Take the power away between two operations."""
        self.powered = False

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes there."""
        self._require_power()
        if not 0 <= offset <= offset + size <= len(self._cells):
            raise OutOfRange(f"read of {size} bytes at {offset:#x} on a chip of {len(self._cells):#x}")
        return bytes(self._cells[offset : offset + size])

    def erase(self, offset: int, size: int = SECTOR_BYTES) -> None:
        """Set whole sectors to 0xFF, one operation each."""
        if offset % SECTOR_BYTES or size % SECTOR_BYTES or not 0 <= offset <= offset + size <= len(self._cells):
            raise OutOfRange(f"erase of {size:#x} bytes at {offset:#x} on a chip of {len(self._cells):#x}")
        for sector in range(offset, offset + size, SECTOR_BYTES):
            reached = self._begin(SECTOR_BYTES)
            self._cells[sector : sector + reached] = b"\xff" * reached
            self._require_power()

    def write(self, offset: int, data: bytes) -> None:
        """Clear those bits that are zero in `data`; a bit that is zero already stays so, whatever is written."""
        if not 0 <= offset <= offset + len(data) <= len(self._cells):
            raise OutOfRange(f"write of {len(data)} bytes at {offset:#x} on a chip of {len(self._cells):#x}")
        reached = self._begin(len(data))
        old = self._cells[offset : offset + reached]
        kept = int.from_bytes(old, "little") & int.from_bytes(data[:reached], "little")
        self._cells[offset : offset + reached] = kept.to_bytes(reached, "little")
        self._require_power()

    def _begin(self, size: int) -> int:
        """Count an operation and return how many of its bytes reach the cells."""
        self._require_power()
        number, self.operations = self.operations, self.operations + 1
        if self._cut_after is None or number < self._cut_after:
            return size
        self._cut_after, self.powered = None, False
        return min(size, round(size * self._torn))

    def _require_power(self) -> None:
        if not self.powered:
            raise PowerCut(f"the power went after {self.operations} flash operations")
