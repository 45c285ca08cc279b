"""A node's agent: it installs what it is ordered, undoes what does not prove itself, and reaches only its own."""

import asyncio
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.kube.client import EDGE_DEVICES, HOLDS, RELEASE_PLANS, SECRETS, KubeClient
from backstay.core.planes import Plane
from backstay.errors import BackstayError, Forbidden
from backstay.ports.registry import ArtifactDescription
from backstay.sandbox import Sandbox
from tests.cluster.agent_stage import Agent, connected_as_node, push_for_node
from tests.cluster.conftest import ROOT

Json = dict[str, Any]
Usage = type(shutil.disk_usage("/"))

BACKSTAY = Path(sys.executable).with_name("backstay")
NODE, DEVICE = "box-1.example", "box-1"


@pytest.fixture
async def agent(sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path) -> Agent:
    """A node that has its EdgeDevice and its rights, and runs nothing yet."""
    await appoint(sandbox, kube, namespace, DEVICE, NODE)
    return Agent(sandbox, namespace, DEVICE, NODE, tmp_path)


async def appoint(sandbox: Sandbox, kube: KubeClient, namespace: str, device: str, node: str) -> None:
    text = (ROOT / "manifests/tenant/node-rbac.yaml").read_text()
    text = text.replace("TENANT", namespace).replace("DEVICE", device).replace("NODE", node)
    await sandbox.apply(text)
    body = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "EdgeDevice",
        "metadata": {"name": device, "labels": {"site": "hall-1"}},
        "spec": {"class": "rk3566", "node": node},
    }
    await kube.create(EDGE_DEVICES, body, namespace)


async def order(
    kube: KubeClient, namespace: str, number: int, artifact: ArtifactDescription, kind: str = "Install", **more: Any
) -> None:
    now = datetime.now(UTC)
    assignment = {"plan": "vision", "revision": "3f9c2a1b-2", "ring": "canary", "version": artifact.version}
    desired = {
        str(artifact.plane): assignment | {"artifact": str(artifact.reference), "content": artifact.content},
        "step": {"number": number, "plane": str(artifact.plane), "type": kind, "issued": now.isoformat()},
        "probes": [{"name": "agent", "kind": "AgentConnected"}],
        "window": "10s",
        "expires": (now + timedelta(minutes=10)).isoformat(),
    }
    await kube.merge_patch(EDGE_DEVICES, DEVICE, {"spec": {"desired": desired | more}}, namespace)


async def until(kube: KubeClient, namespace: str, holds: Callable[[Json], bool], seconds: float = 30) -> Json:
    end, status = time.monotonic() + seconds, {}
    while time.monotonic() < end:
        status = (await kube.get(EDGE_DEVICES, DEVICE, namespace)).get("status", {})
        if holds(status):
            return dict(status)
        await asyncio.sleep(0.1)
    raise AssertionError(f"the node did not get there: {status}")


def answered(plane: Plane, number: int) -> Callable[[Json], bool]:
    def holds(status: Json) -> bool:
        found = status.get("planes", {}).get(str(plane), {})
        return found.get("step") == number and found.get("state") in {"Confirmed", "RolledBack", "Failed"}

    return holds


MEMORY = {"name": "memory", "kind": "MemoryHeadroom", "min": "512Mi"}


