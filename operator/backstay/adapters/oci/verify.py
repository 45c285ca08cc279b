"""Signatures as cosign makes them with a key pair, in the tag form: `sha256-<hex>.sig` beside the artifact.

The admin's public keys are PEM files in a directory. One trusted signature is enough. Signatures in bundles (as
referrers) are not read: an artifact that has only those counts as unsigned, and is refused where keys are installed.

Source: https://github.com/sigstore/cosign/blob/v2.5.0/specs/SIGNATURE_SPEC.md
"""

import base64
import binascii
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from backstay.adapters.oci.manifest import parsed
from backstay.adapters.oci.transport import Transport
from backstay.core.planes import ContentDigest
from backstay.errors import Refused
from backstay.ports.registry import (
    ArtifactAltered,
    ArtifactDescription,
    ArtifactMalformed,
    ArtifactMissing,
    Blob,
    Reference,
    Registry,
)
from backstay.ports.verify import NotConfigured, Unverified, UnverifiedReason, Verdict, Verified, Verifier

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
PAYLOAD_LIMIT_BYTES: Final = 64 * 1024
SIGNATURES_LIMIT: Final = 32
KEY_SUFFIXES: Final = frozenset({".pem", ".pub"})

Keys = Mapping[str, EllipticCurvePublicKey]


class KeyUnreadable(Refused):
    """A file or directory of public keys cannot be used; starting without it would check less than was asked for."""


def load_keys(directory: Path) -> Keys:
    """Read the public keys (`*.pem`, `*.pub`) of a directory, by file name; blocking, for the start of a process.

    Raises:
        KeyUnreadable: the directory is not there, or a file in it is not an ECDSA public key.
    """
    try:
        files = sorted(path for path in directory.iterdir() if path.suffix in KEY_SUFFIXES)
        return {path.name: _load_key(path, path.read_bytes()) for path in files}
    except OSError as error:
        msg = f"the public keys in {directory} cannot be read: {error}; correct the path or its permissions"
        raise KeyUnreadable(msg) from error


def verifier_with(keys: Keys, transport: Transport, registry: Registry) -> Verifier:
    """The verifier for these keys: without any, the one that says that nothing is checked."""
    return CosignVerifier(keys, transport, registry) if keys else NoKeysVerifier()


class NoKeysVerifier:
    """Checks nothing and says so; fulfils `backstay.ports.verify.Verifier`."""

    async def verify(self, artifact: ArtifactDescription) -> Verdict:  # noqa: ARG002  the port's signature
        """Tell that no key is installed."""
        return NotConfigured()


class CosignVerifier:
    """Accepts what one of the keys signed; fulfils `backstay.ports.verify.Verifier`."""

    def __init__(self, keys: Keys, transport: Transport, registry: Registry) -> None:
        """Trust any of `keys`."""
        self._keys = keys
        self._transport = transport
        self._registry = registry

    async def verify(self, artifact: ArtifactDescription) -> Verdict:
        """Judge the artifact by the digest that the plan names, which covers the manifest of each class."""
        reference = artifact.reference
        seen = 0
        try:
            async with aclosing(self._signatures(reference)) as signatures:
                async for payload, signature in signatures:
                    seen += 1
                    if (key := self._signer(payload, signature)) and _is_about(payload, reference):
                        return Verified(key)
        except ArtifactMissing:
            detail = f"{reference} has no signature: sign it with `cosign sign --key …`"
            return Unverified(UnverifiedReason.SIGNATURE_NOT_FOUND, detail)
        except (ArtifactMalformed, ArtifactAltered) as error:
            return Unverified(UnverifiedReason.SIGNATURE_MALFORMED, f"{reference} cannot be verified: {error}")
        detail = f"{reference} has {seen} signatures, none of it by {', '.join(sorted(self._keys))}"
        return Unverified(UnverifiedReason.SIGNATURE_NOT_TRUSTED, detail)

    async def _signatures(self, reference: Reference) -> AsyncGenerator[tuple[bytes, bytes], None]:
        repository = reference.repository
        name = f"{reference.digest.replace(':', '-')}.sig"
        where = f"the signature {repository}:{name}"
        layers = parsed(await self._transport.manifest(repository, name), where).get("layers")
        if not isinstance(layers, list) or len(layers) > SIGNATURES_LIMIT:
            msg = f"{where} is not a list of at most {SIGNATURES_LIMIT} signatures"
            raise ArtifactMalformed(msg)
        for layer in layers:
            blob, signature = _signature_layer(layer, where)
            async with aclosing(self._registry.open_blob(repository, blob)) as chunks:
                yield b"".join([chunk async for chunk in chunks]), signature

    def _signer(self, payload: bytes, signature: bytes) -> str | None:
        return next((name for name, key in self._keys.items() if _signed(key, payload, signature)), None)


def _load_key(path: Path, pem: bytes) -> EllipticCurvePublicKey:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"{path} is not a public key in PEM form: {error}; export it with `cosign public-key`, or remove the file"
        raise KeyUnreadable(msg) from error
    if not isinstance(key, EllipticCurvePublicKey):
        msg = f"{path} holds a key of another kind than ECDSA, as cosign makes; replace or remove the file"
        raise KeyUnreadable(msg)
    return key


def _signed(key: EllipticCurvePublicKey, payload: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, payload, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _signature_layer(layer: object, where: str) -> tuple[Blob, bytes]:
    match layer:
        case {
            "mediaType": str(media_type),
            "digest": str(digest),
            "size": int(size),
            "annotations": {"dev.cosignproject.cosign/signature": str(text)},
        } if media_type == SIMPLE_SIGNING and 0 < size <= PAYLOAD_LIMIT_BYTES:
            try:
                return Blob(ContentDigest(digest), size, media_type), base64.b64decode(text, validate=True)
            except binascii.Error as error:
                msg = f"{where} is not base64: {error}"
                raise ArtifactMalformed(msg) from error
        case _:
            msg = f"{where} has a layer that is not a simple signing payload of at most {PAYLOAD_LIMIT_BYTES} bytes"
            raise ArtifactMalformed(msg)


def _is_about(payload: bytes, reference: Reference) -> bool:
    match parsed(payload, f"the signed payload of {reference}"):
        case {"critical": {"type": "cosign container image signature", "image": {"docker-manifest-digest": digest}}}:
            return bool(digest == reference.digest)
        case _:
            return False
