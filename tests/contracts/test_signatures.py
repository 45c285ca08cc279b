"""What counts as a signature: both of cosign's forms, made by the real cosign, in registries with and without the
referrers API.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import uuid4

import aiohttp
import pytest

from backstay.adapters.oci.public_keys import load_keys
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.signature import SIGNATURE_LIMIT_BYTES, SIGNATURES_LIMIT
from backstay.adapters.oci.transport import Transport
from backstay.adapters.oci.verify import verifier_with
from backstay.ports.registry import RegistryUnavailable, Repository
from backstay.ports.verify import Unverified, Verdict, Verified
from tests.contracts.artifacts import Sample, descriptor, digest_of, index_of
from tests.contracts.cosign import Cosign
from tests.contracts.docker_registry import DockerRegistry, get, put_manifest, put_sample
from tests.contracts.signatures import BUNDLE, Bundles, Form, Tag

AnyForm = TypeVar("AnyForm", bound=Form)


class Stage(Generic[AnyForm]):
    """A repository in one registry, one form of signatures, and the keys that are installed."""

    def __init__(self, session: aiohttp.ClientSession, repository: Repository, form: AnyForm, keys: Path) -> None:
        self.session, self.repository, self.form, self.keys = session, repository, form, keys

    async def add(self) -> str:
        """Push an artifact, and return its digest."""
        reference = await put_sample(self.session, self.repository, Sample(uuid4().bytes))
        return reference.partition("@")[2]

    async def verdict(self, digest: str) -> Verdict:
        transport = Transport(self.session)
        registry = OciRegistry(transport)
        described = await registry.resolve(f"{self.repository}@{digest}", "esp32")
        return await verifier_with(load_keys(self.keys), transport, registry).verify(described)

    async def refusal(self, digest: str) -> str:
        verdict = await self.verdict(digest)
        assert isinstance(verdict, Unverified), verdict
        assert str(self.repository) in str(verdict)
        return verdict.reason


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    """The signer whose key is installed."""
    return Cosign.with_new_keys(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    return Cosign.with_new_keys(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(params=["referrers-api", "no-referrers-api"])
def repository(request: pytest.FixtureRequest, docker_registry: DockerRegistry, referrers_registry: str) -> Repository:
    host = referrers_registry if request.param == "referrers-api" else docker_registry.host
    return Repository.parse(f"{host}/signed/{uuid4().hex}")


@pytest.fixture
def keys(release: Cosign, tmp_path: Path) -> Path:
    (tmp_path / "release.pub").write_bytes(release.public_key)
    return tmp_path


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture(params=[Tag, Bundles])
def stage(
    request: pytest.FixtureRequest, session: aiohttp.ClientSession, repository: Repository, keys: Path
) -> Stage[Form]:
    return Stage(session, repository, request.param(session, repository), keys)


@pytest.fixture
def bundles(session: aiohttp.ClientSession, repository: Repository, keys: Path) -> Stage[Bundles]:
    """Of the newer form alone."""
    return Stage(session, repository, Bundles(session, repository), keys)


async def test_signature_counts_when_a_trusted_key_made_it(stage: Stage[Form], release: Cosign) -> None:
    digest = await stage.add()
    await stage.form.sign(release, digest)
    assert await stage.verdict(digest) == Verified("release.pub")


async def test_signature_counts_for_every_class_when_it_is_of_an_index(stage: Stage[Form], release: Cosign) -> None:
    samples = [Sample(uuid4().bytes, device_class=name) for name in ("esp32", "rk3566")]
    for sample in samples:
        await put_sample(stage.session, stage.repository, sample)
    digest = await put_manifest(stage.session, stage.repository, index_of(*samples))
    await stage.form.sign(release, digest)
    assert await stage.verdict(digest) == Verified("release.pub")


async def test_signature_counts_when_strangers_signed_too(
    stage: Stage[Form], release: Cosign, stranger: Cosign
) -> None:
    digest = await stage.add()
    for signer in (stranger, release, stranger):
        await stage.form.sign(signer, digest)
    assert await stage.verdict(digest) == Verified("release.pub")


async def test_artifact_is_refused_when_nobody_signed_it(stage: Stage[Form], release: Cosign) -> None:
    await stage.form.sign(release, await stage.add())
    assert await stage.refusal(await stage.add()) == "SignatureNotFound"


async def test_artifact_is_refused_when_only_a_stranger_signed_it(stage: Stage[Form], stranger: Cosign) -> None:
    digest = await stage.add()
    await stage.form.sign(stranger, digest)
    assert await stage.refusal(digest) == "SignatureNotTrusted"


async def test_artifact_is_refused_when_the_signature_is_of_another(stage: Stage[Form], release: Cosign) -> None:
    wanted, other = await stage.add(), await stage.add()
    await stage.form.sign(release, other)
    await stage.form.lay(wanted, await stage.form.take(other))
    assert await stage.refusal(wanted) == "SignatureOfAnotherArtifact"
    assert await stage.verdict(other) == Verified("release.pub")


async def test_artifact_is_refused_when_what_was_signed_is_altered(stage: Stage[Form], release: Cosign) -> None:
    wanted, other = await stage.add(), await stage.add()
    await stage.form.sign(release, other)
    await stage.form.lay(wanted, stage.form.rewrite(await stage.form.take(other), other, wanted))
    assert await stage.refusal(wanted) == "SignatureNotTrusted"


async def test_signature_counts_when_a_copy_lies_beside_the_artifact(stage: Stage[Form], release: Cosign) -> None:
    digest = await stage.add()
    await stage.form.sign(release, digest)
    signature = await stage.form.take(digest)
    await stage.form.lay(digest, signature)
    assert await stage.verdict(digest) == Verified("release.pub")


async def test_no_verdict_is_given_when_the_registry_does_not_answer(stage: Stage[Form], release: Cosign) -> None:
    digest = await stage.add()
    await stage.form.sign(release, digest)
    described = await OciRegistry(Transport(stage.session)).resolve(f"{stage.repository}@{digest}", "esp32")
    transport = Transport(stage.session, answer_timeout_seconds=0.0)
    verifier = verifier_with(load_keys(stage.keys), transport, OciRegistry(transport))
    with pytest.raises(RegistryUnavailable):
        await verifier.verify(described)


async def test_attestation_does_not_count_when_it_says_something_else(bundles: Stage[Bundles], release: Cosign) -> None:
    digest = await bundles.add()
    await release.attest(f"{bundles.repository}@{digest}")
    attestation = await bundles.form.take(digest)
    assert await bundles.refusal(digest) == "SignatureNotFound"
    # Also where nothing but the statement itself tells so.
    await bundles.form.lay(digest, attestation)
    assert await bundles.refusal(digest) == "SignatureNotFound"


async def test_signature_counts_when_it_is_of_the_bytes_of_the_manifest(
    bundles: Stage[Bundles], release: Cosign
) -> None:
    wanted, other = await bundles.add(), await bundles.add()
    signature = await release.sign_bytes(await get(bundles.session, bundles.repository, f"manifests/{wanted}"))
    await bundles.form.lay(other, signature)
    assert await bundles.refusal(other) == "SignatureOfAnotherArtifact"
    await bundles.form.lay(wanted, signature)
    assert await bundles.verdict(wanted) == Verified("release.pub")


async def test_bundles_do_not_count_when_there_are_too_many(bundles: Stage[Bundles], release: Cosign) -> None:
    digest = await bundles.add()
    await bundles.form.sign(release, digest)
    signature = await bundles.form.take(digest)
    for number in range(SIGNATURES_LIMIT - 1):
        await bundles.form.lay(digest, signature, annotations={"number": str(number)})
    assert await bundles.verdict(digest) == Verified("release.pub")
    await bundles.form.lay(digest, signature, annotations={"number": "one too many"})
    assert await bundles.refusal(digest) == "SignatureMalformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": []},
        {"layers": [descriptor(b"{}", BUNDLE), descriptor(b"{}", BUNDLE)]},
        {"layers": [descriptor(b"{}", "text/plain")]},
        {"layers": [descriptor(b"{}", BUNDLE) | {"size": SIGNATURE_LIMIT_BYTES + 1}]},
        {"layers": [descriptor(b"{}", BUNDLE)]},
    ],
)
async def test_bundle_does_not_count_and_hides_no_other_when_it_is_malformed(
    bundles: Stage[Bundles], release: Cosign, changes: dict[str, Any]
) -> None:
    digest = await bundles.add()
    await bundles.form.lay(digest, b"{}", **changes)
    assert await bundles.refusal(digest) == "SignatureMalformed"
    await bundles.form.sign(release, digest)
    assert await bundles.verdict(digest) == Verified("release.pub")


async def test_referring_manifest_is_no_signature_when_it_is_something_else(
    bundles: Stage[Bundles], release: Cosign
) -> None:
    digest = await bundles.add()
    await bundles.form.lay(digest, b"a list of parts", artifactType="application/spdx+json")
    assert await bundles.refusal(digest) == "SignatureNotFound"
    await bundles.form.sign(release, digest)
    assert await bundles.verdict(digest) == Verified("release.pub")


async def test_bundle_does_not_count_when_the_registry_has_altered_it(
    docker_registry: DockerRegistry, session: aiohttp.ClientSession, keys: Path, release: Cosign
) -> None:
    repository = docker_registry.repository(f"signed/{uuid4().hex}")
    stage = Stage(session, repository, Bundles(session, repository), keys)
    digest = await stage.add()
    await stage.form.sign(release, digest)
    blob = docker_registry.blob_file(digest_of(await stage.form.take(digest)))
    blob.write_bytes(blob.read_bytes().replace(b"sig", b"gis"))
    assert await stage.refusal(digest) == "SignatureMalformed"


async def test_listed_bundle_does_not_count_when_it_is_not_there(
    docker_registry: DockerRegistry, session: aiohttp.ClientSession, keys: Path
) -> None:
    # A registry of this age takes only lists of what it holds, so the list is altered where it is stored.
    repository = docker_registry.repository(f"signed/{uuid4().hex}")
    stage = Stage(session, repository, Bundles(session, repository), keys)
    digest = await stage.add()
    await stage.form.lay(digest, b"{}", annotations={"only": uuid4().hex})
    index = await get(session, repository, f"manifests/{digest.replace(':', '-')}")
    stored = docker_registry.blob_file(digest_of(index))
    (listed,) = json.loads(index)["manifests"]
    stored.write_bytes(json.dumps(json.loads(index) | {"manifests": [listed | {"digest": digest_of(b"")}]}).encode())
    assert await stage.refusal(digest) == "SignatureMalformed"
