"""What the agent of a node takes: `python -m tests.scale.agent [SECONDS]`, at rest for so long.

It is started as users start it, with a node's own certificate, against a real API server; it takes a model of 8 MiB,
and then has nothing to do but to look after itself.
"""

# ruff: noqa: T201 - a benchmark prints its table
import asyncio
import json
import secrets
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import aiohttp

from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription, Repository
from backstay.sandbox import Sandbox
from tests.cluster.agent_process import Installation
from tests.cluster.conftest import NAMESPACES, apply_ours
from tests.scale.measuring import machine
from tests.scale.serving import OUT, ROOT, cpu_seconds

REST_SECONDS: Final = 60.0
STARTS: Final = 5
NAMESPACE, DEVICE, NODE = "acme", "box-1", "box-1.example"
MODEL_BYTES: Final = 8 * 1024 * 1024
MOST_MIB: Final = 60.0
MOST_IDLE: Final = 0.005
MOST_START_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Taken:
    """One figure, and what is wanted."""

    what: str
    figure: float
    unit: str
    aim: float | None = None


def _memory_mib(pid: int, kind: str) -> float:
    """`Rss`, all that is mapped and in memory, or `Pss`, in which shared pages count by their share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024


async def _figures(rest_seconds: float) -> list[Taken]:
    with TemporaryDirectory() as temporary:
        directory = Path(temporary)
        async with Sandbox.start(directory / "sandbox") as sandbox:
            await apply_ours(sandbox)
            async with KubeClient.connect(sandbox.kubeconfig) as kube:
                await _appoint(sandbox, kube)
                model = await _pushed(sandbox, directory)
                box = Installation(directory, sandbox.node_kubeconfig(NODE), NAMESPACE, DEVICE)
                return await _taken(kube, box, model, rest_seconds)


async def _taken(kube: KubeClient, box: Installation, model: ArtifactDescription, rest_seconds: float) -> list[Taken]:
    starts, used = [], []
    for _ in range(STARTS):
        async with box.running() as started:
            starts.append(started.seconds)
            used.append(cpu_seconds(started.process.pid))
    async with box.running() as started:
        pid = started.process.pid
        await asyncio.sleep(5)
        found = [
            Taken("start, from exec to READY=1, median", median(starts), "s", MOST_START_SECONDS),
            Taken("start, slowest", max(starts), "s"),
            Taken("start, CPU, median", median(used), "s"),
            Taken("resident, started", _memory_mib(pid, "Rss"), "MiB", MOST_MIB),
        ]
        await _step(kube, model)
        found.append(Taken("resident, after a step with 8 MiB", _memory_mib(pid, "Rss"), "MiB", MOST_MIB))
        await asyncio.sleep(5)
        before, began = cpu_seconds(pid), time.monotonic()
        await asyncio.sleep(rest_seconds)
        share = (cpu_seconds(pid) - before) / (time.monotonic() - began)
        return [
            *found,
            Taken(f"idle, of a core, over {rest_seconds:.0f} s", 100 * share, "%", 100 * MOST_IDLE),
            Taken("resident, at the end", _memory_mib(pid, "Rss"), "MiB", MOST_MIB),
            Taken("proportional, at the end", _memory_mib(pid, "Pss"), "MiB"),
        ]


async def _appoint(sandbox: Sandbox, kube: KubeClient) -> None:
    await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    text = (ROOT / "manifests/tenant/node-rbac.yaml").read_text()
    await sandbox.apply(text.replace("TENANT", NAMESPACE).replace("DEVICE", DEVICE).replace("NODE", NODE))
    body: dict[str, Any] = {"apiVersion": "backstay.dev/v1alpha1", "kind": "EdgeDevice", "metadata": {"name": DEVICE}}
    await kube.create(EDGE_DEVICES, body | {"spec": {"class": "rk3566", "node": NODE}}, NAMESPACE)


async def _pushed(sandbox: Sandbox, directory: Path) -> ArtifactDescription:
    payload = directory / "model"
    payload.write_bytes(secrets.token_bytes(MODEL_BYTES))
    async with aiohttp.ClientSession() as session:
        repository = Repository.parse(f"{sandbox.registry}/bench/model")
        artifact = NewArtifact(Plane.MODEL, "1.0.0", "rk3566", payload, {})
        return await push_artifact(OciRegistry(Transport(session)), repository, artifact)


async def _step(kube: KubeClient, model: ArtifactDescription) -> None:
    """Order the model, and wait until it is confirmed; its probes are run twice a minute from then on."""
    now = datetime.now(UTC)
    assignment = {"plan": "vision", "revision": "3f9c2a1b-1", "ring": "canary", "version": model.version}
    desired = {
        "model": assignment | {"artifact": str(model.reference), "content": model.content},
        "step": {"number": 1, "plane": "model", "type": "Install", "issued": now.isoformat()},
        "probes": [
            {"name": "agent", "kind": "AgentConnected"},
            {"name": "memory", "kind": "MemoryHeadroom", "min": "16Mi"},
            {"name": "disk", "kind": "DiskHeadroom", "min": "1Mi"},
        ],
        "window": "30s",
        "expires": (now + timedelta(minutes=10)).isoformat(),
    }
    await kube.merge_patch(EDGE_DEVICES, DEVICE, {"spec": {"desired": desired}}, NAMESPACE)
    state = ""
    async with asyncio.timeout(60):
        while state != "Confirmed":
            await asyncio.sleep(0.2)
            status = (await kube.get(EDGE_DEVICES, DEVICE, NAMESPACE)).get("status", {})
            state = status.get("planes", {}).get("model", {}).get("state", "")


def main(rest_seconds: float) -> None:
    """Measure, print, and write `build/bench/agent.json`; memory and CPU above what is wanted end it with a failure."""
    OUT.mkdir(parents=True, exist_ok=True)
    taken = asyncio.run(_figures(rest_seconds))
    print("\nthe agent of a node")
    for one in taken:
        aim = f"   at most {one.aim:g} {one.unit} wanted" if one.aim is not None else ""
        print(f"  {one.what:40}{one.figure:8.2f} {one.unit}{aim}")
    report = {
        "machine": machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "figures": [asdict(one) for one in taken],
    }
    (OUT / "agent.json").write_text(json.dumps(report, indent=2) + "\n")
    # A start on a machine that has no time says nothing, as with all times here; these two do.
    if over := [one.what for one in taken if one.aim is not None and one.unit != "s" and one.figure > one.aim]:
        sys.exit(f"more than is wanted: {', '.join(over)}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else REST_SECONDS)
