"""A registry in memory: the port's promises without a network, for tests of what uses it."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

from backstay.adapters.oci.manifest import checked, describe, is_index, manifest_for_class
from backstay.ports.registry import (
    ArtifactAltered,
    ArtifactDescription,
    ArtifactMissing,
    Blob,
    ManifestDigest,
    Reference,
    RegistryUnavailable,
    Repository,
)
from tests.contracts.artifacts import Sample, digest_of

CHUNK_BYTES = 64


class FakeRegistry:
    """Fulfils `backstay.ports.registry.Registry`; what it holds can be altered and it can be switched off."""

    def __init__(self, repository: str = "127.0.0.1:5000/test/artifact") -> None:
        self.repository = Repository.parse(repository)
        self.online = True
        self.opened: list[tuple[str, int]] = []
        """The digest and the offset of each blob that was read."""
        self.begun = asyncio.Event()
        """Set once a blob is being read."""
        self._held: dict[str, bytes] = {}

    def add(self, sample: Sample) -> str:
        """Hold an artifact and return its reference."""
        for data in sample.blobs:
            self.put(data)
        return f"{self.repository}@{self.put(sample.manifest)}"

    def put(self, data: bytes) -> str:
        """Hold bytes under their digest."""
        self._held[digest_of(data)] = data
        return digest_of(data)

    def alter(self, digest: str, data: bytes) -> None:
        """Hold other bytes under this digest."""
        self._held[digest] = data

    def remove(self, digest: str) -> None:
        del self._held[digest]

    async def resolve(self, reference: str, device_class: str) -> ArtifactDescription:
        named = Reference.parse(reference)
        document = checked(self._read(named.digest), named)
        if not is_index(document):
            return describe(document, named, named.digest, device_class)
        chosen = Reference(named.repository, manifest_for_class(document, named, device_class))
        document = checked(self._read(chosen.digest), chosen)
        return describe(document, named, ManifestDigest(chosen.digest), device_class)

    async def open_blob(self, repository: Repository, blob: Blob, offset: int = 0) -> AsyncGenerator[bytes, None]:
        data = self._read(blob.digest)
        self.opened.append((blob.digest, offset))
        self.begun.set()
        if len(data) != blob.size_bytes:
            raise ArtifactAltered(f"{repository}@{blob.digest} is {len(data)} bytes, not {blob.size_bytes}")
        for at in range(offset, len(data), CHUNK_BYTES):
            self._require_online()
            yield data[at : at + CHUNK_BYTES]
        if offset == 0 and hashlib.sha256(data).hexdigest() != blob.digest.removeprefix("sha256:"):
            raise ArtifactAltered(f"{repository}@{blob.digest} has other bytes")

    async def fetch(self, artifact: ArtifactDescription) -> AsyncGenerator[bytes, None]:
        async with aclosing(self.open_blob(artifact.reference.repository, artifact.payload)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _read(self, digest: str) -> bytes:
        self._require_online()
        if digest not in self._held:
            raise ArtifactMissing(f"{self.repository} does not hold {digest}")
        return self._held[digest]

    def _require_online(self) -> None:
        if not self.online:
            raise RegistryUnavailable(f"the registry {self.repository.host} is switched off")
