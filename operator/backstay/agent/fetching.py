"""Brings the artifact of an order onto the node: described, verified, checked against the node, then fetched."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backstay.adapters.oci.cache import BlobCache
from backstay.core.device import Cause, Order, Reason
from backstay.errors import BackstayError, Unavailable
from backstay.ports.clock import Clock
from backstay.ports.registry import ArtifactAltered, ArtifactDescription, Registry
from backstay.ports.verify import Unverified, Verifier

FIRST_DELAY_SECONDS: Final = 1.0
LONGEST_DELAY_SECONDS: Final = 30.0
PATIENCE_SECONDS: Final = 600.0
"""How long a registry may be away before the step is given up; the plan may order it again."""

Objection = Callable[[Order, ArtifactDescription], Awaitable[Cause | None]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Verified bytes, and what they are."""

    artifact: ArtifactDescription
    payload: Path


class Fetching:
    """Fetches for one node."""

    def __init__(
        self, registry: Registry, cache: BlobCache, verifier: Verifier, device_class: str, clock: Clock
    ) -> None:
        self._registry = registry
        self._cache = cache
        self._verifier = verifier
        self._device_class = device_class
        self._clock = clock

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
        if cause := await objection(order, artifact):
            return cause
        payload = await self._cache.path(artifact.reference.repository, artifact.content, artifact.size_bytes)
        return Fetched(artifact, payload)
