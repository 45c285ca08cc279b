"""Signatures against a real registry, made as `cosign sign --key` makes them in the tag form."""

import base64
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from backstay.adapters.oci.media_types import OCI_MANIFEST
from backstay.adapters.oci.public_keys import load_keys
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.tag_form import SIMPLE_SIGNING
from backstay.adapters.oci.transport import Transport
from backstay.adapters.oci.verify import verifier_with
from backstay.ports.registry import RegistryUnavailable
from backstay.ports.verify import NotConfigured, Unverified, UnverifiedReason, Verdict, Verified
from tests.contracts.artifacts import EMPTY, Sample, descriptor
from tests.contracts.docker_registry import DockerRegistry, put_blob, put_manifest, put_sample

SIGNATURE = "dev.cosignproject.cosign/signature"


class Signer:
    """A key pair, and artifacts in the real registry that it signs."""

    def __init__(self, docker: DockerRegistry, session: aiohttp.ClientSession, keys: Path) -> None:
        self.session, self.keys = session, keys
        self.repository = docker.repository(f"signed/{uuid4().hex}")
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.transport = Transport(session)
        self.registry = OciRegistry(self.transport)

    def trust(self, key: Any = None, name: str = "release.pub") -> None:
        """Install the public half."""
        pem = (key or self.key).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.keys / name).write_bytes(pem)

    async def add(self) -> str:
        """Push an artifact, and return its digest."""
        reference = await put_sample(self.session, self.repository, Sample(uuid4().bytes))
        return reference.partition("@")[2]

    async def sign(self, digest: str, about: str | None = None, **changes: Any) -> None:
        """Push a signature beside `digest`; `about` is what it really signs."""
        payload = json.dumps(
            {
                "critical": {
                    "identity": {"docker-reference": str(self.repository)},
                    "image": {"docker-manifest-digest": about or digest},
                    "type": "cosign container image signature",
                },
                "optional": None,
            }
        ).encode()
        signature = base64.b64encode(self.key.sign(payload, ec.ECDSA(SHA256()))).decode()
        layer = descriptor(payload, SIMPLE_SIGNING) | {"annotations": {SIGNATURE: signature}} | changes
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(EMPTY, OCI_MANIFEST)}
        await put_blob(self.session, self.repository, payload)
        await put_blob(self.session, self.repository, EMPTY)
        data = json.dumps(manifest | {"layers": [layer]}).encode()
        await put_manifest(self.session, self.repository, data, f"{digest.replace(':', '-')}.sig")

    async def verdict(self, digest: str) -> Verdict:
        verifier = verifier_with(load_keys(self.keys), self.transport, self.registry)
        return await verifier.verify(await self.registry.resolve(f"{self.repository}@{digest}", "esp32"))


@pytest.fixture
def signer(docker_registry: DockerRegistry, session: aiohttp.ClientSession, tmp_path: Path) -> Signer:
    return Signer(docker_registry, session, tmp_path)


async def test_verify_accepts_when_a_trusted_key_signed(signer: Signer) -> None:
    signer.trust(ec.generate_private_key(ec.SECP256R1()), "another.pem")
    signer.trust()
    digest = await signer.add()
    await signer.sign(digest)
    assert await signer.verdict(digest) == Verified("release.pub")


async def test_verify_says_so_when_no_keys_are_installed(signer: Signer) -> None:
    verdict = await signer.verdict(await signer.add())
    assert verdict == NotConfigured()
    assert str(verdict) == "no public keys installed; signatures are not checked"


def reason(verdict: Verdict) -> UnverifiedReason:
    assert isinstance(verdict, Unverified)
    return verdict.reason


async def test_verify_refuses_when_nothing_is_signed(signer: Signer) -> None:
    signer.trust()
    verdict = await signer.verdict(await signer.add())
    assert reason(verdict) == "SignatureNotFound"
    assert "cosign sign" in str(verdict)


async def test_verify_refuses_when_a_stranger_signed(signer: Signer) -> None:
    signer.trust(ec.generate_private_key(ec.SECP256R1()))
    digest = await signer.add()
    await signer.sign(digest)
    assert reason(await signer.verdict(digest)) == "SignatureNotTrusted"


async def test_verify_refuses_when_the_signature_is_for_another_artifact(signer: Signer) -> None:
    signer.trust()
    wanted, other = await signer.add(), await signer.add()
    await signer.sign(wanted, about=other)
    assert reason(await signer.verdict(wanted)) == "SignatureOfAnotherArtifact"


@pytest.mark.parametrize(
    "changes",
    [
        {"annotations": {}},
        {"annotations": {SIGNATURE: "!"}},
        {"mediaType": "application/json"},
    ],
)
async def test_verify_refuses_when_the_signature_is_malformed(signer: Signer, changes: dict[str, Any]) -> None:
    signer.trust()
    digest = await signer.add()
    await signer.sign(digest, **changes)
    assert reason(await signer.verdict(digest)) == "SignatureMalformed"


async def test_verify_refuses_when_the_signature_bytes_are_garbage(signer: Signer) -> None:
    signer.trust()
    digest = await signer.add()
    await signer.sign(digest, annotations={SIGNATURE: base64.b64encode(b"garbage").decode()})
    assert reason(await signer.verdict(digest)) == "SignatureNotTrusted"


async def test_verify_gives_no_verdict_when_the_registry_is_away(signer: Signer) -> None:
    signer.trust()
    described = await signer.registry.resolve(f"{signer.repository}@{await signer.add()}", "esp32")
    async with aiohttp.ClientSession() as session:
        transport = Transport(session, answer_timeout_seconds=0.0)
        with pytest.raises(RegistryUnavailable):
            await verifier_with(load_keys(signer.keys), transport, OciRegistry(transport)).verify(described)
