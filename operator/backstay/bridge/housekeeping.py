"""Keeps the cache within its limit, and in it whatever a device of this gateway may still have to fetch."""

import asyncio
import logging
from typing import Final

from backstay.adapters.oci.cache import BlobCache
from backstay.bridge.contents import Contents
from backstay.bridge.view import View
from backstay.core.planes import ContentDigest
from backstay.errors import BackstayError

EVERY_SECONDS: Final = 60.0

log = logging.getLogger(__name__)


class Housekeeping:
    """Trims the cache from time to time."""

    def __init__(self, cache: BlobCache, contents: Contents, view: View, limit_bytes: int) -> None:
        self._cache = cache
        self._contents = contents
        self._view = view
        self._limit_bytes = limit_bytes

    async def run(self) -> None:
        """Trim until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            try:
                await self.trim()
            except BackstayError as error:
                log.warning("%s", error)

    async def trim(self) -> None:
        """Delete what no device is ordered, runs or keeps, the longest unused first, until the rest fits.

        A device that runs or keeps a version holds its bytes itself; it may lose them, and the registry may be away.

        Raises:
            BackstayError: the cache cannot be trimmed.
        """
        gone = await self._cache.trim(self._limit_bytes, self._needed())
        if gone:
            self._contents.forget(gone)
            log.info("%d contents that no device needs have left the cache", len(gone))

    def _needed(self) -> frozenset[ContentDigest]:
        needed: set[ContentDigest] = set()
        for record in self._view.devices():
            needed.update(assignment.content for assignment in record.device.assigned.values())
            for status in record.device.planes.values():
                needed.update(content for content in (status.running, status.fallback) if content is not None)
        return frozenset(needed)
