"""What a signature is, whichever of cosign's forms it comes in, and how one form is asked for them."""

import base64
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Protocol

from backstay.adapters.oci.manifest import is_digest
from backstay.core.planes import ContentDigest
from backstay.ports.registry import ArtifactMalformed, Blob, Reference, Registry, Repository

SIGNATURES_LIMIT: Final = 32
"""How many signatures in one form are looked at; where there are more, none of them counts."""
SIGNATURE_LIMIT_BYTES: Final = 64 * 1024
"""How large a signed payload or a bundle may be."""
SIGN_AGAIN: Final = "sign the artifact again with `cosign sign --key …`"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as it was found. It means nothing before one of the trusted keys has made it."""

    value: bytes
    """As ECDSA makes it, in DER form."""
    signed_sha256: bytes
    """The hash of exactly the bytes under the signature."""
    about: frozenset[str]
    """The digests of the artifacts that those bytes name."""


class SignatureForm(Protocol):
    """One of the ways in which signatures lie in a registry."""

    async def find(self, reference: Reference) -> Sequence[object]:
        """List what may be signatures of an artifact, at most `SIGNATURES_LIMIT`; none is no error.

        Raises:
            ArtifactMalformed, ArtifactAltered: the list cannot be used.
            RegistryUnavailable, RegistryForbidden
        """
        ...

    async def read(self, reference: Reference, entry: object) -> Signature | None:
        """Read one entry of the list, or return None if it turns out to be something else than a signature.

        Raises:
            ArtifactMissing, ArtifactMalformed, ArtifactAltered: this entry cannot be used.
            RegistryUnavailable, RegistryForbidden
        """
        ...


def decoded(text: object, where: str) -> bytes:
    """Read base64.

    Raises:
        ArtifactMalformed: it is none.
    """
    if not isinstance(text, str):
        msg = f"{where} is not a text in base64; {SIGN_AGAIN}"
        raise ArtifactMalformed(msg)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        msg = f"{where} is not base64: {error}; {SIGN_AGAIN}"
        raise ArtifactMalformed(msg) from error


def small_blob(descriptor: object, media_type: str, where: str) -> Blob:
    """Read the descriptor of a signed payload or a bundle.

    Raises:
        ArtifactMalformed: it is of another type, or too large.
    """
    match descriptor:
        case {"mediaType": found, "digest": str(digest), "size": int(size)} if (
            found == media_type and is_digest(digest) and 0 < size <= SIGNATURE_LIMIT_BYTES
        ):
            return Blob(ContentDigest(digest), size, media_type)
        case _:
            msg = f"{where} has a layer that is no {media_type} of at most {SIGNATURE_LIMIT_BYTES} bytes; {SIGN_AGAIN}"
            raise ArtifactMalformed(msg)


async def content_of(registry: Registry, repository: Repository, blob: Blob) -> bytes:
    """Read a whole blob that `small_blob` has described.

    Raises:
        ArtifactMissing, ArtifactAltered, ArtifactMalformed, RegistryForbidden, RegistryUnavailable
    """
    async with aclosing(registry.open_blob(repository, blob)) as chunks:
        return b"".join([chunk async for chunk in chunks])
