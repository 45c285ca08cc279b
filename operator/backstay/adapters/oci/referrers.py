"""What refers to an artifact in its registry: asked of the registry, or read from the tag that stands in for that.

Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md ("Listing Referrers")
"""

from typing import Final

from backstay.adapters.oci.manifest import Json, parsed
from backstay.adapters.oci.transport import Transport
from backstay.ports.registry import ArtifactMalformed, ArtifactMissing, Reference

PAGES_LIMIT: Final = 16


async def referrers(transport: Transport, reference: Reference) -> list[Json]:
    """The descriptors of all manifests that refer to this one, as the registry lists them: nothing of it is verified.

    Raises:
        ArtifactMalformed: the list is none, or goes on for too long.
        RegistryUnavailable, RegistryForbidden
    """
    page = await transport.referrers(reference.repository, reference.digest)
    if page is None:
        return await _referrers_by_tag(transport, reference)
    found = _descriptors(page.data, reference)
    for _ in range(PAGES_LIMIT - 1):
        if page is None or page.following is None:
            return found
        page = await transport.referrers(reference.repository, reference.digest, page.following)
        found += _descriptors(page.data, reference) if page else []
    if page is None or page.following is None:
        return found
    msg = f"the list of what refers to {reference} has more than {PAGES_LIMIT} pages; delete what nobody needs"
    raise ArtifactMalformed(msg)


async def _referrers_by_tag(transport: Transport, reference: Reference) -> list[Json]:
    try:
        index = await transport.manifest(reference.repository, reference.digest.replace(":", "-"))
    except ArtifactMissing:
        return []
    return _descriptors(index, reference)


def _descriptors(index: bytes, reference: Reference) -> list[Json]:
    where = f"the list of what refers to {reference}"
    listed = parsed(index, where, "ask who runs the registry").get("manifests")
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        msg = f"{where} is not an index of manifests; ask who runs the registry"
        raise ArtifactMalformed(msg)
    return listed
