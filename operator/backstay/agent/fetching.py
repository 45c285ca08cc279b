"""Brings the artifact of an order onto the node: described, verified, checked against the node, then fetched."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backstay.adapters.node.probes.samples import LARGEST_BYTES
from backstay.adapters.oci.cache import BlobCache
from backstay.core.device import Cause, Order, Reason
from backstay.core.needs import Equipment, Needs, lacking
from backstay.errors import BackstayError, Unavailable
from backstay.ports.clock import Clock
from backstay.ports.installer import ALONE, Beside
from backstay.ports.registry import ArtifactAltered, ArtifactDescription, Blob, Registry
from backstay.ports.verify import Unverified, Verifier

FIRST_DELAY_SECONDS: Final = 1.0
LONGEST_DELAY_SECONDS: Final = 30.0
LARGEST_SCHEMA_BYTES: Final = 1024 * 1024
PATIENCE_SECONDS: Final = 600.0
"""How long a registry may be away before the step is given up; the plan may order it again."""

Objection = Callable[[Order, ArtifactDescription], Awaitable[Cause | None]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Verified bytes, and what they are."""

    artifact: ArtifactDescription
    payload: Path
    beside: Beside = ALONE


class Fetching:
    """Fetches for one node."""

    def __init__(
        self,
        registry: Registry,
        cache: BlobCache,
        verifier: Verifier,
        device_class: str,
        clock: Clock,
        equipment: Callable[[], Equipment] = Equipment,
    ) -> None:
        """Fetch for a node that has what `equipment` finds, which may block."""
        self._registry = registry
        self._cache = cache
        self._verifier = verifier
        self._device_class = device_class
        self._clock = clock
        self._equipment = equipment

    async def fetch(self, order: Order, reference: str, objection: Objection) -> Fetched | Cause:
        """Fetch, and try again while the registry is away; a cause tells why the node must not or cannot have it."""
        began, delay = self._clock.monotonic(), FIRST_DELAY_SECONDS
        while True:
            try:
                return await self._once(order, reference, objection)
            except Unavailable as error:
                if self._clock.monotonic() - began > PATIENCE_SECONDS:
                    return Cause(Reason.DOWNLOAD_FAILED, str(error))
                log.warning("%s is not here yet, next try in %.0f s: %s", reference, delay, error)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_DELAY_SECONDS)
            except ArtifactAltered as error:
                return Cause(Reason.DIGEST_MISMATCH, str(error))
            except BackstayError as error:
                return Cause(Reason.REJECTED, str(error))

    async def _once(self, order: Order, reference: str, objection: Objection) -> Fetched | Cause:
        artifact = await self._registry.resolve(reference, self._device_class)
        if artifact.plane is not order.plane or artifact.content != order.content:
            what = f"{reference} holds {artifact.plane} {artifact.content}"
            return Cause(Reason.REJECTED, f"{what}, not {order.plane} {order.content}")
        if isinstance(verdict := await self._verifier.verify(artifact), Unverified):
            return Cause(Reason.REJECTED, str(verdict))
        if cause := _too_large(artifact) or await self._unsuited(artifact) or await objection(order, artifact):
            return cause
        payload = await self._cache.path(artifact.reference.repository, artifact.content, artifact.size_bytes)
        return Fetched(artifact, payload, Beside(*[await self._also(artifact, blob) for blob in _besides(artifact)]))

    async def _also(self, artifact: ArtifactDescription, blob: Blob | None) -> Path | None:
        if blob is None:
            return None
        return await self._cache.path(artifact.reference.repository, blob.digest, blob.size_bytes)

    async def _unsuited(self, artifact: ArtifactDescription) -> Cause | None:
        if artifact.needs == Needs():
            return None
        missing = lacking(artifact.needs, await asyncio.to_thread(self._equipment))
        return None if missing is None else Cause(Reason.INCOMPATIBLE, missing)


def _besides(artifact: ArtifactDescription) -> tuple[Blob | None, Blob | None]:
    """What travels with the payload, in the order of `Beside`."""
    return artifact.samples, artifact.schema


def _too_large(artifact: ArtifactDescription) -> Cause | None:
    for what, blob, limit in (
        ("golden samples", artifact.samples, LARGEST_BYTES),
        ("schema", artifact.schema, LARGEST_SCHEMA_BYTES),
    ):
        if blob is not None and blob.size_bytes > limit:
            return Cause(Reason.REJECTED, f"{what}: {blob.size_bytes} bytes, at most {limit} are taken")
    return None
