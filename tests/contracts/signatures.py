"""Signatures that cosign has made, taken from a registry, altered, and laid beside other artifacts."""

import base64
import json
from typing import Any, Protocol

import aiohttp

from backstay.adapters.oci.media_types import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from backstay.ports.registry import Repository
from tests.contracts.artifacts import EMPTY, Json, descriptor
from tests.contracts.cosign import Cosign
from tests.contracts.docker_registry import get, put_blob, put_manifest

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


class Form(Protocol):
    """One of cosign's forms, in one repository."""

    async def sign(self, cosign: Cosign, digest: str) -> None: ...
    async def take(self, digest: str) -> Any:
        """The one signature of an artifact."""
        ...

    async def lay(self, digest: str, signature: Any) -> None:
        """Lay a signature beside an artifact, whatever it is of."""
        ...

    def rewrite(self, signature: Any, old: str, new: str) -> Any:
        """Let the signed text name another digest, without signing it again."""
        ...


class Tag:
    """`sha256-<hex>.sig`: the signed payload and the descriptor that carries the signature."""

    def __init__(self, session: aiohttp.ClientSession, repository: Repository) -> None:
        self.session, self.repository = session, repository

    async def sign(self, cosign: Cosign, digest: str) -> None:
        await cosign.sign(f"{self.repository}@{digest}", bundle=False)

    async def take(self, digest: str) -> tuple[bytes, Json]:
        manifest = json.loads(await get(self.session, self.repository, f"manifests/{_tag(digest)}.sig"))
        (layer,) = manifest["layers"]
        return await get(self.session, self.repository, f"blobs/{layer['digest']}"), layer

    async def lay(self, digest: str, signature: tuple[bytes, Json]) -> None:
        payload, layer = signature
        for blob in (EMPTY, payload):
            await put_blob(self.session, self.repository, blob)
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(EMPTY, OCI_EMPTY)}
        data = json.dumps(manifest | {"layers": [layer | descriptor(payload, layer["mediaType"])]}).encode()
        await put_manifest(self.session, self.repository, data, f"{_tag(digest)}.sig")

    def rewrite(self, signature: tuple[bytes, Json], old: str, new: str) -> tuple[bytes, Json]:
        payload, layer = signature
        assert old.encode() in payload
        return payload.replace(old.encode(), new.encode()), layer


class Bundles:
    """A bundle in a manifest that refers to the artifact."""

    def __init__(self, session: aiohttp.ClientSession, repository: Repository) -> None:
        self.session, self.repository = session, repository

    async def sign(self, cosign: Cosign, digest: str) -> None:
        await cosign.sign(f"{self.repository}@{digest}", bundle=True)

    async def take(self, digest: str) -> bytes:
        (entry,) = await self.listed(digest)
        manifest = json.loads(await get(self.session, self.repository, f"manifests/{entry['digest']}"))
        return await get(self.session, self.repository, f"blobs/{manifest['layers'][0]['digest']}")

    async def lay(self, digest: str, signature: bytes, **changes: Any) -> None:
        for blob in (EMPTY, signature):
            await put_blob(self.session, self.repository, blob)
        subject = await get(self.session, self.repository, f"manifests/{digest}")
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": BUNDLE,
            "config": descriptor(EMPTY, OCI_EMPTY),
            "layers": [descriptor(signature, BUNDLE)],
            "subject": descriptor(subject, OCI_MANIFEST),
        } | changes
        await self.refer(digest, json.dumps(manifest).encode())

    async def refer(self, digest: str, manifest: bytes) -> None:
        """Upload a referring manifest, and list it where the registry does not do so itself."""
        before = await self.listed(digest)
        await put_manifest(self.session, self.repository, manifest)
        if not await self._has_api(digest):
            entries = [*before, descriptor(manifest, OCI_MANIFEST)]
            await self.list_by_tag(digest, entries)

    async def list_by_tag(self, digest: str, entries: list[Json]) -> None:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        await put_manifest(self.session, self.repository, json.dumps(index).encode(), _tag(digest))

    async def listed(self, digest: str) -> list[Json]:
        api = await self._has_api(digest)
        path = f"referrers/{digest}" if api else f"manifests/{_tag(digest)}"
        found = await get(self.session, self.repository, path, missing=b'{"manifests": []}')
        entries: list[Json] = json.loads(found)["manifests"]
        return entries

    async def _has_api(self, digest: str) -> bool:
        return await get(self.session, self.repository, f"referrers/{digest}", missing=b"") != b""

    def rewrite(self, signature: bytes, old: str, new: str) -> bytes:
        bundle = json.loads(signature)
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"])
        old_hex, new_hex = (digest.removeprefix("sha256:").encode() for digest in (old, new))
        assert old_hex in payload
        bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload.replace(old_hex, new_hex)).decode()
        return json.dumps(bundle).encode()


def _tag(digest: str) -> str:
    return digest.replace(":", "-")
