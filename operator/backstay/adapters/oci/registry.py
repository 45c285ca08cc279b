"""The verifying reader: manifests and blobs from any OCI 1.1 registry, each byte under the digest that names it."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from backstay.adapters.oci.manifest import checked, describe, is_index, manifest_for_class
from backstay.adapters.oci.transport import Transport, unavailable
from backstay.ports.registry import (
    ArtifactAltered,
    ArtifactDescription,
    ArtifactMalformed,
    Blob,
    Reference,
    RegistryUnavailable,
    Repository,
)

BLOB_LIMIT_BYTES: Final = 8 * 1024**3
CHUNK_BYTES: Final = 256 * 1024
# Tries that bring not one byte; a download that moves is never given up, however often its connection drops.
FRUITLESS_TRIES: Final = 4
FIRST_PAUSE_SECONDS: Final = 0.1

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class OciRegistry:
    """Reads artifacts over HTTP; fulfils `backstay.ports.registry.Registry`."""

    def __init__(self, transport: Transport, *, blob_limit_bytes: int = BLOB_LIMIT_BYTES) -> None:
        """Refuse blobs above `blob_limit_bytes`, whatever their manifest says."""
        self._transport = transport
        self._blob_limit_bytes = blob_limit_bytes

    async def resolve(self, reference: str, device_class: str) -> ArtifactDescription:
        """Describe the artifact for one device class from its verified manifest."""
        named = Reference.parse(reference)
        document = checked(await self._transport.manifest(named.repository, named.digest), named)
        if not is_index(document):
            return describe(document, named, named.digest, device_class)
        chosen = Reference(named.repository, manifest_for_class(document, named, device_class))
        document = checked(await self._transport.manifest(chosen.repository, chosen.digest), chosen)
        return describe(document, named, chosen.digest, device_class)

    async def fetch(self, artifact: ArtifactDescription) -> AsyncGenerator[bytes, None]:
        """Stream the payload; nothing of it may be used before the stream ended without an error."""
        async with aclosing(self.open_blob(artifact.reference.repository, artifact.payload)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def open_blob(self, repository: Repository, blob: Blob, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Stream a blob from `offset`, resuming by Range where the connection drops."""
        self._require_within_limit(repository, blob)
        content = hashlib.sha256()
        at, tries = offset, 0
        while at < blob.size_bytes:
            began = at
            try:
                async with aclosing(self._read_from(repository, blob, at)) as chunks:
                    async for chunk in chunks:
                        at += len(chunk)
                        content.update(chunk)
                        yield chunk
            except (RegistryUnavailable, TimeoutError, aiohttp.ClientError) as error:
                tries = 1 if at > began else tries + 1
                if tries >= FRUITLESS_TRIES:
                    raise _given_up(repository, blob, at, error) from error
                await asyncio.sleep(FIRST_PAUSE_SECONDS * 2**tries)
        if offset == 0 and (found := f"sha256:{content.hexdigest()}") != blob.digest:
            raise _altered(repository, blob, f"has the digest {found}")

    def _require_within_limit(self, repository: Repository, blob: Blob) -> None:
        if blob.size_bytes > self._blob_limit_bytes:
            msg = (
                f"{repository}@{blob.digest} is {blob.size_bytes} bytes by its manifest, above the limit of "
                f"{self._blob_limit_bytes}; make it smaller, or raise the limit"
            )
            raise ArtifactMalformed(msg)

    async def _read_from(self, repository: Repository, blob: Blob, offset: int) -> AsyncGenerator[bytes, None]:
        url = URL(f"{repository.origin}/v2/{repository.path}/blobs/{blob.digest}")
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        async with self._transport.get(url, headers, f"{repository}@{blob.digest}") as response:
            skip = offset - _first_byte(response, repository, blob, offset)
            left = blob.size_bytes - offset
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                wanted = chunk[skip:]
                skip = max(0, skip - len(chunk))
                left -= len(wanted)
                if left < 0:
                    raise _altered(repository, blob, "is longer than its manifest says")
                if wanted:
                    yield wanted
            if left:
                # A body that ends early without an error is how a proxy's timeout looks: worth another try.
                msg = f"the answer ended {left} bytes early"
                raise aiohttp.ClientPayloadError(msg)


def _first_byte(response: aiohttp.ClientResponse, repository: Repository, blob: Blob, offset: int) -> int:
    """Where in the blob the answer begins: a registry may ignore Range and start again."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not found or int(found[1]) != offset or int(found[3]) != blob.size_bytes:
            raise _altered(repository, blob, f"comes as {response.headers.get('Content-Range')} from byte {offset}")
        return offset
    if response.content_length not in {None, blob.size_bytes}:
        raise _altered(repository, blob, f"is {response.content_length} bytes")
    return 0


def _altered(repository: Repository, blob: Blob, what: str) -> ArtifactAltered:
    return ArtifactAltered(
        f"{repository}@{blob.digest}, {blob.size_bytes} bytes by its manifest, {what}: "
        f"it was altered in the registry or on the way; delete it there and push it again"
    )


def _given_up(repository: Repository, blob: Blob, at: int, error: Exception) -> RegistryUnavailable:
    what = f"{repository}@{blob.digest} after byte {at} of {blob.size_bytes}, in {FRUITLESS_TRIES} tries"
    return unavailable(repository.host, what, error)
