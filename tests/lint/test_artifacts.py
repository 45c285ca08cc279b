"""`lint --registry` at a real registry."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.public_keys import load_keys
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.adapters.oci.verify import NoKeysVerifier, verifier_with
from backstay.core.planes import Plane
from backstay.lint.artifacts import Asked, look_at_artifacts
from backstay.lint.checking import check
from backstay.ports.registry import Repository
from backstay.ports.verify import Verifier
from tests.contracts.docker_registry import docker_registry_in
from tests.lint.manifests import GROUP, NOW, PLAN, RULE


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry_in(tmp_path_factory.mktemp("registry")) as docker:
        yield docker.host


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with aiohttp.ClientSession() as session:
        yield Transport(session)


class Desk:
    """Pushes artifacts, and asks about plans that name them."""

    def __init__(self, transport: Transport, host: str, directory: Path) -> None:
        self._registry = OciRegistry(transport)
        self._host = host
        self._directory = directory
        self.verifier: Verifier = NoKeysVerifier()

    async def push(self, plane: Plane, version: str, needs: Mapping[str, str] | None = None) -> str:
        payload = self._directory / f"{plane}-{version}"
        payload.write_text(f"{plane} {version}")
        schema = None
        if plane is Plane.CONFIG:
            payload.write_text("{}")
            (schema := self._directory / "schema").write_text("{}")
        artifact = NewArtifact(plane, version, "rk3566", payload, dict(needs or {}), schema)
        described = await push_artifact(self._registry, Repository.parse(f"{self._host}/vision/{plane}"), artifact)
        return str(described.reference)

    async def said_of(
        self, versions: Mapping[str, tuple[str, str]], classes: tuple[str, ...] = ("esp32", "rk3566")
    ) -> list[str]:
        lines = "\n".join(f'    {p}: {{version: {v}, artifact: "{a}"}}' for p, (v, a) in versions.items())
        plan = "\n".join(lines if line.startswith("    model:") else line for line in PLAN.splitlines())
        report = check([("f.yaml", "---\n".join((GROUP, RULE, f"{plan}\n")))], NOW)
        assert not report.findings
        await look_at_artifacts(report.objects, Asked(self._registry, self.verifier, classes))
        return [str(found).partition(": ")[2] for found in report.findings]


@pytest.fixture
def desk(transport: Transport, host: str, tmp_path: Path) -> Desk:
    return Desk(transport, host, tmp_path)


async def test_artifact_that_is_what_the_plan_says_is_right(desk: Desk) -> None:
    assert await desk.said_of({"model": ("7.2.0", await desk.push(Plane.MODEL, "7.2.0"))}) == []


async def test_artifact_that_is_something_else_is_an_error(desk: Desk) -> None:
    model = await desk.push(Plane.MODEL, "7.2.0")
    assert await desk.said_of({"model": ("7.3.0", model)}) == [
        "error: spec.versions.model.version: ArtifactMismatch: the artifact is version 7.2.0"
    ]
    config = await desk.push(Plane.CONFIG, "1.0.0")
    (said,) = await desk.said_of({"model": ("7.2.0", model), "firmware": ("1.0.0", config)})
    assert said == "error: spec.versions.firmware.artifact: ArtifactMismatch: it is a config, not a firmware"


async def test_artifact_that_is_not_there_or_for_another_class_is_an_error(desk: Desk) -> None:
    model = await desk.push(Plane.MODEL, "7.2.0")
    (said,) = await desk.said_of({"model": ("7.2.0", f"{model[:-64]}{'f' * 64}")})
    assert said.startswith("error: spec.versions.model.artifact: ArtifactUnresolved: ")


async def test_registry_that_does_not_answer_is_a_warning(desk: Desk, unused_tcp_port: int) -> None:
    (said,) = await desk.said_of({"model": ("7.2.0", f"127.0.0.1:{unused_tcp_port}/model@sha256:{'a' * 64}")})
    assert said.startswith("warning: spec.versions.model.artifact: the registry could not be asked: ")


async def test_requirements_that_travel_in_artifacts_are_looked_at(desk: Desk) -> None:
    firmware = await desk.push(Plane.FIRMWARE, "2.0.0")
    model = await desk.push(Plane.MODEL, "7.4.0", {"firmware": ">=2.2.0"})
    (said,) = await desk.said_of({"firmware": ("2.0.0", firmware), "model": ("7.4.0", model)})
    assert said.startswith("error: spec.versions.model: the artifacts contradict each other: model 7.4.0 requires")
    assert said.endswith("firmware >=2.2.0, and beside it comes 2.0.0")


async def test_artifact_that_nobody_signed_is_an_error_where_keys_are_given(
    desk: Desk, transport: Transport, tmp_path: Path
) -> None:
    command = ("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "key")
    await (await asyncio.create_subprocess_exec(*command)).wait()
    (tmp_path / "keys").mkdir()
    public = ("openssl", "ec", "-in", tmp_path / "key", "-pubout", "-out", tmp_path / "keys" / "release.pub")
    await (await asyncio.create_subprocess_exec(*public, stderr=asyncio.subprocess.DEVNULL)).wait()
    desk.verifier = verifier_with(load_keys(tmp_path / "keys"), transport, desk._registry)
    (said,) = await desk.said_of({"model": ("7.2.0", await desk.push(Plane.MODEL, "7.2.0"))})
    assert said.startswith("error: spec.versions.model.artifact: NotVerified: ")
