"""What every registry promises: the fake in memory and the real one over HTTP."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Protocol
from uuid import uuid4

import aiohttp
import pytest
from semver import Version

from backstay.adapters.oci.media_types import PLANE, REQUIRES, SAMPLES, VERSION
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.core.needs import Needs, ServedAs
from backstay.core.planes import Plane
from backstay.ports.registry import (
    ArtifactAltered,
    ArtifactMalformed,
    ArtifactMissing,
    BadReference,
    Registry,
    RegistryUnavailable,
    Repository,
)
from tests.contracts.artifacts import Sample, blob_of, index_of
from tests.contracts.docker_registry import DockerRegistry, docker_registry_in, put_manifest, put_sample
from tests.contracts.fake_registry import FakeRegistry

SCHEMA = b'{"type": "object"}'


class Held(Protocol):
    """A registry under test, and what only a test may do to it."""

    registry: Registry
    repository: Repository

    async def add(self, sample: Sample) -> str: ...
    async def put(self, manifest: bytes) -> str: ...
    async def alter(self, digest: str, data: bytes) -> None: ...


class HeldInMemory:
    def __init__(self) -> None:
        self.registry = self.fake = FakeRegistry()
        self.repository = self.fake.repository

    async def add(self, sample: Sample) -> str:
        return self.fake.add(sample)

    async def put(self, manifest: bytes) -> str:
        return f"{self.repository}@{self.fake.put(manifest)}"

    async def alter(self, digest: str, data: bytes) -> None:
        self.fake.alter(digest, data)


class HeldByDocker:
    def __init__(self, docker: DockerRegistry, session: aiohttp.ClientSession) -> None:
        self.registry = OciRegistry(Transport(session))
        self.docker, self.session = docker, session
        # Blobs belong to the whole registry: what one test alters, another must not meet.
        self.repository = docker.repository(f"test/{uuid4().hex}")

    async def add(self, sample: Sample) -> str:
        return await put_sample(self.session, self.repository, sample)

    async def put(self, manifest: bytes) -> str:
        return f"{self.repository}@{await put_manifest(self.session, self.repository, manifest)}"

    async def alter(self, digest: str, data: bytes) -> None:
        self.docker.blob_file(digest).write_bytes(data)


@pytest.fixture(params=["fake", "docker-registry"])
async def held(request: pytest.FixtureRequest, docker_registry: DockerRegistry) -> AsyncIterator[Held]:
    if request.param == "fake":
        yield HeldInMemory()
        return
    async with aiohttp.ClientSession() as session:
        yield HeldByDocker(docker_registry, session)


@pytest.fixture
def sample() -> Sample:
    """An artifact that no other test has."""
    return Sample(payload=uuid4().bytes * 64, requires={"firmware": ">=1.0.0,<2.0.0"})


async def read(registry: Registry, reference: str) -> bytes:
    described = await registry.resolve(reference, "esp32")
    return b"".join([chunk async for chunk in registry.fetch(described)])


async def test_resolve_describes_the_artifact_from_its_manifest(held: Held, sample: Sample) -> None:
    reference = await held.add(sample)
    found = await held.registry.resolve(reference, "esp32")
    assert str(found.reference) == reference
    assert found.manifest == found.reference.digest
    assert (found.plane, found.version, found.device_class) == (Plane.MODEL, "1.2.0", "esp32")
    assert (found.content, found.size_bytes) == (blob_of(sample.payload).digest, len(sample.payload))
    assert [str(need) for need in found.requires] == ["firmware >=1.0.0,<2.0.0"]
    assert found.schema is None
    assert found.release().artifact == reference


async def test_resolve_names_the_schema_when_the_artifact_is_a_config(held: Held) -> None:
    reference = await held.add(Sample(b'{"a": 1}', Plane.CONFIG, schema=SCHEMA))
    found = await held.registry.resolve(reference, "esp32")
    assert found.schema is not None
    assert found.schema.digest == blob_of(SCHEMA).digest
    assert b"".join([chunk async for chunk in held.registry.open_blob(held.repository, found.schema)]) == SCHEMA


async def test_resolve_names_golden_samples_and_what_the_artifact_needs(held: Held, sample: Sample) -> None:
    annotations = {
        "dev.backstay.npu-targets": "rk3566, rk3568",
        "dev.backstay.min-driver": "0.9.6",
        "dev.backstay.min-runtime": "2.3.0",
        "dev.backstay.served-as": "digits/1.2.0",
    }
    reference = await held.add(replace(sample, samples=b'{"samples": []}', annotations=annotations))
    found = await held.registry.resolve(reference, "esp32")
    assert found.samples == blob_of(b'{"samples": []}', SAMPLES)
    assert found.served == ServedAs("digits", "1.2.0")
    assert found.needs == Needs(("rk3566", "rk3568"), Version(0, 9, 6), Version(2, 3, 0))
    assert await read(held.registry, reference) == sample.payload


async def test_fetch_gives_the_payload(held: Held, sample: Sample) -> None:
    assert await read(held.registry, await held.add(sample)) == sample.payload


async def test_resolve_picks_the_class_when_the_reference_names_an_index(held: Held, sample: Sample) -> None:
    other = replace(sample, payload=b"other", device_class="rk3566")
    await held.add(sample)
    await held.add(other)
    reference = await held.put(index_of(sample, other))
    found = await held.registry.resolve(reference, "rk3566")
    assert found.content == blob_of(b"other").digest
    assert str(found.reference) == reference
    assert found.manifest != found.reference.digest
    with pytest.raises(ArtifactMissing, match="it has esp32, rk3566"):
        await held.registry.resolve(reference, "npu9000")


async def test_resolve_refuses_when_the_artifact_is_for_another_class(held: Held, sample: Sample) -> None:
    reference = await held.add(sample)
    with pytest.raises(ArtifactMissing, match="class esp32, not for rk3566"):
        await held.registry.resolve(reference, "rk3566")


async def test_resolve_says_missing_when_nobody_pushed_it(held: Held) -> None:
    with pytest.raises(ArtifactMissing, match="does not hold"):
        await held.registry.resolve(f"{held.repository}@sha256:{'0' * 64}", "esp32")


@pytest.mark.parametrize("reference", ["", "x", "127.0.0.1:5000/x:latest", "127.0.0.1:5000/x@sha256:12", "h/../x"])
async def test_resolve_refuses_when_the_reference_has_no_digest(held: Held, reference: str) -> None:
    with pytest.raises(BadReference, match="digest"):
        await held.registry.resolve(reference, "esp32")


async def test_resolve_refuses_when_the_manifest_was_altered(held: Held, sample: Sample) -> None:
    reference = await held.add(sample)
    altered = sample.manifest.replace(b"1.2.0", b"1.2.1")
    await held.alter(reference.partition("@")[2], altered)
    with pytest.raises(ArtifactAltered):
        await held.registry.resolve(reference, "esp32")


async def test_fetch_refuses_when_one_byte_was_altered(held: Held, sample: Sample) -> None:
    reference = await held.add(sample)
    await held.alter(blob_of(sample.payload).digest, bytes([sample.payload[0] ^ 0xFF]) + sample.payload[1:])
    with pytest.raises(ArtifactAltered, match=blob_of(sample.payload).digest):
        await read(held.registry, reference)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"])
async def test_fetch_refuses_when_the_length_was_altered(held: Held, sample: Sample, change) -> None:
    reference = await held.add(sample)
    await held.alter(blob_of(sample.payload).digest, change(sample.payload))
    with pytest.raises(ArtifactAltered, match=blob_of(sample.payload).digest):
        await read(held.registry, reference)


@pytest.mark.parametrize("offset", [0, 1, 63, 64, 1023, 1024])
async def test_open_blob_gives_the_rest_when_it_starts_inside(held: Held, sample: Sample, offset: int) -> None:
    await held.add(sample)
    chunks = held.registry.open_blob(held.repository, blob_of(sample.payload), offset)
    assert b"".join([chunk async for chunk in chunks]) == sample.payload[offset:]


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (PLANE, "middleware", "none of firmware, model, config"),
        (PLANE, "firmware", "artifactType"),
        (VERSION, "7", "semantic version"),
        (REQUIRES, "[]", "JSON object"),
        (REQUIRES, '{"model": ">=1.0.0"}', "other planes"),
        (REQUIRES, '{"firmware": "newest"}', "comparator"),
        (REQUIRES, '{"firmware": 2}', "not a text"),
        ("dev.backstay.release-number", "-1", "whole number"),
        ("dev.backstay.npu-targets", "rk3566,../..", "'../..' is no NPU target"),
        ("dev.backstay.min-runtime", "2.3", "says wrongly what it needs"),
        ("dev.backstay.form", "toaster", "none of system, pod, unit, program"),
        ("dev.backstay.served-as", "a/b/c", "neither MODEL nor MODEL/VERSION"),
    ],
)
async def test_resolve_refuses_when_an_annotation_is_wrong(
    held: Held, sample: Sample, annotation: str, value: str, message: str
) -> None:
    await held.add(sample)
    document = sample.document
    document["annotations"][annotation] = value
    reference = await held.put(json.dumps(document).encode())
    with pytest.raises(ArtifactMalformed, match=message):
        await held.registry.resolve(reference, "esp32")


@pytest.mark.parametrize(("layers", "message"), [([], "no layer"), ([0, 0], "2 layers")])
async def test_resolve_refuses_when_there_is_not_one_payload(
    held: Held, sample: Sample, layers: list[int], message: str
) -> None:
    await held.add(sample)
    document = sample.document
    document["layers"] = [document["layers"][number] for number in layers]
    reference = await held.put(json.dumps(document).encode())
    with pytest.raises(ArtifactMalformed, match=message):
        await held.registry.resolve(reference, "esp32")


async def test_resolve_says_unavailable_when_the_fake_is_off(sample: Sample) -> None:
    fake = FakeRegistry()
    reference = fake.add(sample)
    fake.online = False
    with pytest.raises(RegistryUnavailable):
        await fake.resolve(reference, "esp32")


async def test_resolve_says_unavailable_when_the_registry_has_died(
    tmp_path_factory: pytest.TempPathFactory, sample: Sample
) -> None:
    with docker_registry_in(tmp_path_factory.mktemp("dying")) as docker:
        async with aiohttp.ClientSession() as session:
            registry = OciRegistry(Transport(session))
            reference = await put_sample(session, docker.repository("test"), sample)
            described = await registry.resolve(reference, "esp32")
            docker.child.kill()
            with pytest.raises(RegistryUnavailable, match=r"check that it runs"):
                await registry.resolve(reference, "esp32")
            with pytest.raises(RegistryUnavailable, match="after byte 0"):
                _ = [chunk async for chunk in registry.fetch(described)]


async def test_blob_is_missing_when_only_the_manifest_is_there(held: Held, sample: Sample) -> None:
    await held.add(sample)
    with pytest.raises(ArtifactMissing):
        _ = [chunk async for chunk in held.registry.open_blob(held.repository, blob_of(b"nobody has this"))]
