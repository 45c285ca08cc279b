"""Services and Pods: real processes of this machine, and a kubelet's answer over HTTP."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstay.adapters.node.probes.pod import KubeletPods
from backstay.adapters.node.probes.processes import process_of, processes_named
from backstay.adapters.node.probes.registry import build
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.core.probing import Measurement
from tests.adapters.node.probes.surroundings import measure, plant, probe

PROC = Path("/proc")
UNIT = "inference.service"


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    """A process of a name that nobody else has, with what makes reading /proc hard in it."""
    name = f"bs) {os.getpid() % 10000} x"
    program = f"open('/proc/self/comm', 'w').write({name!r}); print(flush=True); import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def name_of(worker: subprocess.Popen[bytes]) -> str:
    found = process_of(PROC, worker.pid)
    assert found is not None
    return found.name


def test_process_is_read_as_the_kernel_tells_when_its_name_is_odd(worker: subprocess.Popen[bytes]) -> None:
    found = process_of(PROC, worker.pid)
    assert found is not None
    assert found.name == f"bs) {os.getpid() % 10000} x"
    assert found.works
    assert 0 <= found.age_seconds < 30
    assert [one.pid for one in processes_named(PROC, found.name)] == [worker.pid]


async def test_process_passes_by_name_once_it_has_run_long_enough(worker: subprocess.Popen[bytes]) -> None:
    young = await measure("ServiceHealthy", process=name_of(worker), minUptime="1h")
    assert (young.passed, young.fault) == (False, "JustStarted")
    assert f"({worker.pid}) runs for " in young.detail
    assert (await measure("ServiceHealthy", process=name_of(worker), minUptime="0s")).passed


async def test_process_fails_when_it_is_stopped_dead_or_gone(worker: subprocess.Popen[bytes]) -> None:
    name = name_of(worker)
    os.kill(worker.pid, 19)  # SIGSTOP
    await settled(worker.pid, "T")
    found = await measure("ServiceHealthy", process=name, minUptime="0s")
    assert found.detail == f"process {name} has no process at work; {name} ({worker.pid}) is in state T"
    os.kill(worker.pid, 9)
    await settled(worker.pid, "Z")
    assert (await measure("ServiceHealthy", process=name, minUptime="0s")).fault == "NotRunning"
    worker.wait()
    found = await measure("ServiceHealthy", process=name, minUptime="0s")
    assert found.detail == f"process {name} has no process at work"


async def test_process_passes_by_its_file(worker: subprocess.Popen[bytes], tmp_path: Path) -> None:
    plant(tmp_path, {"run/inference.pid": f"{worker.pid}\n"})
    (tmp_path / "proc").symlink_to("/proc")
    assert (await measure("ServiceHealthy", tmp_path, pidFile="/run/inference.pid", minUptime="0s")).passed
    assert (await measure("ServiceHealthy", tmp_path, pidFile="/run/other.pid")).fault == "NotRunning"


@pytest.mark.parametrize(
    "group",
    [
        # Constructed from systemd, docs/CGROUP_DELEGATION.md: the unified, the legacy and a template's layout.
        f"sys/fs/cgroup/system.slice/{UNIT}",
        f"sys/fs/cgroup/systemd/system.slice/{UNIT}",
        f"sys/fs/cgroup/system.slice/system-inference.slice/{UNIT}",
        f"sys/fs/cgroup/system.slice/{UNIT}/payload",
    ],
)
async def test_unit_passes_by_the_processes_of_its_group(
    worker: subprocess.Popen[bytes], tmp_path: Path, group: str
) -> None:
    plant(tmp_path, {f"{group}/cgroup.procs": f"{worker.pid}\n"})
    (tmp_path / "proc").symlink_to("/proc")
    found = await measure("ServiceHealthy", tmp_path, unit=UNIT, minUptime="0s")
    assert found.passed, found.detail
    assert found.detail.startswith(f"unit {UNIT}: ")
    assert (await measure("ServiceHealthy", tmp_path, unit="other.service")).fault == "NotRunning"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs one of unit, process, pidFile, not 0"),
        ({"unit": "a.service", "process": "a"}, "needs one of unit, process, pidFile, not 2"),
        ({"unit": "../a.service"}, "is no unit's name"),
        ({"process": "a", "minUptime": "soon"}, "minUptime of ServiceHealthy: 'soon' is not a duration"),
    ],
)
async def test_service_is_refused_when_its_settings_are_wrong(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        await measure("ServiceHealthy", **settings)


def pod(name: str = "inference-node7", **status: Any) -> dict[str, Any]:
    """A static Pod as a kubelet gives it. Constructed from the Kubernetes API v1."""
    started = (datetime.now(UTC) - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    running = {"name": "server", "ready": True, "restartCount": 2, "state": {"running": {"startedAt": started}}}
    return {
        "metadata": {"name": name, "namespace": "edge", "annotations": {"kubernetes.io/config.source": "file"}},
        "spec": {"nodeName": "node7"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [running],
            **status,
        },
    }


async def judged(answer: web.Response, wanted: str = "edge/inference", **settings: str) -> Measurement:
    async def pods(_request: web.Request) -> web.Response:
        return answer

    app = web.Application()
    app.add_routes([web.get("/pods", pods)])
    async with TestServer(app) as kubelet, aiohttp.ClientSession() as session:
        around = Surroundings(session, pods=KubeletPods(session, str(kubelet.make_url("/"))))
        return await build(probe("PodHealthy", pod=wanted, **settings), around).run()


def listed(*pods: dict[str, Any]) -> web.Response:
    return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(pods)})


@pytest.mark.parametrize("wanted", ["edge/inference", "inference", "edge/inference-node7"])
async def test_pod_passes_by_its_own_name_and_the_one_of_its_node(wanted: str) -> None:
    found = await judged(listed(pod("other-node7"), pod()), wanted)
    assert found.passed
    assert found.detail.startswith("Pod inference-node7 is Running, its containers restarted 2 times, all run for 3")


async def test_pod_fails_when_it_is_not_ready_and_says_why() -> None:
    waiting = {"name": "server", "restartCount": 9, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    unready = [{"type": "Ready", "status": "False"}]
    found = await judged(listed(pod(conditions=unready, containerStatuses=[waiting])))
    assert (found.passed, found.fault) == (False, "NotReady")
    assert "restarted 9 times, and it is not ready: server waiting: CrashLoopBackOff" in found.detail


async def test_pod_fails_when_a_container_started_only_now() -> None:
    assert (await judged(listed(pod()), minUptime="1h")).fault == "JustStarted"


async def test_pod_fails_when_it_is_not_there() -> None:
    assert (await judged(listed(pod("other-node7")))).fault == "NoPod"
    assert (await judged(listed(pod()), "default/inference")).fault == "NoPod"


@pytest.mark.parametrize(
    "answer", [lambda: web.Response(status=401, text="Unauthorized"), lambda: web.Response(text="{")]
)
async def test_pod_fails_when_the_kubelet_gives_no_list(answer: Any) -> None:
    assert (await judged(answer())).fault == "NoKubelet"


async def test_pod_is_refused_when_the_node_has_no_kubelet() -> None:
    with pytest.raises(ValueError, match="needs a kubelet"):
        await measure("PodHealthy", pod="inference")


async def settled(pid: int, state: str) -> None:
    until = time.monotonic() + 10
    while (found := process_of(PROC, pid)) is None or found.state != state:
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