async def test_node_installs_goes_back_and_tells_what_it_runs(sandbox, kube, namespace, agent, tmp_path) -> None:
    first = await push_for_node(sandbox, tmp_path / "a", Plane.MODEL, "1.0.0")
    second = await push_for_node(sandbox, tmp_path / "a", Plane.MODEL, "2.0.0")
    config = await push_for_node(sandbox, tmp_path / "a", Plane.CONFIG, "1.0.0", model=">=2.0.0")
    agent.memory(64)
    advice = MEMORY | {"advisory": True}
    async with agent.running():
        await order(kube, namespace, 1, first, probes=[{"name": "agent", "kind": "AgentConnected"}, advice])
        found = await until(kube, namespace, answered(Plane.MODEL, 1))
        assert found["health"] == {"state": "Healthy", "failing": [], "advisory": ["memory"]}
        assert (found["planes"]["model"]["state"], found["planes"]["model"]["running"]) == ("Confirmed", first.content)
        await order(kube, namespace, 2, second)
        found = await until(kube, namespace, answered(Plane.MODEL, 2))
        assert found["planes"]["model"]["fallback"] == first.content
        await order(kube, namespace, 3, config)
        found = await until(kube, namespace, answered(Plane.CONFIG, 3))
        assert found["planes"]["config"]["state"] == "Confirmed"
        assert {one["type"]: one["status"] for one in found["conditions"]} == {"Reachable": "True", "Ready": "True"}
        await order(kube, namespace, 4, first, kind="Return")
        found = await until(kube, namespace, answered(Plane.MODEL, 4))
    # The config needs the newer model: the way back is refused by the node itself.
    assert found["planes"]["model"]["state"] == "Failed"
    assert found["planes"]["model"]["reason"].startswith("Incompatible")
    assert agent.file(Plane.MODEL) is not None
    assert found["planes"]["model"]["running"] == second.content


async def test_node_confirms_and_falls_back_while_the_api_server_is_away(
    sandbox, kube, namespace, agent, tmp_path
) -> None:
    agent.memory(1024)
    first = await push_for_node(sandbox, tmp_path / "b", Plane.MODEL, "1.0.0")
    bad = await push_for_node(sandbox, tmp_path / "b", Plane.MODEL, "2.0.0")
    async with agent.running() as node:
        await order(kube, namespace, 1, first, probes=[MEMORY])
        await until(kube, namespace, answered(Plane.MODEL, 1))
        before = agent.file(Plane.MODEL)
        await order(
            kube, namespace, 2, bad, probes=[MEMORY, {"name": "agent", "kind": "AgentConnected", "consecutive": 3}]
        )
        async with asyncio.timeout(20):
            while node.machine.storage(Plane.MODEL).on_trial != 2:
                await asyncio.sleep(0.01)
        agent.memory(64)
        await sandbox.stop("kube-apiserver")
        try:
            async with asyncio.timeout(20):
                while agent.file(Plane.MODEL) != before:
                    await asyncio.sleep(0.1)
        finally:
            await sandbox.start_component("kube-apiserver")
        found = await until(kube, namespace, answered(Plane.MODEL, 2), 40)
    model = found["planes"]["model"]
    assert (model["state"], model["running"]) == ("RolledBack", first.content)
    assert model["reason"].startswith("ProbeFailed: memory: 64.0 MiB of memory"), (
        "a person on call reads why, not only what"
    )


async def test_step_goes_on_when_the_agent_was_ended_in_the_middle(sandbox, kube, namespace, agent, tmp_path) -> None:
    artifact = await push_for_node(sandbox, tmp_path / "c", Plane.MODEL, "1.0.0")
    patient = {"name": "agent", "kind": "AgentConnected", "consecutive": 5}
    async with agent.running() as node:
        await order(kube, namespace, 1, artifact, window="60s", probes=[patient])
        async with asyncio.timeout(20):
            while node.machine.storage(Plane.MODEL).on_trial != 1:
                await asyncio.sleep(0.05)
    async with agent.running():
        found = await until(kube, namespace, answered(Plane.MODEL, 1))
    assert found["planes"]["model"]["state"] == "Confirmed"


