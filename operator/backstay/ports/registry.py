"""The registry of artifacts, as the operator and the bridges need it: read only, and every byte verified.

Unavailable
└── RegistryUnavailable     no answer, or not in time; a reader has already tried again where that was safe
Refused
├── BadReference            the text does not name an artifact by digest
├── ArtifactMalformed       the registry holds it, but it is not an artifact that Backstay can use
├── ArtifactAltered         the bytes are not those that the digest names
├── NotFound
│   └── ArtifactMissing     the registry does not hold it, or not for this device class
└── Forbidden
    └── RegistryForbidden   the registry wants credentials, or other ones
"""

import ipaddress
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Final, NewType, Protocol, Self

from backstay.core.needs import Needs, ServedAs
from backstay.core.planes import ContentDigest, Plane, Release, Requirement
from backstay.errors import Forbidden, NotFound, Refused, Unavailable

ManifestDigest = NewType("ManifestDigest", str)
"""`sha256:<64 hex>` of a manifest or an index: what plans name."""

_HOST: Final = r"[a-zA-Z0-9][a-zA-Z0-9.-]*(?::[0-9]{1,5})?"
_PATH: Final = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
_REPOSITORY: Final = re.compile(rf"(?P<host>{_HOST})/(?P<path>{_PATH})")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_REFERENCE: Final = 512


class RegistryUnavailable(Unavailable):
    """The registry could not be reached or did not answer in time."""


class RegistryForbidden(Forbidden):
    """The registry wants credentials that were not given, or others than those that were."""


class BadReference(Refused):
    """The text does not name a repository, or an artifact by digest."""


class ArtifactMissing(NotFound):
    """The registry does not hold the artifact, or not for this device class."""


class ArtifactAltered(Refused):
    """The registry's bytes are not those that the digest names."""


class ArtifactMalformed(Refused):
    """What the registry holds is not an artifact that Backstay can use."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of one registry: `HOST[:PORT]` and the path below it."""

    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST[:PORT]/REPOSITORY`.

        Raises:
            BadReference: it is not one.
        """
        if len(text) > _LONGEST_REFERENCE or not (found := _REPOSITORY.fullmatch(text)):
            msg = f"{text[:_LONGEST_REFERENCE]!r} is not a repository: write HOST[:PORT]/REPOSITORY, in small letters"
            raise BadReference(msg)
        return cls(found["host"], found["path"])

    @property
    def loopback(self) -> bool:
        """Whether the registry is on this machine, and may be spoken to without TLS."""
        name = self.host.partition(":")[0]
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return name == "localhost"

    @property
    def origin(self) -> str:
        """Where the registry's API is: plain http for loopback hosts, https for all others."""
        return f"{'http' if self.loopback else 'https'}://{self.host}"

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


@dataclass(frozen=True, slots=True)
class Reference:
    """An artifact, named so that it cannot change: its repository and the digest of its manifest or index."""

    repository: Repository
    digest: ManifestDigest

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST[:PORT]/REPOSITORY@sha256:…`.

        Raises:
            BadReference: it is not one; a tag is none, because it can move.
        """
        repository, at, digest = text.partition("@")
        if not at or not _DIGEST.fullmatch(digest):
            msg = f"{text[:_LONGEST_REFERENCE]!r} does not name an artifact by digest: write HOST/REPOSITORY@sha256:…"
            raise BadReference(msg)
        return cls(Repository.parse(repository), ManifestDigest(digest))

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes that a manifest names: their digest, how many they are, and their media type."""

    digest: ContentDigest
    size_bytes: int
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ArtifactDescription:
    """What an artifact's manifest says of it, once the manifest's own bytes were verified."""

    reference: Reference
    """As it was asked for: the digest of an index where one version serves several classes."""
    manifest: ManifestDigest
    """The manifest for the class asked for; the same as the reference's digest where there is no index."""
    plane: Plane
    version: str
    device_class: str
    payload: Blob
    requires: tuple[Requirement, ...] = ()
    schema: Blob | None = None
    release_number: int | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    needs: Needs = field(default_factory=Needs)
    """What the device has to have."""
    samples: Blob | None = None
    """A model's golden samples."""
    served: ServedAs | None = None
    """Under which name an inference server offers the model."""

    @property
    def content(self) -> ContentDigest:
        """The digest of the payload itself: what a device reports when it runs it."""
        return self.payload.digest

    @property
    def size_bytes(self) -> int:
        """How many bytes the payload is."""
        return self.payload.size_bytes

    def release(self) -> Release:
        """The artifact as decisions see it."""
        return Release(self.plane, self.version, self.content, self.requires, str(self.reference))


class Registry(Protocol):
    """Reads artifacts by digest; what it returns without an error is what the digest names."""

    async def resolve(self, reference: str, device_class: str) -> ArtifactDescription:
        """Describe the artifact for one device class from its verified manifest; the payload is not read.

        Raises:
            BadReference, ArtifactMissing, ArtifactAltered, ArtifactMalformed, RegistryForbidden, RegistryUnavailable
        """
        ...

    def open_blob(self, repository: Repository, blob: Blob, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Stream a blob from `offset` to its end, resuming where the connection drops.

        Nothing that was yielded may be used before the stream ended without an error. From offset 0 that
        proves the digest; from another one only the length, and whoever has the first part proves the digest.
        Whoever stops early closes the stream (`contextlib.aclosing`), which frees its connection.

        Raises:
            ArtifactMissing, ArtifactAltered, ArtifactMalformed, RegistryForbidden, RegistryUnavailable
        """
        ...

    def fetch(self, artifact: ArtifactDescription) -> AsyncGenerator[bytes, None]:
        """Stream an artifact's payload, as `open_blob` does from offset 0."""
        ...
