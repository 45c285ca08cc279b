"""Devices that have a valid token and no EdgeDevice: the bridge puts each up, not enrolled.

Whoever asks is answered as a stranger is, before and after: what appears is for the people who run the fleet.
"""

import asyncio
import logging
import re
from typing import Final

from backstay.adapters.kube.client import EDGE_DEVICES, Json, KubeClient
from backstay.bridge.metrics import BridgeMetrics
from backstay.bridge.view import View
from backstay.errors import BackstayError, Conflict, Forbidden
from backstay.logs import about
from backstay.ports.clock import Clock

DEVICE_CLASS: Final = "esp32"
"""What a device behind a gateway is; a class cannot be changed, and what a device says of itself is not asked."""
MOST_WAITING: Final = 100
"""Devices of this gateway that wait for a person; a gateway's token must not fill the API server with names."""
AGAIN_SECONDS: Final = 60.0
"""How long a name is left alone after a try: it may be another gateway's, or the bridge may lack the right."""
MOST_REMEMBERED: Final = 10_000
PAUSE_SECONDS: Final = 0.2

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_LONGEST_NAME: Final = 253

log = logging.getLogger(__name__)


class Newcomers:
    """Puts up newcomers, one after the other."""

    def __init__(self, client: KubeClient, view: View, clock: Clock, metrics: BridgeMetrics) -> None:
        self._client = client
        self._view = view
        self._clock = clock
        self._metrics = metrics
        self._tried: dict[str, float] = {}
        """When each name was tried, the oldest first."""
        self._queue: asyncio.Queue[str] = asyncio.Queue(maxsize=MOST_WAITING)

    def seen(self, name: str) -> None:
        """Take note of a device that has shown itself with a valid token; nothing is awaited."""
        now = self._clock.monotonic()
        if self._was_tried(name, now) or len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            return
        if self._queue.full() or self._view.waiting() + self._queue.qsize() >= MOST_WAITING:
            self._metrics.limited("newcomers")
            return
        self._tried[name] = now
        self._queue.put_nowait(name)

    async def run(self) -> None:
        """Put up what was seen until cancelled."""
        while True:
            await self.put_up(await self._queue.get())
            await asyncio.sleep(PAUSE_SECONDS)

    async def put_up(self, name: str) -> None:
        """Create a device that is not enrolled; one that cannot be created is tried again when it asks again."""
        body = {
            "apiVersion": f"{EDGE_DEVICES.group}/{EDGE_DEVICES.version}",
            "kind": "EdgeDevice",
            "metadata": {"name": name},
            "spec": {"class": DEVICE_CLASS, "gateway": self._view.gateway, "enrolled": False},
        }
        with about(device=name):
            await self._put_up(name, body)

    async def _put_up(self, name: str, body: Json) -> None:
        try:
            await self._client.create(EDGE_DEVICES, body, self._view.namespace)
        except Conflict:
            log.info("device %s shows itself here, but there is one of its name that this gateway does not serve", name)
        except Forbidden as error:
            log.warning("device %s shows itself, and cannot be put up for enrolment: %s", name, error)
        except BackstayError as error:
            log.warning("device %s shows itself, and cannot be put up for enrolment now: %s", name, error)
        else:
            log.info("device %s has shown itself: it waits for somebody to enrol it", name)

    def _was_tried(self, name: str, now: float) -> bool:
        while self._tried and (
            now - (oldest := next(iter(self._tried.items())))[1] >= AGAIN_SECONDS or len(self._tried) >= MOST_REMEMBERED
        ):
            del self._tried[oldest[0]]
        return name in self._tried