async def test_nothing_begins_while_a_hold_stands(sandbox, kube, namespace, agent, tmp_path) -> None:
    artifact = await push_for_node(sandbox, tmp_path / "d", Plane.MODEL, "1.0.0")
    hold = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "Hold",
        "metadata": {"name": "stop"},
        "spec": {"reason": "smoke", "scope": {"selector": {"matchLabels": {"site": "hall-1"}}}},
    }
    await kube.create(HOLDS, hold, namespace)
    async with agent.running():
        await order(kube, namespace, 1, artifact)
        await asyncio.sleep(3)
        held = await until(kube, namespace, lambda status: "conditions" in status)
        assert held.get("planes", {}).get("model", {}).get("step", 0) == 0
        await kube.delete(HOLDS, "stop", namespace)
        await until(kube, namespace, answered(Plane.MODEL, 1))


async def recover(sandbox: Sandbox, namespace: str, *more: str, command: str = "recover") -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(BACKSTAY, command, DEVICE, "-n", namespace, "--kubeconfig", str(sandbox.kubeconfig), *more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_node_is_safe_by_order_and_a_person_recovers_it(sandbox, kube, namespace, agent, tmp_path) -> None:
    agent.memory(64)
    first = await push_for_node(sandbox, tmp_path / "s", Plane.MODEL, "1.0.0")
    bad = await push_for_node(sandbox, tmp_path / "s", Plane.MODEL, "2.0.0")
    async with agent.running():
        await order(kube, namespace, 1, first)
        await until(kube, namespace, answered(Plane.MODEL, 1))
        await order(
            kube, namespace, 2, bad, probes=[MEMORY | {"within": "1s"}, {"name": "agent", "kind": "AgentConnected"}]
        )
        await until(kube, namespace, answered(Plane.MODEL, 2))
        await order(kube, namespace, 3, bad)
        found = await until(kube, namespace, answered(Plane.MODEL, 3))
        assert found["planes"]["model"]["reason"].startswith("Frozen: it failed on this device before, ProbeFailed")

        assert (await recover(sandbox, namespace, command="safe-mode"))[0] == 1, "nobody said yes"
        status, said = await recover(sandbox, namespace, "--yes", command="safe-mode")
        assert (status, "ordered into safe mode" in said) == (0, True), said
        found = await until(kube, namespace, lambda status: status.get("mode") == "Safe")
        (ready,) = (one for one in found["conditions"] if one["type"] == "Ready")
        assert (ready["reason"], ready["message"]) == ("SafeMode", "safe mode: spec.mode is Safe")
        await order(kube, namespace, 4, bad)
        found = await until(kube, namespace, answered(Plane.MODEL, 4))
        assert found["planes"]["model"]["reason"] == "SafeMode: spec.mode is Safe"

        assert (await recover(sandbox, namespace))[0] == 1, "nobody said yes"
        status, said = await recover(sandbox, namespace, "--dry-run", "server")
        assert (status, "nothing was changed" in said) == (0, True)
        spec = (await kube.get(EDGE_DEVICES, DEVICE, namespace))["spec"]
        assert (spec["mode"], spec["recover"]) == ("Safe", 0)
        status, said = await recover(sandbox, namespace, "--yes")
        assert status == 0, said
        assert "box-1 (box-1.example): SafeMode: safe mode: spec.mode is Safe" in said
        assert "the node has done it" in said
        found = await until(kube, namespace, lambda status: status.get("mode") == "Normal")
        assert found["recovered"] == 1
        await order(kube, namespace, 5, bad)
        found = await until(kube, namespace, answered(Plane.MODEL, 5))
        assert found["planes"]["model"]["state"] == "Confirmed", "it was forgotten that it had failed"


async def test_step_finds_room_by_deleting_what_is_only_retained(
    sandbox, kube, namespace, agent, tmp_path, monkeypatch
) -> None:
    models = [await push_for_node(sandbox, tmp_path / "r", Plane.MODEL, f"{number}.0.0") for number in range(1, 5)]
    releases = tmp_path / Plane.MODEL / "releases"

    def kept() -> list[str]:
        names = {path.name for path in releases.iterdir()}
        return [one.version for one in models if one.content.removeprefix("sha256:") in names]

    async with agent.running():
        for number, model in enumerate(models[:3], 1):
            await order(kube, namespace, number, model)
            await until(kube, namespace, answered(Plane.MODEL, number))
        assert kept() == ["1.0.0", "2.0.0", "3.0.0"]

        def usage(_: Path) -> Usage:
            """A disk that is full as long as the first model is on it."""
            return Usage(total=2**40, used=0, free=0 if "1.0.0" in kept() else 2**40)

        monkeypatch.setattr(shutil, "disk_usage", usage)
        await order(kube, namespace, 4, models[3])
        found = await until(kube, namespace, answered(Plane.MODEL, 4))
    assert (found["planes"]["model"]["state"], found["planes"]["model"]["fallback"]) == ("Confirmed", models[2].content)
    assert kept() == ["2.0.0", "3.0.0", "4.0.0"], "what ran and its fallback were not what made room"


async def test_node_can_say_what_is_so_of_itself_and_nothing_else(sandbox, kube, namespace, agent) -> None:
    await appoint(sandbox, kube, namespace, "box-2", "box-2.example")
    before = {name: await kube.get(EDGE_DEVICES, name, namespace) for name in (DEVICE, "box-2")}
    async with connected_as_node(sandbox, NODE) as node:
        await until_in_force(node, namespace)
        attempts = (
            node.merge_patch(EDGE_DEVICES, "box-2", {"status": {"agent": "stolen/1"}}, namespace, subresource="status"),
            node.merge_patch(EDGE_DEVICES, DEVICE, {"spec": {"mode": "Safe"}}, namespace),
            node.merge_patch(EDGE_DEVICES, DEVICE, {"metadata": {"labels": {"audience": "internal"}}}, namespace),
            node.get(EDGE_DEVICES, "box-2", namespace),
            node.list(EDGE_DEVICES, namespace),
            node.delete(EDGE_DEVICES, DEVICE, namespace),
            node.list(RELEASE_PLANS, namespace),
            node.list(SECRETS, namespace),
            node.list(HOLDS, "default"),
        )
        for attempt in attempts:
            with pytest.raises(BackstayError):
                await attempt
        more = {"spec": {"node": "box-2.example"}, "metadata": {"labels": {"audience": "internal"}}}
        body = {"status": {"agent": "own/1"}, **more}
        await node.merge_patch(EDGE_DEVICES, DEVICE, body, namespace, subresource="status")
    after = {name: await kube.get(EDGE_DEVICES, name, namespace) for name in (DEVICE, "box-2")}
    assert after["box-2"] == before["box-2"]
    assert after[DEVICE]["spec"] == before[DEVICE]["spec"]
    assert after[DEVICE]["metadata"]["labels"] == before[DEVICE]["metadata"]["labels"]
    assert after[DEVICE]["status"]["agent"] == "own/1"


async def until_in_force(node: KubeClient, namespace: str) -> None:
    """A policy takes effect some moments after it was applied."""
    async with asyncio.timeout(20):
        while True:
            try:
                await node.merge_patch(EDGE_DEVICES, "box-2", {"status": {"slot": ""}}, namespace, subresource="status")
            except BackstayError:
                return
            await asyncio.sleep(0.2)


async def test_node_is_commanded_only_by_whom_may_claim_it(sandbox, kube, namespace) -> None:
    role = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: devices, namespace: {namespace}}}
rules:
- {{apiGroups: [backstay.dev], resources: [edgedevices], verbs: ["*"]}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: someone, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: devices, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: devices}}
subjects:
- {{kind: ServiceAccount, name: someone, namespace: {namespace}}}
"""
    await sandbox.apply(role)
    body = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "EdgeDevice",
        "metadata": {"name": "mine"},
        "spec": {"class": "rk3566", "node": NODE},
    }
    async with KubeClient.connect(await sandbox.service_account_kubeconfig(namespace, "someone")) as someone:
        with pytest.raises(Forbidden, match=f"may not claim node {NODE}"):
            await someone.create(EDGE_DEVICES, body, namespace)
