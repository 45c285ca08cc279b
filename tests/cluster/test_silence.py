"""A node that is away is Offline and no failure, and catches up when it is back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.kube.client import AGENT_LEASES, EDGE_DEVICES, RELEASE_PLANS, KubeClient
from backstay.adapters.system_clock import SystemClock
from backstay.api.device_conversion import device_from
from backstay.controllers.silence import Silence
from backstay.controllers.store import Store
from backstay.core.planes import Plane
from backstay.errors import BackstayError, Forbidden
from backstay.sandbox import Sandbox
from tests.cluster.agent_stage import Agent, connected_as_node, push_for_node
from tests.cluster.operator_stage import Plan, cameras, plan, ring, running_operator
from tests.cluster.test_agent import appoint

NODES = ("box-1", "box-2", "box-3")
PATIENCE_SECONDS = 3

Json = dict[str, Any]


class Always:
    """Who leads."""

    def assert_held(self) -> None: ...


async def condition(kube: KubeClient, namespace: str, device: str, kind: str) -> tuple[str, str]:
    status = (await kube.get(EDGE_DEVICES, device, namespace)).get("status", {})
    found = next((one for one in status.get("conditions", ()) if one["type"] == kind), {})
    return found.get("status", ""), found.get("reason", "")


async def until(kube: KubeClient, namespace: str, device: str, kind: str, wanted: tuple[str, str]) -> None:
    found = ("", "")
    try:
        async with asyncio.timeout(20):
            while (found := await condition(kube, namespace, device, kind)) != wanted:
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        error.add_note(f"{device} is {kind} {found}, not {wanted}")
        raise


@pytest.fixture
async def agents(sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path) -> dict[str, Agent]:
    """Three nodes with their rights, whose agents are impatient."""
    await cameras(kube, namespace)
    found = {}
    for name in NODES:
        await appoint(sandbox, kube, namespace, name, f"{name}.example")
        labels = {"metadata": {"labels": {"kind": "camera"}}}
        await kube.merge_patch(EDGE_DEVICES, name, labels, namespace)
        directory = tmp_path / name
        directory.mkdir()
        found[name] = Agent(sandbox, namespace, name, f"{name}.example", directory, lease_seconds=PATIENCE_SECONDS)
    return found


async def test_node_whose_agent_stopped_is_offline_and_catches_up_when_it_is_back(
    sandbox: Sandbox, kube: KubeClient, namespace: str, agents: dict[str, Agent], tmp_path: Path
) -> None:
    one = await push_for_node(sandbox, tmp_path / "model", Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path / "operator"), AsyncExitStack() as stack:
        for name in NODES[:2]:
            await stack.enter_async_context(agents[name].running())
        async with agents["box-3"].running():
            await until(kube, namespace, "box-3", "Reachable", ("True", "AgentRuns"))
        await until(kube, namespace, "box-3", "Reachable", ("False", "AgentSilent"))
        assert await condition(kube, namespace, "box-3", "Ready") == ("False", "Unreachable")
        assert "Unreachable" in await sandbox.kubectl("get", "edgedevice", "box-3", "-n", namespace)

        rings = [ring("everyone", size="100%", soak="0s")]
        success = {"minConfirmed": 2, "offlineGrace": "1s", "of": "Started"}
        document = plan(
            "vision", one, rings=rings, success=success, deadlines={"model": "15s"}, confirmWindow={"model": "5s"}
        )
        await kube.create(RELEASE_PLANS, document, namespace)
        release = Plan(kube, namespace, "vision")
        status = await release.reaches("Succeeded", 60)
        counted = status["rings"][0]
        assert (counted["confirmed"], counted["offline"], counted["failed"]) == (2, 1, 0)
        assert await condition(kube, namespace, "box-1", "Reachable") == ("True", "AgentRuns")
        assert agents["box-3"].file(Plane.MODEL) is None

        async with agents["box-3"].running():
            async with asyncio.timeout(20):
                while agents["box-3"].file(Plane.MODEL) != agents["box-1"].file(Plane.MODEL):
                    await asyncio.sleep(0.1)
            await until(kube, namespace, "box-3", "Ready", ("True", "UpToDate"))


@asynccontextmanager
async def following(kube: KubeClient, namespace: str) -> AsyncIterator[None]:
    """An operator's eye for silent nodes, without an operator that would end with the API server."""
    store = Store()
    for raw in await kube.list(EDGE_DEVICES, namespace):
        store.fleets.put((namespace, device_from(raw)))
    task = asyncio.create_task(Silence(kube, store, SystemClock(), Always()).run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_nobody_is_silent_because_the_api_server_was_away(
    sandbox: Sandbox, kube: KubeClient, namespace: str, agents: dict[str, Agent]
) -> None:
    async with agents["box-1"].running():
        await until(kube, namespace, "box-1", "Reachable", ("True", "AgentRuns"))
        since = await _since(kube, namespace)
        async with following(kube, namespace):
            await sandbox.stop("kube-apiserver")
            await asyncio.sleep(PATIENCE_SECONDS + 1)
            await sandbox.start_component("kube-apiserver")
            for _ in range(2 * PATIENCE_SECONDS):
                assert await condition(kube, namespace, "box-1", "Reachable") == ("True", "AgentRuns")
                await asyncio.sleep(0.5)
        assert await _since(kube, namespace) == since


async def _since(kube: KubeClient, namespace: str) -> list[str]:
    status = (await kube.get(EDGE_DEVICES, "box-1", namespace))["status"]
    return [one["lastTransitionTime"] for one in status["conditions"] if one["type"] == "Reachable"]


async def test_operator_can_say_that_a_node_is_away_and_nothing_else(
    sandbox: Sandbox, kube: KubeClient, namespace: str, agents: dict[str, Agent]
) -> None:
    async with agents["box-1"].running():
        await until(kube, namespace, "box-1", "Reachable", ("True", "AgentRuns"))
    before = (await kube.get(EDGE_DEVICES, "box-1", namespace))["status"]
    away: Json = {
        "type": "Reachable",
        "status": "False",
        "reason": "AgentSilent",
        "lastTransitionTime": "2026-01-05T12:00:00Z",
    }
    identity = await sandbox.service_account_kubeconfig("backstay-system", "backstay-operator")
    attempts: tuple[Json, ...] = (
        {"agent": "operator/1"},
        {"planes": {"model": {"state": "Confirmed", "step": 1}}},
        {"health": {"state": "Healthy", "failing": []}, "conditions": [away]},
        {"conditions": [away | {"status": "True"}]},
        {"conditions": [away, away | {"type": "Enrolled"}]},
        {"conditions": []},
    )
    async with KubeClient.connect(identity) as operator:
        for status in attempts:
            with pytest.raises(Forbidden, match="does not serve device box-1"):
                await operator.merge_patch(EDGE_DEVICES, "box-1", {"status": status}, namespace, subresource="status")
        ready = away | {"type": "Ready"}
        body = {"status": {"conditions": [away, ready]}}
        found = await operator.merge_patch(EDGE_DEVICES, "box-1", body, namespace, subresource="status")
    assert {**found["status"], "conditions": []} == {**before, "conditions": []}


async def test_node_renews_its_own_sign_of_life_alone(
    sandbox: Sandbox, kube: KubeClient, namespace: str, agents: dict[str, Agent]
) -> None:
    renewed = {"spec": {"renewTime": "2026-01-05T12:00:00.000001Z"}}
    async with connected_as_node(sandbox, agents["box-1"].node) as node:
        await node.merge_patch(AGENT_LEASES, "box-1", renewed, namespace)
        for attempt in (
            node.merge_patch(AGENT_LEASES, "box-2", renewed, namespace),
            node.delete(AGENT_LEASES, "box-1", namespace),
            node.list(AGENT_LEASES, namespace),
        ):
            with pytest.raises(BackstayError):
                await attempt
