"""A chip's cells in memory: only sectors that differ from the factory's, each kept once however many chips hold it.

A sector is kept without the 0xFF at its end, so an erased one is empty and a short record costs its own length. What
was never written reads as zeros, as in a sparse file, and is not kept at all.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from weakref import WeakValueDictionary

from backstay.simulate.flash import CHIP_BYTES, SECTOR_BYTES


class _Sector:
    """The bytes of one sector up to its last one that is not 0xFF; never changed, because many chips may hold it."""

    __slots__ = ("__weakref__", "written")

    def __init__(self, written: bytes) -> None:
        self.written = written


_held: Final[WeakValueDictionary[bytes, _Sector]] = WeakValueDictionary()


def _sector(data: bytes) -> _Sector:
    """The one sector with these bytes: equal sectors are the same object for as long as any chip holds one."""
    written = data.rstrip(b"\xff")
    if (found := _held.get(written)) is None:
        found = _held[written] = _Sector(written)
    return found


_NEVER_WRITTEN: Final = _sector(bytes(SECTOR_BYTES))


class SparseCells:
    """Cells that are sliced as a bytearray is; `factory` is what they hold before anything is written."""

    __slots__ = ("_changed", "_factory", "_size_bytes")

    def __init__(self, size_bytes: int = CHIP_BYTES, factory: Mapping[int, _Sector] = MappingProxyType({})) -> None:
        self._size_bytes, self._factory = size_bytes, factory
        self._changed: dict[int, _Sector] = {}

    def __len__(self) -> int:
        return self._size_bytes

    @property
    def changed_sectors(self) -> int:
        """How many sectors differ from the factory's."""
        return len(self._changed)

    def fork(self) -> "SparseCells":
        """Return cells that hold the same and go their own way from here; forks of one chip share what they keep."""
        if self._changed:
            self._factory, self._changed = {**self._factory, **self._changed}, {}
        return SparseCells(self._size_bytes, self._factory)

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size_bytes)
        first, last = start // SECTOR_BYTES, -(-stop // SECTOR_BYTES)
        base = first * SECTOR_BYTES
        return b"".join(map(self._read, range(first, last)))[start - base : stop - base]

    def __setitem__(self, part: slice, data: bytes) -> None:
        start, stop, _ = part.indices(self._size_bytes)
        at = start
        while at < stop:
            number, inside = divmod(at, SECTOR_BYTES)
            size = min(SECTOR_BYTES - inside, stop - at)
            old, new = self._read(number), data[at - start : at - start + size]
            self._put(number, _sector(old[:inside] + new + old[inside + size :]))
            at += size

    def _of_factory(self, number: int) -> _Sector:
        return self._factory.get(number, _NEVER_WRITTEN)

    def _read(self, number: int) -> bytes:
        sector = self._changed.get(number) or self._of_factory(number)
        return sector.written.ljust(SECTOR_BYTES, b"\xff")

    def _put(self, number: int, sector: _Sector) -> None:
        if sector is self._of_factory(number):
            self._changed.pop(number, None)
        else:
            self._changed[number] = sector
