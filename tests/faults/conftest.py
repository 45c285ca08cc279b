"""A sandbox of its own for the fault tests: they kill operators in the middle of other people's work."""

import os
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from backstay.adapters.kube.client import KubeClient
from backstay.sandbox import Sandbox
from tests.cluster.conftest import NAMESPACES, ROOT, _forget_old_runs, apply_ours


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    """The sandbox; its logs stay in build/faults."""
    directory = ROOT / "build" / "faults" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    _forget_old_runs(directory.parent)
    async with Sandbox.start(directory) as sandbox:
        await apply_ours(sandbox)
        yield sandbox


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def identity(sandbox: Sandbox) -> Path:
    """The operator's own kubeconfig."""
    return await sandbox.service_account_kubeconfig("backstay-system", "backstay-operator")


@pytest.fixture
async def kube(sandbox: Sandbox) -> AsyncIterator[KubeClient]:
    """A client of the API server as the administrator."""
    async with KubeClient.connect(sandbox.kubeconfig) as client:
        yield client


@pytest.fixture
async def namespaces(kube: KubeClient) -> AsyncIterator[tuple[str, str]]:
    """Two namespaces of this test's own; they go in the background."""
    names = (f"good-{secrets.token_hex(4)}", f"bad-{secrets.token_hex(4)}")
    for name in names:
        await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield names
    for name in names:
        await kube.delete(NAMESPACES, name)
