"""Pushing: nothing wrong is sent, and what was sent is what comes back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from semver import Version

from backstay.adapters.oci.media_types import OCI_MANIFEST
from backstay.adapters.oci.new_artifact import InputWrong, NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.core.needs import Needs, ServedAs
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactAltered, RegistryForbidden, RegistryUnavailable, Repository
from demo.firmware.build import Behaviour, build_firmware
from tests.contracts.artifacts import blob_of
from tests.contracts.docker_registry import DockerRegistry, docker_registry_in

SCHEMA = {"type": "object", "required": ["threshold"], "properties": {"threshold": {"type": "number", "maximum": 1}}}
# Nobody listens there, so that only what is checked before anything is sent can be what refuses.
NOWHERE = Repository("127.0.0.1:1", "vision/test")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build_firmware("1.0.0", Behaviour.SOUND, tmp_path_factory.mktemp("firmware") / "image.bin").read_bytes()


@pytest.fixture
def config(tmp_path: Path) -> NewArtifact:
    payload, schema = tmp_path / "values.json", tmp_path / "schema.json"
    payload.write_text('{"threshold": 0.5}')
    schema.write_text(json.dumps(SCHEMA))
    return NewArtifact(Plane.CONFIG, "31.0.0", "esp32", payload, {"model": ">=7.0.0"}, schema, release_number=4)


@pytest.fixture
def model(tmp_path: Path) -> NewArtifact:
    payload = tmp_path / "weights"
    payload.write_bytes(b"weights" * 100)
    return NewArtifact(Plane.MODEL, "7.2.0+build.5", "esp32", payload, {"firmware": ">=2.2.0,<3.0.0"})


async def test_push_makes_the_manifest_of_a_model_pack(
    docker_registry: DockerRegistry, transport: Transport, registry: OciRegistry, model: NewArtifact
) -> None:
    repository = docker_registry.repository("vision/deep/er/mo.del")
    steps: list[str] = []
    described = await push_artifact(registry, repository, model, steps.append)
    payload = model.payload.read_bytes()
    assert described.content == blob_of(payload).digest
    assert steps[-1] == "reading it back"
    document = json.loads(await transport.manifest(repository, "7.2.0_build.5-esp32"))
    config = document["config"]
    assert json.loads(docker_registry.blob_file(config["digest"]).read_bytes())["modelfs"]["type"] == "layers"
    assert document == {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.cncf.model.manifest.v1+json",
        "config": config | {"mediaType": "application/vnd.cncf.model.config.v1+json"},
        "layers": [
            {
                "mediaType": "application/vnd.cncf.model.weight.v1.raw",
                "digest": described.content,
                "size": len(payload),
                "annotations": {"org.opencontainers.image.title": "model.bin"},
            }
        ],
        "annotations": {
            "dev.backstay.plane": "model",
            "dev.backstay.version": "7.2.0+build.5",
            "dev.backstay.class": "esp32",
            "dev.backstay.requires": '{"firmware":">=2.2.0,<3.0.0"}',
            "org.opencontainers.image.version": "7.2.0+build.5",
        },
    }


async def test_push_carries_the_schema_of_a_config(
    docker_registry: DockerRegistry, registry: OciRegistry, config: NewArtifact
) -> None:
    described = await push_artifact(registry, docker_registry.repository("vision/config"), config)
    assert config.schema is not None
    assert described.schema is not None
    assert described.schema.digest == blob_of(config.schema.read_bytes()).digest
    assert described.release_number == 4


async def test_push_carries_golden_samples_and_what_a_model_needs(
    docker_registry: DockerRegistry, registry: OciRegistry, model: NewArtifact, tmp_path: Path
) -> None:
    golden = tmp_path / "golden.json"
    tensor = {"name": "pixels", "shape": [1], "datatype": "UINT8", "data": [7]}
    golden.write_text(json.dumps({"samples": [{"inputs": [tensor], "outputs": [{"name": "digit", "data": [7]}]}]}))
    needs = Needs(("rk3566", "rk3568"), Version(0, 9, 6), Version(2, 3, 0))
    served = ServedAs("digits", "7.2.0")
    artifact = replace(model, samples=golden, served=served, needs=needs)
    described = await push_artifact(registry, docker_registry.repository("vision/golden"), artifact)
    assert described.samples is not None
    assert docker_registry.blob_file(described.samples.digest).read_bytes() == golden.read_bytes()
    assert (described.served, described.needs) == (served, needs)
    assert described.content == blob_of(model.payload.read_bytes()).digest, "samples change nothing of the payload"


async def test_push_refuses_golden_samples_that_no_node_could_replay(
    registry: OciRegistry, model: NewArtifact, tmp_path: Path
) -> None:
    golden = tmp_path / "golden.json"
    golden.write_text('{"samples": []}')
    with pytest.raises(InputWrong, match="say under which name it serves the model"):
        await push_artifact(registry, NOWHERE, replace(model, samples=golden))
    with pytest.raises(InputWrong, match=r"golden\.json: there are 0 samples"):
        await push_artifact(registry, NOWHERE, replace(model, samples=golden, served=ServedAs("digits")))


async def test_push_gives_the_same_digest_when_it_is_repeated(
    docker_registry: DockerRegistry, registry: OciRegistry, model: NewArtifact, tmp_path: Path
) -> None:
    repository = docker_registry.repository("vision/model")
    elsewhere = tmp_path / "another-name"
    elsewhere.write_bytes(model.payload.read_bytes())
    first = await push_artifact(registry, repository, model)
    assert await push_artifact(registry, repository, replace(model, payload=elsewhere)) == first


async def test_push_takes_firmware_that_a_bootloader_would_boot(
    docker_registry: DockerRegistry, registry: OciRegistry, tmp_path: Path, image: bytes
) -> None:
    file = tmp_path / "image.bin"
    file.write_bytes(image)
    artifact = NewArtifact(Plane.FIRMWARE, "1.0.0", "esp32", file)
    described = await push_artifact(registry, docker_registry.repository("vision/firmware"), artifact)
    assert described.size_bytes == len(image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: b"\x00" + data[1:], "magic byte"),
        (lambda data: data[:1] + b"\x00" + data[2:], "0 segments"),
        (lambda data: data[:20], "magic byte"),
        (lambda data: data[:1000], "ends inside segment"),
        (lambda data: data[:25], "ends inside the header of segment 0"),
        (lambda data: data[:-33], "ends before its checksum"),
        (lambda data: data[:-32], "hash"),
        (lambda data: data[:0x124] + b"\xff" + data[0x125:], "checksum"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "hash"),
        (lambda data: data[:4] + b"\x01" + data[5:], "hash"),
    ],
)
async def test_push_refuses_firmware_that_no_bootloader_would_boot(
    registry: OciRegistry, tmp_path: Path, image: bytes, change: Any, message: str
) -> None:
    file = tmp_path / "image.bin"
    file.write_bytes(change(image))
    with pytest.raises(InputWrong, match=message):
        await push_artifact(registry, NOWHERE, NewArtifact(Plane.FIRMWARE, "1.0.0", "esp32", file))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ('{"threshold": 2}', r"2 is greater than the maximum of 1 at /threshold"),
        ("{}", "'threshold' is a required property"),
        ("{", "is not JSON"),
    ],
)
async def test_push_refuses_a_config_that_its_schema_refuses(
    registry: OciRegistry, config: NewArtifact, values: str, message: str
) -> None:
    config.payload.write_text(values)
    with pytest.raises(InputWrong, match=message):
        await push_artifact(registry, NOWHERE, config)


async def test_push_refuses_a_schema_that_is_none(registry: OciRegistry, config: NewArtifact) -> None:
    assert config.schema is not None
    config.schema.write_text('{"type": "nonsense"}')
    with pytest.raises(InputWrong, match="is not a JSON Schema"):
        await push_artifact(registry, NOWHERE, config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "7.2"}, "semantic version"),
        ({"requires": {"model": ">=1.0.0"}}, "other planes"),
        ({"requires": {"firmware": "latest"}}, "comparator"),
        ({"release_number": -1}, "below 0"),
        ({"plane": Plane.CONFIG}, "JSON Schema"),
        ({"plane": Plane.FIRMWARE, "requires": {}, "served": ServedAs("digits")}, "only a model has golden samples"),
        ({"needs": Needs(form="pod")}, "a form is of firmware"),
        ({"schema": Path("schema.json")}, "JSON Schema"),
        ({"payload": Path("/nowhere/at/all")}, "is not a file"),
    ],
)
async def test_push_refuses_when_what_is_said_of_it_is_wrong(
    registry: OciRegistry, model: NewArtifact, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputWrong, match=message):
        await push_artifact(registry, NOWHERE, replace(model, **changes))


async def test_push_says_unavailable_at_once_when_nobody_listens(registry: OciRegistry, model: NewArtifact) -> None:
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
        await push_artifact(registry, NOWHERE, model)


async def test_push_names_the_credentials_when_the_registry_wants_some(
    tmp_path_factory: pytest.TempPathFactory, registry: OciRegistry, model: NewArtifact
) -> None:
    htpasswd = tmp_path_factory.mktemp("closed") / "htpasswd"
    htpasswd.write_text("")
    closed = {"htpasswd": {"realm": "test", "path": str(htpasswd)}}
    with (
        docker_registry_in(htpasswd.parent, auth=closed) as docker,
        pytest.raises(RegistryForbidden, match="docker login"),
    ):
        await push_artifact(registry, docker.repository("vision/model"), model)


async def test_push_refuses_when_what_comes_back_was_altered(
    docker_registry: DockerRegistry, registry: OciRegistry, model: NewArtifact
) -> None:
    model.payload.write_bytes(b"only this test has it" * 10)
    repository = docker_registry.repository("vision/model")
    described = await push_artifact(registry, repository, model)
    docker_registry.blob_file(described.content).write_bytes(b"0nly this test has it" * 10)
    with pytest.raises(ArtifactAltered, match="delete it there and push it again"):
        await push_artifact(registry, repository, model)
