"""The operator releases to nodes as to cameras: real agents, and a model that an inference server cannot serve."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstay.adapters.kube.client import EDGE_DEVICES, HEALTH_RULES, HOLDS, RELEASE_PLANS, KubeClient
from backstay.core.devices import DeviceName
from backstay.core.planes import Plane
from backstay.core.rings import rank
from backstay.sandbox import Sandbox
from tests.cluster.agent_stage import Agent, push_for_node
from tests.cluster.conftest import ROOT
from tests.cluster.operator_stage import Plan, cameras, plan, running_operator

NODES = ("box-1", "box-2", "box-3")
RULE = {
    "apiVersion": "backstay.dev/v1alpha1",
    "kind": "HealthRule",
    "metadata": {"name": "inference"},
    "spec": {"probes": [{"name": "inference", "kind": "InferenceAlive", "blames": ["model"]}]},
}


def inference_server(agent: Agent, bad: bytes) -> web.Application:
    """As much of an Open Inference Protocol server as a probe asks: it is live unless the model is the bad one."""

    async def live(_: web.Request) -> web.Response:
        if agent.file(Plane.MODEL) == bad:
            raise web.HTTPServiceUnavailable(text="the model does not load")
        return web.json_response({"live": True})

    application = web.Application()
    application.router.add_get("/v2/health/live", live)
    return application


@pytest.fixture
async def nodes(sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path) -> AsyncIterator[dict[str, Agent]]:
    """Three nodes with their agents, which run nothing yet; the third model that is pushed cannot be served."""
    await cameras(kube, namespace)
    await kube.create(HEALTH_RULES, RULE, namespace)
    template = (ROOT / "manifests/tenant/node-rbac.yaml").read_text().replace("TENANT", namespace)
    bad = (await push_for_node(sandbox, tmp_path, Plane.MODEL, "9.9.9")).content
    payload = (tmp_path / "model-9.9.9").read_bytes()
    assert bad
    async with AsyncExitStack() as stack:
        found = {}
        for name in NODES:
            await sandbox.apply(template.replace("DEVICE", name).replace("NODE", f"{name}.example"))
            metadata = {"name": name, "labels": {"kind": "camera"}}
            spec = {"class": "rk3566", "node": f"{name}.example"}
            body: dict[str, Any] = {"apiVersion": "backstay.dev/v1alpha1", "kind": "EdgeDevice"}
            await kube.create(EDGE_DEVICES, body | {"metadata": metadata, "spec": spec}, namespace)
            (tmp_path / name).mkdir()
            agent = found[name] = Agent(sandbox, namespace, name, f"{name}.example", tmp_path / name)
            server = await stack.enter_async_context(TestServer(inference_server(agent, payload)))
            agent.inference_url = str(server.make_url("")).rstrip("/")
            await stack.enter_async_context(agent.running())
        yield found


async def test_release_reaches_every_node_and_a_bad_model_is_pulled_back_from_the_first(
    sandbox: Sandbox, kube: KubeClient, namespace: str, nodes: dict[str, Agent], tmp_path: Path
) -> None:
    good = await push_for_node(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    bad = await push_for_node(sandbox, tmp_path, Plane.MODEL, "9.9.9")
    windows = {"confirmWindow": {"model": "5s"}, "health": ["inference"], "retain": "336h"}
    last = max(NODES, key=lambda name: rank(f"{namespace}/vision", DeviceName(name)))
    await kube.merge_patch(EDGE_DEVICES, last, {"spec": {"mode": "Safe"}}, namespace)
    async with running_operator(sandbox, tmp_path / "operator"):
        await kube.create(RELEASE_PLANS, plan("vision", good, **windows), namespace)
        release = Plan(kube, namespace, "vision")
        status = await release.until(lambda found: [one["confirmed"] for one in found.get("rings", ())] == [1, 1], 60)
        assert [(one["offline"], one["failed"]) for one in status["rings"]] == [(0, 0), (1, 0)]
        assert nodes[last].file(Plane.MODEL) is None, "a node in safe mode is ordered nothing, and fails no ring"
        await kube.merge_patch(EDGE_DEVICES, last, {"spec": {"mode": "Normal", "recover": 1}}, namespace)
        await release.reaches("Succeeded", 90)
        desired = (await kube.get(EDGE_DEVICES, last, namespace))["spec"]["desired"]
        assert desired["model"]["retain"] == "336h"
        served = {agent.file(Plane.MODEL) for agent in nodes.values()}
        assert served == {(tmp_path / "model-1.0.0").read_bytes()}

        await release.edit(versions={"model": {"version": "9.9.9", "artifact": str(bad.reference)}})
        status = await release.reaches("RolledBack", 90)
        assert {agent.file(Plane.MODEL) for agent in nodes.values()} == served
        assert status["culprit"]["plane"] == "model"
        frozen = {
            version["digest"] for hold in await kube.list(HOLDS, namespace) for version in hold["spec"]["versions"]
        }
        assert frozen == {bad.content}
        touched = [ring["started"] for ring in status["rings"]]
        assert touched[0] == 1
        assert sum(touched) == 1, "the later rings were never touched"
