"""The page for authors of ESP32 firmware: its conversation with a bridge, as it stands, and its partition table."""

import asyncio
import csv
import hashlib
from pathlib import Path

import aiohttp

from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.bridge.tokens import target_token
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from backstay.simulate.partitions import LAYOUT
from tests.cluster.conftest import ROOT
from tests.cluster.guide_shell import GuideShell
from tests.cluster.test_bridge import edge_device, running_bridge
from tests.cluster.test_simulated_esp32 import NAME, make_ready, order, pushed
from tests.guides import blocks

GUIDE = (ROOT / "docs" / "how-to" / "connect-an-esp32.md").read_text()
OLD = f"sha256:{hashlib.sha256(b'the factory').hexdigest()}"


async def until_offered(bridge: str, namespace: str, key: bytes) -> None:
    """The guide's reader polls when there is something to do."""
    headers = {"Authorization": f"TargetToken {target_token(key, NAME, 1)}"}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.timeout(20):
        while True:
            async with session.get(f"{bridge}/{namespace}/controller/v1/{NAME}") as response:
                if "deploymentBase" in await response.text():
                    return
            await asyncio.sleep(0.1)


async def test_conversation_of_the_guide_ends_a_step_as_confirmed(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    key = await make_ready(sandbox, kube, namespace)
    payload = tmp_path / "model"
    payload.write_bytes(f"a model of {namespace}".encode())
    model = await pushed(sandbox, Plane.MODEL, "1.1.0", payload)
    await edge_device(kube, namespace, NAME)
    await order(kube, namespace, 1, Plane.MODEL, model)
    async with running_bridge(sandbox, namespace, tmp_path) as bridge:
        await until_offered(bridge.url, namespace, key)
        given = f"KEY={key.decode()} BRIDGE={bridge.url} RUNNING={OLD}; cd {tmp_path}"
        await GuideShell(sandbox, namespace, tmp_path).run("\n".join([given, *blocks(GUIDE, "sh")]))
    found = (await kube.get(EDGE_DEVICES, NAME, namespace))["status"]["planes"]["model"]
    assert (found["state"], found["running"], found["fallback"]) == ("Confirmed", model.content, OLD)


def test_partitions_of_the_guide_are_those_of_the_simulated_device() -> None:
    (table,) = blocks(GUIDE, "csv")
    shown = [[cell.strip() for cell in row] for row in csv.reader(table.splitlines()) if not row[0].startswith("#")]
    assert [(name, int(offset, 0), int(size, 0)) for name, _, _, offset, size in shown] == [
        (one.label, one.offset, one.size) for one in LAYOUT
    ]
