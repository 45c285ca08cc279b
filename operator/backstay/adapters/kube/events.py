"""Events of `events.k8s.io/v1`: what happened, and how often it was said again.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from backstay.adapters.kube.client import EVENTS, KubeClient
from backstay.errors import BackstayError, Conflict, NotFound
from backstay.ports.clock import Clock
from backstay.ports.journal import Entry

CONTROLLER: Final = "backstay.dev/operator"
MOST_WAITING: Final = 1_000
MOST_SERIES: Final = 1_000
SERIES_ENDS_SECONDS: Final = 360.0
"""As client-go: what is repeated within six minutes is a series."""
LONGEST_NOTE: Final = 1_024

log = logging.getLogger(__name__)

_Kind = tuple[str, str, str, str]
"""What makes two entries the same: uid, reason, message, action."""


@dataclass(slots=True)
class _Series:
    name: str
    count: int
    last: float


class EventJournal:
    """Writes entries as Events, in order and one at a time; the oldest are dropped when the server is away for long."""

    def __init__(self, client: KubeClient, *, instance: str, clock: Clock) -> None:
        self._client = client
        self._instance = instance[:128]
        self._clock = clock
        self._waiting: deque[tuple[Entry, datetime]] = deque(maxlen=MOST_WAITING)
        self._series: OrderedDict[_Kind, _Series] = OrderedDict()
        self._more = asyncio.Event()

    def record(self, entry: Entry) -> None:
        """Note what happened."""
        self._waiting.append((entry, self._clock.now()))
        self._more.set()

    async def run(self) -> None:
        """Write what is recorded until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits; an Event that cannot be written is said in the log, and lost.

        What is being written when this is cancelled still waits, and is written by the next call.
        """
        while self._waiting:
            entry, at = waiting = self._waiting[0]
            try:
                await self._write(entry, at)
            except BackstayError as error:
                log.warning("an event about %s could not be written: %s", entry.subject.name, error)
            if self._waiting and self._waiting[0] is waiting:
                self._waiting.popleft()

    async def _write(self, entry: Entry, at: datetime) -> None:
        kind = (entry.subject.uid, entry.reason, entry.message, entry.action)
        known = self._series.get(kind)
        now = self._clock.monotonic()
        if known and now - known.last < SERIES_ENDS_SECONDS and await self._repeat(entry, known, at):
            known.last = now
            self._series.move_to_end(kind)
            return
        name = await self._create(entry, at)
        self._series[kind] = _Series(name, 1, now)
        while len(self._series) > MOST_SERIES:
            self._series.popitem(last=False)

    async def _repeat(self, entry: Entry, known: _Series, at: datetime) -> bool:
        count = known.count + 1
        series = {"series": {"count": count, "lastObservedTime": _micro(at)}}
        try:
            await self._client.merge_patch(EVENTS, known.name, series, entry.subject.namespace)
        except NotFound:
            return False
        known.count = count
        return True

    async def _create(self, entry: Entry, at: datetime) -> str:
        subject = entry.subject
        # kubectl sorts Events by a time that this API version lets nobody set, so it leaves them as the server lists
        # them: by name. With the time first in the name, `kubectl describe` tells them in order.
        moment = f"{int(at.timestamp() * 1_000_000):014x}"
        unique = sha256(f"{subject.uid}{entry.reason}{entry.message}".encode()).hexdigest()[:6]
        name = f"{subject.name[:200]}.{moment}{unique}"
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": subject.namespace},
            "eventTime": _micro(at),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "action": entry.action,
            "reason": entry.reason,
            "note": entry.message[:LONGEST_NOTE],
            "type": entry.weight.value,
            "regarding": {
                "apiVersion": subject.api_version,
                "kind": subject.kind,
                "namespace": subject.namespace,
                "name": subject.name,
                "uid": subject.uid,
            },
        }
        # The name says what and when: one that is there is this one, from a call that was cancelled unanswered.
        with contextlib.suppress(Conflict):
            await self._client.create(EVENTS, event, subject.namespace)
        return name


def _micro(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
