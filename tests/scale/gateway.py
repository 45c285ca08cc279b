"""What a bridge can carry: `python -m tests.scale.gateway [DEVICES …]`, against the real API server of a sandbox.

The bridge is the command that users run, the load comes from another process, and requests are counted for each second
of the server's own CPU, as Linux counts it. A handler that answers the same bytes and knows nothing is the limit of the
library underneath, nginx that of a download, and goosebit what people use; all are measured in the same run.
"""

# ruff: noqa: T201 - a benchmark prints its table
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import aiohttp

from backstay.adapters.kube.client import KubeClient
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription
from backstay.sandbox import Sandbox
from tests.scale.downloads import throughputs
from tests.scale.goosebit import goosebit, polls
from tests.scale.measuring import machine
from tests.scale.serving import OUT, ROOT, Json, Rate, Resident, Server, Throughput, rate, started
from tests.scale.tenant import NAMESPACE, NAMESPACES, OLD, Fleet, bridge, pushed, report, small_config, until_offered

Figure = Rate | Throughput | Resident

LEAST_REQUESTS: Final = 20_000
GOOSEBIT_DEVICES: Final = 1_000
GOOSEBIT_ROUNDS: Final = 3
IDLE_SHARE: Final = 0.1
"""Of a core: what a bridge does for itself."""
QUIET_SECONDS: Final = 4


async def measured(sandbox: Sandbox, count: int) -> AsyncIterator[Figure]:
    """All figures for one number of devices."""
    rounds = max(1, LEAST_REQUESTS // count)
    async with KubeClient.connect(sandbox.kubeconfig) as kube:
        fleet = Fleet(kube, count)
        await fleet.create(sandbox)
        with TemporaryDirectory(prefix="backstay-bench-") as directory:
            payload = small_config(Path(directory))
            artifact = await pushed(sandbox, Path(directory), Plane.CONFIG, payload)
            async with bridge(sandbox, Path(directory)) as server:
                async for found in _of_bridge(server, fleet, artifact, rounds):
                    yield found
        await kube.delete(NAMESPACES, NAMESPACE)


async def _of_bridge(server: Server, fleet: Fleet, artifact: ArtifactDescription, rounds: int) -> AsyncIterator[Figure]:
    count = len(fleet.names)
    yield Resident("memory, all devices listed", count, server.resident_mib())
    yield await rate("health reports", server, count, fleet.asked("POST", "/health", report(OLD)), 200, rounds)
    await _until_idle(server)
    metrics = [{"method": "GET", "path": "/metrics"}]
    yield await rate("/metrics of all devices", server, count, metrics, 200, 10, 1)
    yield await rate("polls, nothing to do", server, count, fleet.asked("GET"), 200, rounds)
    etags = await _etags(server, fleet)
    unchanged = [asked | {"headers": asked["headers"] | {"If-None-Match": etags[n]}} for n, asked in _numbered(fleet)]
    yield await rate("polls, nothing has changed", server, count, unchanged, 304, rounds)
    await fleet.order(artifact)
    await until_offered(server, fleet)
    yield await rate("polls, an action waits", server, count, fleet.asked("GET"), 200, rounds)
    path = "/deploymentBase/1/feedback"
    begins = {"id": "1", "status": {"execution": "proceeding", "result": {"finished": "none"}}}
    yield await rate("feedback that begins", server, count, fleet.asked("POST", path, begins), 200)
    await rate("reports after the change", server, count, fleet.asked("POST", "/health", report(artifact.content)), 200)
    ends = {"id": "1", "status": {"execution": "closed", "result": {"finished": "success"}}}
    before = server.cpu_seconds()
    ended = await rate("feedback that ends", server, count, fleet.asked("POST", path, ends), 200)
    yield ended
    await _until_idle(server)
    used = server.cpu_seconds() - before
    yield replace(ended, what="the same, with its status write", per_cpu_second=count / used)
    yield Resident("memory, after all of this", count, server.resident_mib())


async def _until_idle(server: Server) -> None:
    """Until the server has next to nothing to do any more, and not only no turn on a busy machine."""
    quiet = 0
    while quiet < QUIET_SECONDS:
        before = server.cpu_seconds()
        await asyncio.sleep(1.0)
        quiet = quiet + 1 if server.cpu_seconds() - before < IDLE_SHARE else 0


def _numbered(fleet: Fleet) -> Iterator[tuple[str, Json]]:
    return zip(fleet.names, fleet.asked("GET"), strict=True)


async def _etags(server: Server, fleet: Fleet) -> dict[str, str]:
    found = {}
    async with aiohttp.ClientSession(f"http://{server.host}:{server.port}") as session:
        for name, asked in _numbered(fleet):
            async with session.get(asked["path"], headers=asked["headers"] | {"Host": "bridge"}) as response:
                found[name] = response.headers["ETag"]
    return found


async def figures(sizes: list[int]) -> AsyncIterator[Figure]:
    """What the bridge is measured against, each number of devices in a sandbox of its own, and downloads."""
    async with started(sys.executable, "-m", "tests.scale.bare") as bare:
        yield await rate("a bare handler", bare, 0, [{"method": "GET", "path": "/"}], 200, LEAST_REQUESTS)
    with TemporaryDirectory(prefix="backstay-bench-") as directory:
        async with goosebit(Path(directory)) as theirs:
            yield await polls(theirs, GOOSEBIT_DEVICES, GOOSEBIT_ROUNDS)
    for size in sizes:
        async with _sandbox() as sandbox:
            async for one in measured(sandbox, size):
                yield one
    async with _sandbox() as sandbox:
        async for one in throughputs(sandbox):
            yield one


@asynccontextmanager
async def _sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox.start(ROOT / OUT / f"sandbox-{time.strftime('%H%M%S')}") as sandbox:
        await sandbox.apply(ROOT / "crds")
        await sandbox.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))
        yield sandbox


async def main(sizes: list[int]) -> None:
    """Take all figures, print each as it comes, and write them to one file."""
    OUT.mkdir(parents=True, exist_ok=True)
    print("\nOne bridge", flush=True)
    found: list[Figure] = []
    async for one in figures(sizes):
        found.append(one)
        print(_line(one), flush=True)
    report = {"machine": machine(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    text = json.dumps(report | {"figures": [asdict(one) for one in found]}, indent=2)
    (OUT / "gateway.json").write_text(text + "\n")


def _line(one: Figure) -> str:
    match one:
        case Rate():
            latency = f"p50 {one.median_ms:6.1f} ms   p99 {one.p99_ms:6.1f} ms"
            figure = f"{one.devices:7,}{one.per_cpu_second:12,.0f} a CPU second   {latency}"
        case Throughput():
            figure = f"{one.connections:7,}{one.per_cpu_second:12,.0f} MiB a CPU second   {one.per_second:,.0f} MiB/s"
        case Resident():
            figure = f"{one.devices:7,}{one.mib:12,.0f} MiB"
    return f"  {one.what:36}{figure}"


if __name__ == "__main__":
    asyncio.run(main([int(size) for size in sys.argv[1:]] or [1_000, 10_000]))
