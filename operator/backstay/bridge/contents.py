"""The bytes that devices fetch: brought from the registry before they are offered, so that an offer can be kept.

Absent ─→ being fetched ─→ Ready         offered
               ├─────────→ Rejected      nobody vouches for it, or it is not what was ordered: the step fails;
               │               ↓          judged anew for a later step, because a signature may have come since
               └─────────→ Absent again  registry down, artifact missing …: tried again, later and later
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.oci.cache import BlobCache
from backstay.core.devices import Assignment
from backstay.core.planes import ContentDigest, Plane
from backstay.errors import BackstayError
from backstay.ports.clock import Clock
from backstay.ports.registry import ArtifactDescription, Registry
from backstay.ports.verify import Unverified, Verifier

FIRST_DELAY_SECONDS: Final = 1.0
LONGEST_DELAY_SECONDS: Final = 30.0
VERDICT_SECONDS: Final = 30.0
"""How long a rejection answers every step with the same content."""
READ_BYTES: Final = 1024 * 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ready:
    """The bytes are on disk and verified."""

    description: ArtifactDescription
    path: Path
    sha1: str
    md5: str
    suffix: str = ".bin"
    """What a name for these bytes ends in: there are clients that go by it."""

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        return self.description.size_bytes

    @property
    def sha256(self) -> str:
        """Their digest, as 64 hexadecimal digits."""
        return self.description.content.removeprefix("sha256:")

    @property
    def requires(self) -> Mapping[str, str]:
        """What the artifact requires of the planes beside it."""
        return {str(need.plane): need.range.text for need in self.description.requires}


@dataclass(frozen=True, slots=True)
class Absent:
    """The bytes are not here yet."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The bytes must not be installed, and why."""

    why: str


Content = Ready | Absent | Rejected
Key = tuple[str, str, Plane, ContentDigest]

ABSENT: Final = Absent()


@dataclass(slots=True)
class _Fetch:
    content: Content = ABSENT
    task: asyncio.Task[None] | None = None
    next_try: float = 0.0
    delay: float = field(default=FIRST_DELAY_SECONDS)


class Contents:
    """Answers at once whether an assignment's bytes are here, and fetches them in the background if not."""

    def __init__(
        self,
        registry: Registry,
        cache: BlobCache,
        verifier: Verifier,
        clock: Clock,
        failed: Callable[[], None],
        failpoints: Failpoints,
    ) -> None:
        self._failpoints = failpoints
        self._registry = registry
        self._cache = cache
        self._verifier = verifier
        self._clock = clock
        self._failed = failed
        self._fetches: dict[Key, _Fetch] = {}

    def look(self, assignment: Assignment, plane: Plane, device_class: str) -> Content:
        """Say what is known of the assignment's bytes; the first to ask starts the fetch."""
        key = (assignment.artifact, device_class, plane, assignment.content)
        fetch = self._fetches.setdefault(key, _Fetch())
        idle = fetch.task is None or fetch.task.done()
        if not isinstance(fetch.content, Ready) and idle and self._clock.monotonic() >= fetch.next_try:
            fetch.content = ABSENT
            fetch.task = asyncio.create_task(self._bring(key, fetch), name=f"fetch {plane} {assignment.version}")
        return fetch.content

    async def file(self, ready: Ready) -> Path:
        """The file to serve, checked again: it may have been changed on disk since it was fetched.

        Raises:
            BackstayError: it is no longer right and cannot be fetched again now.
        """
        description = ready.description
        return await self._cache.path(description.reference.repository, description.content, description.size_bytes)

    def forget(self, contents: Iterable[ContentDigest]) -> None:
        """These have left the cache: whoever asks for them again starts a fetch."""
        gone = set(contents)
        for key in [key for key in self._fetches if key[3] in gone]:
            del self._fetches[key]

    async def close(self) -> None:
        """End fetches that are still running."""
        running = [fetch.task for fetch in self._fetches.values() if fetch.task and not fetch.task.done()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _bring(self, key: Key, fetch: _Fetch) -> None:
        try:
            fetch.content = await self._fetched(key)
            fetch.next_try = self._clock.monotonic() + VERDICT_SECONDS
        except BackstayError as error:
            self._failed()
            log.warning("%s cannot be offered yet, next try in %.0f s: %s", key[0], fetch.delay, error)
            fetch.next_try = self._clock.monotonic() + fetch.delay
            fetch.delay = min(fetch.delay * 2, LONGEST_DELAY_SECONDS)
        except Exception:
            # Nobody awaits this task but at the end; an error of ours must be seen, and may be tried again.
            self._failed()
            log.exception("fetching %s failed", key[0])
            fetch.next_try = self._clock.monotonic() + LONGEST_DELAY_SECONDS

    async def _fetched(self, key: Key) -> Ready | Rejected:
        reference, device_class, plane, content = key
        description = await self._registry.resolve(reference, device_class)
        if description.plane is not plane or description.content != content:
            return _rejected(reference, f"it holds {description.plane} {description.content}, not {plane} {content}")
        if isinstance(verdict := await self._verifier.verify(description), Unverified):
            return _rejected(reference, str(verdict))
        self._failpoints.passing("before-fetch")
        path = await self._cache.path(description.reference.repository, content, description.size_bytes)
        self._failpoints.passing("after-fetch")
        sha1, md5 = await asyncio.to_thread(_hashes, path)
        suffix = await asyncio.to_thread(_suffix, path)
        log.info("%s %s is here: %d bytes", plane, description.version, description.size_bytes)
        return Ready(description, path, sha1, md5, suffix)


def _rejected(reference: str, why: str) -> Rejected:
    log.error("%s is never offered to a device: %s", reference, why)
    return Rejected(why)


def _hashes(path: Path) -> tuple[str, str]:
    """DDI's older hashes, which stock clients compare; nothing relies on them."""
    sha1, md5 = hashlib.sha1(usedforsecurity=False), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while data := file.read(READ_BYTES):
            sha1.update(data)
            md5.update(data)
    return sha1.hexdigest(), md5.hexdigest()


_CPIO: Final = (b"070701", b"070702")


def _suffix(path: Path) -> str:
    """SWUpdate takes only what is called `.swu`, and its images are cpio archives; all others are as good as any."""
    with path.open("rb") as file:
        return ".swu" if file.read(6) in _CPIO else ".bin"
