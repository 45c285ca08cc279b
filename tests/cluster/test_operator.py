"""The operator against the real API server, registry, Prometheus and Alertmanager, with its own least-privilege identity."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backstay.adapters.kube.client import RELEASE_PLANS, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import Devices, Plan, cameras, obeying, plan, push, running_operator


@pytest.fixture
async def fleet(kube: KubeClient, namespace: str) -> AsyncIterator[Devices]:
    devices = Devices(kube, namespace)
    await cameras(kube, namespace)
    await devices.create(*(f"cam-{number}" for number in range(6)), kind="camera")
    async with obeying(devices):
        yield devices


async def applied(kube: KubeClient, namespace: str, document: dict[str, object]) -> Plan:
    await kube.create(RELEASE_PLANS, document, namespace)
    return Plan(kube, namespace, str(document["metadata"]["name"]))  # type: ignore[index]


async def test_operator_rolls_a_plan_out_when_devices_confirm(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    config = await push(sandbox, tmp_path, Plane.CONFIG, "1.0.0", model=">=1.0.0")
    async with running_operator(sandbox, tmp_path) as operator:
        vision = await applied(kube, namespace, plan("vision", model, config))
        status = await vision.reaches("Succeeded")
        print(operator.said)
        print(await sandbox.kubectl("get", "rp,dg,hold,ed", "-n", namespace))
        print(await sandbox.kubectl("describe", "rp", "-n", namespace))
    assert set((await fleet.running(Plane.MODEL)).values()) == {model.content}
    assert set((await fleet.running(Plane.CONFIG)).values()) == {config.content}
    assert status["summary"]["confirmed"] == "6/6"
    assert fleet.most_in_flight <= 3
