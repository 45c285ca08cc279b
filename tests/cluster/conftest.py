"""One sandbox for all the tests of this directory: a real API server, Prometheus, Alertmanager and registry."""

import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from backstay.adapters.kube.client import KubeClient, Resource
from backstay.sandbox import Sandbox
from backstay.sandbox.state import State
from tests.cluster.operator_stage import Devices, cameras, obeying

ROOT = Path(__file__).parents[2]
KEPT = 5
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    """The sandbox, with our CRDs and RBAC applied; its logs stay in build/cluster."""
    directory = ROOT / "build" / "cluster" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    _forget_old_runs(directory.parent)
    async with Sandbox.start(directory) as sandbox:
        await apply_ours(sandbox)
        yield sandbox


async def apply_ours(sandbox: Sandbox) -> None:
    """Apply our CRDs and, once the API server serves them, what the manifests say of the whole cluster."""
    await sandbox.apply(ROOT / "crds")
    await sandbox.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))
    for manifest in sorted(ROOT.glob("manifests/*.yaml")):
        await sandbox.apply(manifest)


@pytest.fixture
async def kube(sandbox: Sandbox) -> AsyncIterator[KubeClient]:
    """A client of the API server as the administrator."""
    async with KubeClient.connect(sandbox.kubeconfig) as client:
        yield client


@pytest.fixture
async def namespace(kube: KubeClient) -> AsyncIterator[str]:
    """A namespace of this test's own; it goes in the background."""
    name = f"test-{secrets.token_hex(4)}"
    await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await kube.delete(NAMESPACES, name)


@pytest.fixture
async def fleet(kube: KubeClient, namespace: str) -> AsyncIterator[Devices]:
    """Six cameras that obey a test, in the group `cameras`."""
    devices = Devices(kube, namespace)
    await cameras(kube, namespace)
    await devices.create(*(f"cam-{number}" for number in range(6)), kind="camera")
    async with obeying(devices):
        yield devices


def _forget_old_runs(directory: Path) -> None:
    """Delete all but the last few runs that nothing belongs to any more."""
    if directory.is_dir():
        for run in sorted(directory.iterdir())[:-KEPT]:
            state = State.load(run)
            if state is None or not state.alive():
                shutil.rmtree(run, ignore_errors=True)
