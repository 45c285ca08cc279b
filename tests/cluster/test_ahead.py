"""`backstay plan` against a live cluster: the same rings as the operator makes of it afterwards."""

import asyncio
import json
from pathlib import Path

import yaml

from backstay.adapters.kube.client import KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import BACKSTAY, Devices, applied, cameras, obeying, plan, push, running_operator


async def test_plan_foresees_the_rings_that_the_operator_makes(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    fleet = Devices(kube, namespace)
    await cameras(kube, namespace)
    await fleet.create(*(f"cam-{number}" for number in range(6)), kind="camera")
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    document = plan("vision", model)
    document["metadata"]["namespace"] = namespace
    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(document))
    process = await asyncio.create_subprocess_exec(
        BACKSTAY, "plan", str(file), "--kubeconfig", str(sandbox.kubeconfig), "-o", "json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, problem = await process.communicate()
    assert process.returncode == 0, problem.decode()
    foreseen = json.loads(said)
    assert [(ring["name"], ring["devices"]) for ring in foreseen["rings"]] == [("canary", 1), ("everyone", 5)]
    assert foreseen["paths"][0]["steps"] == "model 0.9.0 → 1.0.0"
    async with obeying(fleet), running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, document)
        await vision.reaches("Succeeded")
    first, *_ = fleet.orders
    assert foreseen["rings"][0]["first"] == [first[0]]
