"""A simulated ESP32 against the real bridge, API server and registry: what it reports is what its flash holds."""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from backstay.adapters.kube.client import EDGE_DEVICES, SECRETS, KubeClient
from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.bridge.tokens import target_token
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription, Repository
from backstay.sandbox import Sandbox
from backstay.simulate.chips import open_chip
from backstay.simulate.ddi import DdiClient
from backstay.simulate.esp32 import Esp32
from backstay.simulate.image import Behaviour, digest_of
from tests.cluster.test_bridge import GATEWAY, ROOT, Process, edge_device, running_bridge, until_status
from tests.simulate.workbench import FACTORY, digits, image, model

NAME = "cam-1"
PROBES = [
    {"name": "agent", "kind": "AgentConnected"},
    {"name": "camera", "kind": "InputPresent", "input": "camera0"},
    {"name": "replay", "kind": "SampleReplay", "minAgreement": "90%"},
]


async def make_ready(sandbox: Sandbox, kube: KubeClient, namespace: str) -> bytes:
    """Make a namespace ready for a bridge; gives the tenant's key."""
    key = secrets.token_hex(32).encode()
    data = {"key": base64.b64encode(key).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backstay-tenant-key"}, "data": data}
    await kube.create(SECRETS, secret, namespace)
    text = (ROOT / "manifests/tenant/bridge-rbac.yaml").read_text()
    await sandbox.apply(text.replace("TENANT", namespace).replace("GATEWAY", GATEWAY))
    return key


@pytest.fixture
async def key(sandbox: Sandbox, kube: KubeClient, namespace: str) -> bytes:
    return await make_ready(sandbox, kube, namespace)


@asynccontextmanager
async def powered(bridge: Process, namespace: str, key: bytes, directory: Path) -> AsyncIterator[Esp32]:
    async with aiohttp.ClientSession() as session:
        base = URL(bridge.url) / namespace / "controller" / "v1" / NAME
        client = DdiClient(session, base, target_token(key, NAME, 1))
        device = Esp32(NAME, open_chip(directory / f"{NAME}.flash", FACTORY), client, digits(), watchdog_seconds=1)
        task = asyncio.create_task(device.run())
        try:
            yield device
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def pushed(sandbox: Sandbox, plane: Plane, version: str, payload: Path) -> ArtifactDescription:
    async with aiohttp.ClientSession() as session:
        registry = OciRegistry(Transport(session))
        repository = Repository.parse(f"{sandbox.registry}/simulated/{plane}")
        return await push_artifact(registry, repository, NewArtifact(plane, version, "esp32", payload, {}))


async def order(
    kube: KubeClient,
    namespace: str,
    number: int,
    plane: Plane,
    what: ArtifactDescription,
    kind: str = "Install",
    window: str = "20s",
) -> None:
    now = datetime.now(UTC)
    assignment = {"plan": "vision", "revision": "3f9c2a1b-2", "ring": "canary", "version": what.version}
    desired: dict[str, Any] = {
        str(plane): assignment | {"artifact": str(what.reference), "content": what.content},
        "step": {"number": number, "plane": str(plane), "type": kind, "issued": now.isoformat()},
        "probes": PROBES,
        "window": window,
        "expires": (now + timedelta(minutes=10)).isoformat(),
    }
    await kube.merge_patch(EDGE_DEVICES, NAME, {"spec": {"desired": desired}}, namespace)


async def answered(kube: KubeClient, namespace: str, plane: Plane, number: int) -> dict[str, Any]:
    def over(status: dict[str, Any]) -> bool:
        found = status.get("planes", {}).get(str(plane), {})
        return found.get("step") == number and found["state"] in ("Confirmed", "RolledBack", "Failed")

    status = await until_status(kube, namespace, NAME, 40, over)
    return dict(status["planes"][str(plane)])


async def test_device_installs_returns_and_falls_back_over_the_real_bridge(
    sandbox: Sandbox, kube: KubeClient, namespace: str, key: bytes, tmp_path: Path
) -> None:
    (tmp_path / "good.bin").write_bytes(image("1.1.0"))
    (tmp_path / "hangs.bin").write_bytes(image("1.2.0", Behaviour.HANGS))
    (tmp_path / "model.bsm").write_bytes(model(2))
    good = await pushed(sandbox, Plane.FIRMWARE, "1.1.0", tmp_path / "good.bin")
    hangs = await pushed(sandbox, Plane.FIRMWARE, "1.2.0", tmp_path / "hangs.bin")
    better = await pushed(sandbox, Plane.MODEL, "1.1.0", tmp_path / "model.bsm")
    await edge_device(kube, namespace, NAME)
    async with running_bridge(sandbox, namespace, tmp_path) as bridge, powered(bridge, namespace, key, tmp_path):
        await order(kube, namespace, 1, Plane.FIRMWARE, good)
        found = await answered(kube, namespace, Plane.FIRMWARE, 1)
        assert (found["state"], found["running"]) == ("Confirmed", good.content)
        assert found["fallback"] == digest_of(image("1.0.0"))

        await order(kube, namespace, 2, Plane.MODEL, better)
        assert (await answered(kube, namespace, Plane.MODEL, 2))["running"] == better.content

        await order(kube, namespace, 3, Plane.FIRMWARE, hangs)
        found = await answered(kube, namespace, Plane.FIRMWARE, 3)
        assert (found["state"], found["reason"], found["running"]) == ("RolledBack", "Watchdog", good.content)

        await order(kube, namespace, 4, Plane.MODEL, better, kind="Return")
        found = await answered(kube, namespace, Plane.MODEL, 4)
        assert (found["state"], found["running"]) == ("Confirmed", better.content)
