"""Signatures in cosign's older form: the tag `sha256-<hex>.sig` beside the artifact, with a layer for each of them.

Source: https://github.com/sigstore/cosign/blob/v2.6.5/specs/SIGNATURE_SPEC.md
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from backstay.adapters.oci.manifest import is_digest, parsed
from backstay.adapters.oci.signature import SIGN_AGAIN, SIGNATURES_LIMIT, Signature, content_of, decoded, small_blob
from backstay.adapters.oci.transport import Transport
from backstay.ports.registry import ArtifactMalformed, ArtifactMissing, Reference, Registry

SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"


class TagForm:
    """Reads the tag; fulfils `backstay.adapters.oci.signature.SignatureForm`."""

    def __init__(self, transport: Transport, registry: Registry) -> None:
        """Find the tag by `transport`, and read the signed payloads by `registry`."""
        self._transport = transport
        self._registry = registry

    async def find(self, reference: Reference) -> Sequence[object]:
        """List the layers of the tag."""
        try:
            data = await self._transport.manifest(reference.repository, _tag(reference))
        except ArtifactMissing:
            return ()
        layers = parsed(data, _where(reference), SIGN_AGAIN).get("layers")
        if not isinstance(layers, list) or len(layers) > SIGNATURES_LIMIT:
            msg = f"{_where(reference)} is not a list of at most {SIGNATURES_LIMIT} signatures; {SIGN_AGAIN}"
            raise ArtifactMalformed(msg)
        return layers

    async def read(self, reference: Reference, entry: object) -> Signature:
        """Read the payload that a layer names, and the signature that stands in the layer's annotations."""
        where = _where(reference)
        blob = small_blob(entry, SIMPLE_SIGNING, where)
        value = _value(entry, where)
        payload = await content_of(self._registry, reference.repository, blob)
        return Signature(value, hashlib.sha256(payload).digest(), _about(payload, where))


def _tag(reference: Reference) -> str:
    return f"{reference.digest.replace(':', '-')}.sig"


def _where(reference: Reference) -> str:
    return f"the signature {reference.repository}:{_tag(reference)}"


def _value(layer: object, where: str) -> bytes:
    match layer:
        case {"annotations": {"dev.cosignproject.cosign/signature": text}}:
            return decoded(text, where)
        case _:
            msg = f"{where} has a layer without a signature in its annotations; {SIGN_AGAIN}"
            raise ArtifactMalformed(msg)


def _about(payload: bytes, where: str) -> frozenset[str]:
    match parsed(payload, f"the payload of {where}", SIGN_AGAIN):
        case {
            "critical": {"type": "cosign container image signature", "image": {"docker-manifest-digest": str(digest)}}
        } if is_digest(digest):
            return frozenset({digest})
        case _:
            # Somebody may have signed it, but not as the signature of an artifact.
            return frozenset()
