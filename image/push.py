"""Pushing the image and, as what refers to it, the list of what is inside."""

import asyncio
import json
from collections.abc import Sequence

import aiohttp

from backstay.adapters.oci.manifest import parsed
from backstay.adapters.oci.media_types import OCI_INDEX, OCI_MANIFEST
from backstay.adapters.oci.new_artifact import Part
from backstay.adapters.oci.push import Progress, push_manifest, push_packed
from backstay.adapters.oci.transport import Transport
from backstay.ports.registry import ArtifactMissing, Repository
from image.build import Built, index_of
from image.sbom import MEDIA_TYPE


async def push(images: Sequence[Built], repository: Repository, tag: str, progress: Progress = lambda _: None) -> str:
    """Push the images of all architectures under one tag, and return how a Pod names them, with the digest.

    Raises `PushRefused`, `RegistryForbidden` or `RegistryUnavailable` if the registry does not take them.
    """
    async with aiohttp.ClientSession() as session:
        transport = Transport(session)
        for image in images:
            await asyncio.to_thread(push_packed, repository, image.manifest.digest, image.packed, progress)
            await _push_bill(transport, repository, image, progress)
    index = Part.of(index_of(images), OCI_INDEX)
    await asyncio.to_thread(push_manifest, repository, tag, index)
    return f"{repository}@{index.digest}"


async def _push_bill(transport: Transport, repository: Repository, image: Built, progress: Progress) -> None:
    bill = Part.of(image.bill.manifest, OCI_MANIFEST)
    await asyncio.to_thread(push_packed, repository, bill.digest, image.bill, progress)
    if await transport.referrers(repository, image.manifest.digest) is None:
        await _list_by_tag(transport, repository, image.manifest, bill)


async def _list_by_tag(transport: Transport, repository: Repository, subject: Part, bill: Part) -> None:
    """Tell a registry that does not list by itself what refers to an image; what is listed already stays.

    Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md ("Referrers Tag Schema")
    """
    tag = subject.digest.replace(":", "-")
    try:
        index = parsed(await transport.manifest(repository, tag), f"{repository}:{tag}", "delete this tag")
    except ArtifactMissing:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    others = [entry for entry in index["manifests"] if entry.get("digest") != bill.digest]
    listed = [*others, bill.descriptor() | {"artifactType": MEDIA_TYPE}]
    written = Part.of(json.dumps(index | {"manifests": listed}).encode(), OCI_INDEX)
    await asyncio.to_thread(push_manifest, repository, tag, written)
