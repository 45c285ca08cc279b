"""Signatures in cosign's newer form: bundles in manifests that refer to the artifact.

Source: https://github.com/sigstore/cosign/blob/v2.6.5/specs/BUNDLE_SPEC.md
"""

from collections.abc import Sequence
from typing import Final

from backstay.adapters.oci.bundle import BUNDLE, SIGNED_BY_COSIGN, signature_in
from backstay.adapters.oci.manifest import Json, checked, is_digest
from backstay.adapters.oci.media_types import OCI_EMPTY
from backstay.adapters.oci.referrers import referrers
from backstay.adapters.oci.signature import SIGN_AGAIN, SIGNATURES_LIMIT, Signature, content_of, small_blob
from backstay.adapters.oci.transport import Transport
from backstay.ports.registry import ArtifactMalformed, Blob, ManifestDigest, Reference, Registry

# Registries and clients that do not know `artifactType` list a manifest by the type of its config, the empty one.
POSSIBLE_TYPES: Final = (BUNDLE, OCI_EMPTY, "", None)
PREDICATE: Final = "dev.sigstore.bundle.predicateType"


class BundleForm:
    """Reads bundles; fulfils `backstay.adapters.oci.signature.SignatureForm`."""

    def __init__(self, transport: Transport, registry: Registry) -> None:
        """Find manifests by `transport`, and read the bundles by `registry`."""
        self._transport = transport
        self._registry = registry

    async def find(self, reference: Reference) -> Sequence[object]:
        """List the referring manifests that may hold the bundle of a signature."""
        listed = await referrers(self._transport, reference)
        possible = [
            entry for entry in listed if entry.get("artifactType") in POSSIBLE_TYPES and not _attests_otherwise(entry)
        ]
        if len(possible) > SIGNATURES_LIMIT:
            msg = f"{reference} has {len(possible)} bundles, more than {SIGNATURES_LIMIT}; delete what nobody needs"
            raise ArtifactMalformed(msg)
        return possible

    async def read(self, reference: Reference, entry: object) -> Signature | None:
        """Read the one bundle of a manifest, or return None if the manifest is for something else."""
        # Which subject the manifest names is not asked: what counts is what the signed statement names.
        named = Reference(reference.repository, _digest(entry, reference))
        manifest = checked(await self._transport.manifest(named.repository, named.digest), named)
        if manifest.get("artifactType") != BUNDLE or _attests_otherwise(manifest):
            return None
        bundle = await content_of(self._registry, named.repository, _layer(manifest, named))
        return signature_in(bundle, f"the bundle {named}")


def _attests_otherwise(described: Json) -> bool:
    """Whether an annotation says that the bundle is no signature; the statement itself is asked again."""
    annotations = described.get("annotations")
    return isinstance(annotations, dict) and annotations.get(PREDICATE, SIGNED_BY_COSIGN) != SIGNED_BY_COSIGN


def _digest(entry: object, reference: Reference) -> ManifestDigest:
    match entry:
        case {"digest": str(digest)} if is_digest(digest):
            return ManifestDigest(digest)
        case _:
            msg = f"the list of what refers to {reference} has an entry without a digest; ask who runs the registry"
            raise ArtifactMalformed(msg)


def _layer(manifest: Json, reference: Reference) -> Blob:
    match manifest:
        case {"layers": [layer]}:
            return small_blob(layer, BUNDLE, str(reference))
        case _:
            msg = f"{reference} does not hold just one bundle; {SIGN_AGAIN}"
            raise ArtifactMalformed(msg)
