"""Deletes on this node what nobody needs any more; `core.keeping` says what that is.

It works while nothing changes, and never in safe mode. What runs, its fallback and what an open order brings stay
whatever the disk says: installers see to that themselves.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from backstay.adapters.oci.cache import BlobCache
from backstay.agent.machine import Machine
from backstay.core.keeping import CLOCK_IS_SET, Spare, left_since, retained
from backstay.core.planes import ContentDigest, Plane
from backstay.errors import Unavailable
from backstay.ports.clock import Clock

HEADROOM_BYTES: Final = 512 * 1024 * 1024
SMALL_DISK: Final = 20
"""Of a small disk the headroom is one part in so many."""

log = logging.getLogger(__name__)


def free_on(directory: Path) -> Callable[[], tuple[int, int]]:
    """Measures the free and the total bytes of a directory's disk."""

    def measure() -> tuple[int, int]:
        there = next(path for path in (directory, *directory.parents) if path.is_dir())
        found = shutil.disk_usage(there)
        return found.free, found.total

    return measure


@dataclass
class Keeping:
    """The versions that one node keeps. Its methods are called one at a time, and not while something changes."""

    machine: Machine
    clock: Clock
    disk: Callable[[], tuple[int, int]]
    """Free and total bytes."""
    headroom_bytes: int = HEADROOM_BYTES
    cache: BlobCache | None = None
    """Where fetched bytes lie until they are staged."""
    _stuck: frozenset[ContentDigest] | None = field(default=None)
    """What was to be deleted at the last look and is there still, as in a slot; None before the first."""

    async def tidy(self, retain: Callable[[Plane], timedelta]) -> None:
        """Delete what is no longer retained, and more if the disk has too little room.

        Raises:
            JournalUnwritable, Unavailable
        """
        now, memory = self.clock.now(), self.machine.notebook.memory
        if self.machine.in_flight is not None or self.machine.resting or now < CLOCK_IS_SET:
            return
        spare = self._spare(retain)
        left = left_since(memory.left, spare, now)
        if left != memory.left:
            await self.machine.notebook.keep(replace(memory, left=left))
        kept = list(retained(spare, left, now))
        doomed = frozenset(one.content for one in spare) - {one.content for one in kept}
        if doomed != self._stuck:
            await self._delete_all_but(kept, spare, "is not retained any longer")
            self._stuck = frozenset(one.content for one in self._spare(retain)) & doomed
        while kept and await self._is_full():
            oldest, *kept = kept
            await self._delete_all_but(kept, [oldest, *kept], "makes room: the disk has too little")
        still = {one.content for one in self._spare(retain)}
        if gone := [content for content in left if content not in still]:
            left = {content: when for content, when in left.items() if content not in gone}
            await self.machine.notebook.keep(replace(self.machine.notebook.memory, left=left))

    async def make_room(self) -> bool:
        """Delete everything spare, because an order finds no room; tell whether anything went.

        Raises:
            Unavailable
        """
        spare = [one for one in self._spare(lambda _: timedelta(0)) if one.content not in self.machine.needed]
        return await self._delete_all_but([], spare, "makes room for a step")

    async def _delete_all_but(self, kept: Iterable[Spare], spare: Iterable[Spare], why: str) -> bool:
        needed = {one.content for one in kept}
        await self.machine.trim(needed)
        if self.cache is not None:
            await self.cache.trim(0, self.machine.needed)
        gone = [one for one in spare if one.content not in needed and not self._holds(one)]
        for one in gone:
            words = f"{one.content[:19]} was deleted: it {'failed here' if one.has_failed else why}"
            self.machine.notebook.tell(self.clock.now(), one.plane, words)
        return bool(gone)

    def _spare(self, retain: Callable[[Plane], timedelta]) -> list[Spare]:
        frozen = {(one.plane, one.content) for one in self.machine.notebook.memory.frozen}
        return [
            Spare(plane, content, retain(plane), (plane, content) in frozen)
            for plane in self.machine.planes
            for content in sorted(self.machine.storage(plane).spare)
        ]

    def _holds(self, one: Spare) -> bool:
        return one.content in self.machine.storage(one.plane).spare

    async def _is_full(self) -> bool:
        try:
            free_bytes, total_bytes = await asyncio.to_thread(self.disk)
        except OSError as error:
            raise Unavailable(f"the room on the disk cannot be measured: {error}; mend it") from error
        return free_bytes < min(self.headroom_bytes, total_bytes // SMALL_DISK)
