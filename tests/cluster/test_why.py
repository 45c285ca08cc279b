"""`backstay why` against a live cluster, with the rights of whoever asks."""

import asyncio
from pathlib import Path

from backstay.adapters.kube.client import HOLDS, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import (
    BACKSTAY,
    Devices,
    applied,
    cameras,
    obeying,
    plan,
    push,
    ring,
    running_operator,
)


async def why(sandbox: Sandbox, namespace: str, name: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        BACKSTAY, "why", name, "-n", namespace, "--kubeconfig", str(sandbox.kubeconfig),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_why_tells_of_a_plan_and_its_devices_what_they_wait_for(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    fleet = Devices(kube, namespace)
    await cameras(kube, namespace)
    await fleet.create(*(f"cam-{number}" for number in range(6)), kind="camera")
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    rings = [ring("canary", size=1), ring("everyone", size="100%", approval="Manual")]
    async with obeying(fleet), running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, rings=rings))
        await vision.until(lambda found: (found.get("summary") or {}).get("health") == "WaitingForApproval")
        hold = {
            "apiVersion": "backstay.dev/v1alpha1",
            "kind": "Hold",
            "metadata": {"name": "stop"},
            "spec": {"reason": "incident 7", "scope": {"selector": {}}},
        }
        await kube.create(HOLDS, hold, namespace)
        status, of_plan = await why(sandbox, namespace, "vision")
        (canary,) = {name for name, *_ in fleet.orders}
        waiting = next(name for name in sorted(await fleet.running(Plane.MODEL)) if name != canary)
        _, of_canary = await why(sandbox, namespace, canary)
        _, of_waiting = await why(sandbox, namespace, waiting)
        missing, words = await why(sandbox, namespace, "nobody")
    assert status == 0, of_plan
    assert "is Soaking, ring canary" in of_plan
    assert "ring everyone waits for approval" in of_plan
    assert "hold stop: incident 7" in of_plan
    assert "confirmed: it runs what the plan asks for" in of_canary
    assert "the rollout has only reached ring canary" in of_waiting
    assert "hold stop stops it: incident 7" in of_waiting
    assert missing == 1
    assert "neither a ReleasePlan nor an EdgeDevice called nobody" in words
