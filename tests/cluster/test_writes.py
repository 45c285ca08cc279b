"""What a release costs the API server: real devices behind a real bridge, and its audit log to count by."""

import asyncio
from pathlib import Path

import pytest

from backstay.adapters.kube.client import EDGE_DEVICES, RELEASE_PLANS, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import Plan
from tests.scale.released import PLAN, Tenant, plan, pushed, running
from tests.scale.writes import BEFORE_ANY_STEP, Write, counted, writes_in

DEVICES = 40


async def until_reported(kube: KubeClient, tenant: Tenant) -> None:
    async with asyncio.timeout(60):
        while True:
            items = await kube.list(EDGE_DEVICES, tenant.namespace)
            ready = [
                one for item in items for one in item.get("status", {}).get("conditions", ()) if one["type"] == "Ready"
            ]
            if sum(one["status"] == "True" for one in ready) == tenant.count:
                return
            await asyncio.sleep(0.5)


@pytest.mark.timeout(240)
async def test_release_writes_each_device_once_for_its_order_and_twice_for_its_answers_in_each_step(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    tenant = Tenant(namespace, DEVICES)
    await tenant.prepare(sandbox, kube)
    model, config = await pushed(sandbox, tmp_path)
    async with running(sandbox, tenant, tmp_path, poll_seconds=1, simulators=1, lease_seconds=2):
        await until_reported(kube, tenant)
        await kube.create(RELEASE_PLANS, plan(model, config, soak="1s"), namespace)
        status = await Plan(kube, namespace, PLAN).reaches("Succeeded", 120)
    assert [ring["confirmed"] for ring in status["rings"]] == [3, 1, 36]
    items = await kube.list(EDGE_DEVICES, namespace)
    for plane, artifact in ((Plane.MODEL, model), (Plane.CONFIG, config)):
        assert {item["status"]["planes"][plane]["running"] for item in items} == {artifact.content}

    assert sandbox.audit_log is not None
    counts = counted(writes_in(sandbox.audit_log, namespace))
    assert counts.excess(steps=2) == []
    assert counts.spec == dict.fromkeys(tenant.names, 2)
    assert {item["spec"]["desired"]["step"]["number"] for item in items} == {2}
    assert max(counts.in_step(BEFORE_ANY_STEP)) <= 2


def test_count_of_writes_tells_which_device_had_too_many_and_in_which_step() -> None:
    order, said = Write("cam-1", to_status=False), Write("cam-1", to_status=True)
    lost = Write("cam-1", to_status=True, taken=False)
    assert counted([said, said, said, order, said, said, lost, order, said]).excess(steps=2) == []
    assert counted([order, said, said, order, said, said, said]).excess(steps=1) == [
        "cam-1: 2 spec writes in 1 steps, at most one each is allowed",
        "cam-1: 3 status writes in step 2, at most 2 are allowed",
    ]
