"""A local copy of the objects of one kind, kept up to date by list and watch.

    list, page by page ─► watch from that version ─► lost: watch again from the last version seen
          ▲                                                       │
          └───────────── 410: too old, list again and compare ────┘

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import logging
import random
from collections.abc import Callable
from sys import intern
from typing import Final, Generic, Protocol, TypeVar

from backstay.adapters.kube.client import Json, KubeClient, Resource, WatchEvent, WatchExpired
from backstay.errors import BackstayError, Forbidden, Refused, Unavailable
from backstay.ports.clock import Clock

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

Key = tuple[str, str]
"""Namespace and name."""

FIRST_DELAY_SECONDS: Final = 0.2
LONGEST_DELAY_SECONDS: Final = 20.0

log = logging.getLogger(__name__)


class Listener(Protocol[T_contra]):
    """Takes in what the informer learns, in the server's order; it must not wait."""

    def put(self, found: T_contra) -> None:
        """An object is new, or has changed."""
        ...

    def remove(self, namespace: str, name: str) -> None:
        """An object is gone."""
        ...


class Informer(Generic[T]):
    """Feeds a listener with every object of a kind, in one namespace or in all of them.

    An object that cannot be parsed is left as it was known before and named in the log, so that one bad
    object never hides the others, and one that was counted stays counted.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        listener: Listener[T],
        *,
        parse: Callable[[Json], T],
        clock: Clock,
        namespace: str | None = None,
        field_selector: str | None = None,
        watch_seconds: int = 240,
    ) -> None:
        self._client = client
        self._resource = resource
        self._listener = listener
        self._parse = parse
        self._clock = clock
        self._namespace = namespace
        self._field_selector = field_selector
        self._watch_seconds = watch_seconds
        self._known: set[Key] = set()
        self._version: str | None = None
        self._heard: float | None = None
        self._delay = FIRST_DELAY_SECONDS
        self.synced: Final = asyncio.Event()
        """Set once the first list is complete."""
        self.connected = False
        """Whether the last word from the server was an answer."""

    @property
    def age_seconds(self) -> float:
        """How long ago the server last confirmed this view: by a list, a change, a bookmark or a new watch."""
        return float("inf") if self._heard is None else self._clock.monotonic() - self._heard

    async def run(self) -> None:
        """Keep the copy up to date until cancelled.

        Raises:
            Forbidden: this identity may not list the kind, before the first list was complete.
        """
        while True:
            try:
                await self._follow()
                self._delay = FIRST_DELAY_SECONDS
            except WatchExpired:
                log.info("watch of %s is too old: listing again", self._resource.plural)
                self._version = None
            except Forbidden:
                if not self.synced.is_set():
                    raise
                await self._wait("this identity may no longer read it")
            except (Unavailable, Refused) as error:
                await self._wait(str(error))

    async def _follow(self) -> None:
        version = self._version
        if version is None:
            version = await self._list()
        async for event in self._client.watch(
            self._resource,
            self._namespace,
            resource_version=version,
            field_selector=self._field_selector,
            timeout_seconds=self._watch_seconds,
        ):
            self._heed()
            self._take(event)
        self._heed()

    async def _list(self) -> str:
        version, seen = "", set[Key]()
        async for page in self._client.list_pages(self._resource, self._namespace, field_selector=self._field_selector):
            version = version or page.resource_version
            for item in page.items:
                seen.add(self._put(item))
        for namespace, name in sorted(self._known - seen):
            self._listener.remove(namespace, name)
        self._known, self._version = seen, version
        self._heed()
        self.synced.set()
        return version

    def _take(self, event: WatchEvent) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                self._known.add(self._put(event.object))
            case "DELETED":
                key = key_of(event.object)
                self._known.discard(key)
                self._listener.remove(*key)
            case "BOOKMARK":
                pass
        self._version = event.object["metadata"]["resourceVersion"]

    def _put(self, item: Json) -> Key:
        key = key_of(item)
        try:
            found = self._parse(item)
        except BackstayError as error:
            log.warning("%s %s/%s is left out: %s", self._resource.plural, *key, error)
        else:
            self._listener.put(found)
        return key

    def _heed(self) -> None:
        self._heard = self._clock.monotonic()
        if not self.connected and self.synced.is_set():
            log.info("watching %s again", self._resource.plural)
        self.connected = True
        self._delay = FIRST_DELAY_SECONDS

    async def _wait(self, why: str) -> None:
        if self.connected:
            log.warning("lost the watch of %s: %s", self._resource.plural, why)
        self.connected = False
        # Jitter, so that many watchers of a restarted server do not come back in one moment.
        await asyncio.sleep(self._delay * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret
        self._delay = min(self._delay * 2, LONGEST_DELAY_SECONDS)


def key_of(item: Json) -> Key:
    """The namespace and name of an object."""
    metadata = item["metadata"]
    # One text for each, however many objects and other records of them there are.
    return intern(metadata.get("namespace", "")), intern(metadata["name"])


def is_newer(version: str, than: str) -> bool:
    """Tell whether one resourceVersion was written after another of the same kind.

    Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions (comparable, decimal)
    """
    return (len(version), version) > (len(than), than)
