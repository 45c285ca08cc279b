"""A real registry, a session, and a reader with short waits."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from tests.contracts.docker_registry import DockerRegistry, docker_registry_in


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry_in(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def transport(session: aiohttp.ClientSession) -> Transport:
    return Transport(session, answer_timeout_seconds=2.0, silence_timeout_seconds=0.5)


@pytest.fixture
def registry(transport: Transport) -> OciRegistry:
    return OciRegistry(transport)
