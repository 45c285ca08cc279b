"""The agent as a process beside a real kubelet, with that kubelet's own certificate."""

import asyncio
import json
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from backstay.adapters.kube.client import EDGE_DEVICES
from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription, Repository
from backstay.sandbox import Sandbox
from backstay.sandbox.node.node import Node
from tests.cluster.agent_stage import push_for_node
from tests.cluster.test_agent import DEVICE, answered, appoint, order, until
from tests.cluster.test_node import answers, pod, web_image

BACKSTAY = Path(sys.executable).with_name("backstay")
POD = "vision"


@pytest.fixture
async def box(sandbox: Sandbox, namespace: str) -> Node:
    """A real node; it ends with the sandbox."""
    return await sandbox.add_node(f"box-{namespace.rpartition('-')[2]}")


@asynccontextmanager
async def agent(sandbox: Sandbox, box: Node, namespace: str, data: Path) -> AsyncIterator[Path]:
    """`backstay agent run` as an administrator sets it up; gives its log."""
    commander, log = data / "device", data / "agent.log"
    commander.write_text(f"{namespace}/{DEVICE}\n")
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(
                BACKSTAY,
                "agent",
                "run",
                "--commander",
                commander,
                "--kubeconfig",
                box.kubeconfig,
                "--data",
                data / "lib",
            ),
            *("--firmware", "pod", "--manifests", box.manifests, "--pod", POD),
            *("--kubelet", box.kubelet_health, "--ctr", shlex.join(box.ctr_command)),
            *("--safe-mode-file", data / "safe-mode"),
            stdout=output,
            stderr=output,
        )
    try:
        yield log
        assert process.returncode is None, log.read_text()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0, log.read_text()


async def push_pod(sandbox: Sandbox, directory: Path, version: str, manifest: dict[str, object]) -> ArtifactDescription:
    payload = directory / f"pod-{version}.json"
    payload.write_text(json.dumps(manifest))
    async with aiohttp.ClientSession() as session:
        registry = OciRegistry(Transport(session))
        repository = Repository.parse(f"{sandbox.registry}/nodes/firmware")
        return await push_artifact(registry, repository, NewArtifact(Plane.FIRMWARE, version, "rk3566", payload, {}))


async def test_pod_is_released_and_pulled_back_on_a_real_node_and_a_model_touches_no_pod(
    sandbox: Sandbox, kube, namespace: str, box: Node, tmp_path: Path
) -> None:
    await appoint(sandbox, kube, namespace, DEVICE, box.name)
    image = await web_image(sandbox, "one")
    serving = pod(POD, image)
    serving["spec"]["terminationGracePeriodSeconds"] = 1
    one = await push_pod(sandbox, tmp_path, "1.0.0", serving)
    crashing = pod(POD, await web_image(sandbox, "two"))
    crashing["spec"]["containers"][0]["command"] = ["/bin/busybox", "false"]
    bad = await push_pod(sandbox, tmp_path, "2.0.0", crashing)
    model = await push_for_node(sandbox, tmp_path / "m", Plane.MODEL, "1.0.0")
    later = await push_for_node(sandbox, tmp_path / "m", Plane.MODEL, "2.0.0")
    healthy = {"name": "memory", "kind": "MemoryHeadroom", "min": "1Mi"}
    alive = {"name": "pod", "kind": "PodHealthy", "pod": POD}
    async with agent(sandbox, box, namespace, tmp_path) as log:
        await order(kube, namespace, 1, one, probes=[alive], window="60s")
        found = await until(kube, namespace, answered(Plane.FIRMWARE, 1), 60)
        assert found["planes"]["firmware"]["running"] == one.content, log.read_text()
        await _serves(sandbox, box, "one")
        before = await _pod(sandbox, box)

        await order(kube, namespace, 2, model, probes=[healthy])
        await until(kube, namespace, answered(Plane.MODEL, 2), 60)
        after = await _pod(sandbox, box)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert _restarts(after) == _restarts(before) == 0

        await order(kube, namespace, 3, bad, probes=[alive], window="25s")
        found = await until(kube, namespace, answered(Plane.FIRMWARE, 3), 90)
        firmware = found["planes"]["firmware"]
        assert (firmware["state"], firmware["running"]) == ("RolledBack", one.content), log.read_text()
        await _serves(sandbox, box, "one")
        assert await _pinned(box) == {image}, "that of what crashed is not kept"

        (tmp_path / "safe-mode").touch()
        await sandbox.kubectl("wait", f"pod/{POD}-{box.name}", "--for=delete", "--timeout=90s")
        found = await until(kube, namespace, lambda status: status.get("mode") == "Safe")
        assert found["planes"]["firmware"]["running"] == one.content, "it is stopped, and nothing of it is lost"
        (tmp_path / "safe-mode").unlink()
        await _serves(sandbox, box, "one")

        await order(kube, namespace, 4, bad, probes=[alive], window="25s")
        found = await until(kube, namespace, answered(Plane.FIRMWARE, 4))
        assert found["planes"]["firmware"]["reason"].startswith("Frozen: it failed on this device before, ProbeFailed")

        await box.stop_kubelet()
        await order(kube, namespace, 5, bad, probes=[alive])
        await _says(log, "step 5 does not begin: the kubelet cannot be asked")
        assert (await until(kube, namespace, answered(Plane.FIRMWARE, 4)))["planes"]["firmware"]["step"] == 4
        await order(kube, namespace, 6, later, probes=[healthy])
        await until(kube, namespace, answered(Plane.MODEL, 6), 30)
    history = await _journal(tmp_path)
    assert "firmware  step 3, Install 2.0.0: RolledBack (ProbeFailed: pod: Pod " in history


