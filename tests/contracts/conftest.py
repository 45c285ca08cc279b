"""What the contract suites run against."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.contracts.cosign import referrers_registry_in
from tests.contracts.docker_registry import DockerRegistry, docker_registry_in
from tests.contracts.real_alertmanager import People, people


@pytest.fixture(scope="session")
def docker_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry_in(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="session")
def referrers_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with referrers_registry_in(tmp_path_factory.mktemp("referrers-registry")) as host:
        yield host


@pytest.fixture
async def desk() -> AsyncIterator[People]:
    async with people() as found:
        yield found