async def test_second_agent_is_refused(sandbox: Sandbox, kube, namespace: str, box: Node, tmp_path: Path) -> None:
    await appoint(sandbox, kube, namespace, DEVICE, box.name)
    async with agent(sandbox, box, namespace, tmp_path) as log:
        await _says(log, "follows")
        assert await _run_again(box, tmp_path) == (1, "another agent runs")


async def test_node_that_is_not_appointed_is_told_so_and_says_nothing(
    sandbox: Sandbox, kube, namespace: str, box: Node, tmp_path: Path
) -> None:
    await appoint(sandbox, kube, namespace, DEVICE, "box-of-somebody-else")
    (tmp_path / "device").write_text(f"{namespace}/{DEVICE}\n")
    assert await _run_again(box, tmp_path) == (1, "grant it with the roles in manifests/")
    assert "status" not in await kube.get(EDGE_DEVICES, DEVICE, namespace)


async def _run_again(box: Node, data: Path) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(BACKSTAY, "agent", "run", "--commander", data / "device"),
        *("--kubeconfig", box.kubeconfig, "--data", data / "lib"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            _, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    known = ("another agent runs", "grant it with the roles in manifests/")
    return process.returncode, next((words for words in known if words in told.decode()), told.decode())


async def _says(log: Path, words: str) -> None:
    async with asyncio.timeout(60):
        while words not in await asyncio.to_thread(log.read_text):
            await asyncio.sleep(0.1)


async def _pinned(box: Node) -> set[str]:
    """The images that containerd is told to keep."""
    return set((await box.ctr("images", "list", "--quiet", 'labels."io.cri-containerd.pinned"==pinned')).split())


async def _journal(data: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *(BACKSTAY, "agent", "journal", "--data", data / "lib"), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    return told.decode()


async def _pod(sandbox: Sandbox, box: Node) -> dict[str, dict[str, object]]:
    return dict(json.loads(await sandbox.kubectl("get", "pod", f"{POD}-{box.name}", "--output=json")))


async def _serves(sandbox: Sandbox, box: Node, text: str) -> None:
    """Wait until the Pod answers with a text; the API server may name the address of the one before for a while."""
    async with asyncio.timeout(90):
        while True:
            try:
                return await answers(await _address(sandbox, box), text, 5)
            except TimeoutError:
                continue


async def _address(sandbox: Sandbox, box: Node) -> str:
    wait = ("wait", f"pod/{POD}-{box.name}", "--timeout=60s")
    await sandbox.kubectl(*wait, "--for=create")
    await sandbox.kubectl(*wait, "--for=condition=Ready")
    return str((await _pod(sandbox, box))["status"]["podIP"])


def _restarts(found: dict[str, dict[str, object]]) -> int:
    return sum(one["restartCount"] for one in found["status"]["containerStatuses"])  # type: ignore[attr-defined]
