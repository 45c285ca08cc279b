"""What a bridge can carry: `python -m tests.scale.gateway [DEVICES …]`, against the real API server of a sandbox.

The bridge is the command that users run, the load comes from another process, and requests are counted for each second
of the server's own CPU, as Linux counts it. A handler that answers the same bytes and knows nothing is the limit of the
library underneath; both are measured in the same run.
"""

# ruff: noqa: T201 - a benchmark prints its table
import asyncio
import base64
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import aiohttp

from backstay.adapters.kube.client import EDGE_DEVICES, SECRETS, KubeClient, Resource
from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.bridge.tokens import target_token
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription, Repository
from backstay.sandbox import Sandbox
from tests.scale.measuring import machine

Json = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
BACKSTAY: Final = Path(sys.executable).with_name("backstay")
OUT: Final = Path("build/bench")
NAMESPACE: Final = "bench"
GATEWAY: Final = "gw-bench"
OLD: Final = f"sha256:{'0' * 64}"
TICKS: Final = os.sysconf("SC_CLK_TCK")
WRITES_AT_ONCE: Final = 16
LEAST_REQUESTS: Final = 20_000
IDLE_SHARE: Final = 0.1
"""Of a core: what a bridge does for itself."""
NAMESPACES: Final = Resource("", "v1", "namespaces", namespaced=False)


@dataclass(frozen=True, slots=True)
class Rate:
    """One kind of request."""

    what: str
    devices: int
    requests: int
    per_cpu_second: float
    median_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers, and where."""

    pid: int
    host: str
    port: int

    def cpu_seconds(self) -> float:
        """What the process has used so far, in user and system mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_mib(self) -> float:
        """What of it is in memory."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[Server]:
    """A server that prints its address as the last word of its first line."""
    with (OUT / "server.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            address = (await process.stdout.readline()).decode().split()[-1].removeprefix("http://")
        host, _, port = address.rpartition(":")
        yield Server(process.pid, host, int(port))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def rate(what: str, server: Server, devices: int, requests: list[Json], expected: int, rounds: int = 1) -> Rate:
    """Send requests from another process, and count what they cost the server."""
    plan = {"host": server.host, "port": server.port, "requests": requests, "rounds": rounds}
    before = server.cpu_seconds()
    load = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.scale.load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    out, _ = await load.communicate(json.dumps(plan).encode())
    told = json.loads(out)
    count = rounds * len(requests)
    if told["statuses"] != {str(expected): count}:
        raise AssertionError(f"{what}: expected {count} times {expected}, got {told['statuses']}")
    used = server.cpu_seconds() - before
    return Rate(what, devices, count, count / used, told["median_ms"], told["p99_ms"])


class Fleet:
    """The devices of one gateway, as the API server and as the load know them."""

    def __init__(self, kube: KubeClient, count: int) -> None:
        self.kube = kube
        self.key = secrets.token_bytes(32)
        self.names = [f"dev-{index:05}" for index in range(count)]
        self.headers = {
            name: {"Authorization": f"TargetToken {target_token(self.key, name, 1)}"} for name in self.names
        }

    async def create(self, sandbox: Sandbox) -> None:
        """Make the tenant, and all its devices."""
        await self.kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        data = {"key": base64.b64encode(self.key).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backstay-tenant-key"}, "data": data}
        await self.kube.create(SECRETS, secret, NAMESPACE)
        template = (ROOT / "manifests/tenant/bridge-rbac.yaml").read_text()
        await sandbox.apply(template.replace("TENANT", NAMESPACE).replace("GATEWAY", GATEWAY))
        await self.each(lambda name: self.kube.create(EDGE_DEVICES, _device(name), NAMESPACE))

    async def order(self, artifact: ArtifactDescription) -> None:
        """Order every device its first step."""
        desired = _desired(artifact)
        await self.each(
            lambda name: self.kube.merge_patch(EDGE_DEVICES, name, {"spec": {"desired": desired}}, NAMESPACE)
        )

    async def each(self, write: Callable[[str], Any]) -> None:
        """Do something for every device, some at a time."""
        names = iter(self.names)

        async def work() -> None:
            for name in names:
                await write(name)

        async with asyncio.TaskGroup() as group:
            for _ in range(WRITES_AT_ONCE):
                group.create_task(work())

    def asked(self, method: str, path: str = "", body: Json | None = None, **headers: str) -> list[Json]:
        """The same request of every device."""
        text = "" if body is None else json.dumps(body)
        return [
            {
                "method": method,
                "path": f"/{NAMESPACE}/controller/v1/{name}{path}",
                "headers": self.headers[name] | {key.replace("_", "-"): value for key, value in headers.items()},
                "body": text,
            }
            for name in self.names
        ]


def _device(name: str) -> Json:
    labels = {"customer": f"customer-{int(name[-2:]) % 40:02}", "region": "eu", "site": f"site-{name[-3:]}"}
    spec = {"class": "esp32", "gateway": GATEWAY}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "EdgeDevice", "metadata": metadata, "spec": spec}


def _desired(artifact: ArtifactDescription) -> Json:
    now = datetime.now(UTC)
    return {
        "config": {
            "plan": "vision",
            "revision": "3f9c2a1b-2",
            "ring": "everyone",
            "version": artifact.version,
            "artifact": str(artifact.reference),
            "content": artifact.content,
        },
        "step": {"number": 1, "plane": "config", "type": "Install", "issued": now.isoformat()},
        "probes": [{"name": "inference", "kind": "InferenceAlive"}],
        "window": "2m",
        "expires": (now + timedelta(hours=2)).isoformat(),
    }


def _report(running: str) -> Json:
    plane = {"running": running, "version": "1.0.0", "fallback": OLD, "fallbackVersion": "0.9.0"}
    return {
        "planes": {"config": plane},
        "agent": "bench/1",
        "slot": "ota_0",
        "probes": [{"name": "camera", "passed": True}, {"name": "inference", "passed": True}],
        "resources": {"inference_latency_seconds": 0.04, "inference_accuracy": 0.97, "heap_free_bytes": 123456},
        "log": ["inference took 40 ms", "all is well"],
        "interval": 60.0,
    }


async def measured(sandbox: Sandbox, count: int) -> AsyncIterator[Rate]:
    """All figures for one number of devices."""
    rounds = max(1, LEAST_REQUESTS // count)
    async with KubeClient.connect(sandbox.kubeconfig) as kube:
        fleet = Fleet(kube, count)
        await fleet.create(sandbox)
        with TemporaryDirectory(prefix="backstay-bench-") as directory:
            artifact = await _pushed(sandbox, Path(directory))
            async with _bridge(sandbox, Path(directory)) as server:
                async for found in _of_bridge(server, fleet, artifact, rounds):
                    yield found
        await kube.delete(NAMESPACES, NAMESPACE)


async def _of_bridge(server: Server, fleet: Fleet, artifact: ArtifactDescription, rounds: int) -> AsyncIterator[Rate]:
    count = len(fleet.names)
    yield await rate("health reports", server, count, fleet.asked("POST", "/health", _report(OLD)), 200, rounds)
    await _until_idle(server)
    metrics = [{"method": "GET", "path": "/metrics"}]
    yield await rate("/metrics of all devices", server, count, metrics, 200, 10)
    yield await rate("polls, nothing to do", server, count, fleet.asked("GET"), 200, rounds)
    etags = await _etags(server, fleet)
    unchanged = [asked | {"headers": asked["headers"] | {"If-None-Match": etags[n]}} for n, asked in _numbered(fleet)]
    yield await rate("polls, nothing has changed", server, count, unchanged, 304, rounds)
    await fleet.order(artifact)
    await _until_offered(server, fleet)
    yield await rate("polls, an action waits", server, count, fleet.asked("GET"), 200, rounds)
    path = "/deploymentBase/1/feedback"
    begins = {"id": "1", "status": {"execution": "proceeding", "result": {"finished": "none"}}}
    yield await rate("feedback that begins", server, count, fleet.asked("POST", path, begins), 200)
    await rate(
        "reports after the change", server, count, fleet.asked("POST", "/health", _report(artifact.content)), 200
    )
    ends = {"id": "1", "status": {"execution": "closed", "result": {"finished": "success"}}}
    before = server.cpu_seconds()
    ended = await rate("feedback that ends", server, count, fleet.asked("POST", path, ends), 200)
    yield ended
    await _until_idle(server)
    used = server.cpu_seconds() - before
    yield replace(ended, what="the same, with its status write", per_cpu_second=count / used)
    print(f"  the bridge has {server.resident_mib():.0f} MiB resident, {count:,} devices", flush=True)


async def _until_idle(server: Server) -> None:
    """Until the server has next to nothing to do any more."""
    busy = 1.0
    while busy > IDLE_SHARE:
        before = server.cpu_seconds()
        await asyncio.sleep(1.0)
        busy = server.cpu_seconds() - before


def _numbered(fleet: Fleet) -> Iterator[tuple[str, Json]]:
    return zip(fleet.names, fleet.asked("GET"), strict=True)


async def _etags(server: Server, fleet: Fleet) -> dict[str, str]:
    found = {}
    async with aiohttp.ClientSession(f"http://{server.host}:{server.port}") as session:
        for name, asked in _numbered(fleet):
            async with session.get(asked["path"], headers=asked["headers"] | {"Host": "bridge"}) as response:
                found[name] = response.headers["ETag"]
    return found


async def _until_offered(server: Server, fleet: Fleet) -> None:
    """Until the last device that was ordered something is offered it."""
    async with aiohttp.ClientSession(f"http://{server.host}:{server.port}") as session, asyncio.timeout(60):
        for _, asked in _numbered(fleet):
            while True:
                async with session.get(asked["path"], headers=asked["headers"]) as response:
                    if "deploymentBase" in (await response.json())["_links"]:
                        break
                await asyncio.sleep(0.1)


async def _pushed(sandbox: Sandbox, directory: Path) -> ArtifactDescription:
    payload, schema = directory / "config.json", directory / "schema.json"
    payload.write_text(json.dumps({"threshold": 0.5, "padding": secrets.token_hex(1000)}))
    schema.write_text(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}))
    async with aiohttp.ClientSession() as session:
        repository = Repository.parse(f"{sandbox.registry}/bench/config")
        config = NewArtifact(Plane.CONFIG, "1.0.0", "esp32", payload, {}, schema)
        return await push_artifact(OciRegistry(Transport(session)), repository, config)


@asynccontextmanager
async def _bridge(sandbox: Sandbox, directory: Path) -> AsyncIterator[Server]:
    kubeconfig = await sandbox.service_account_kubeconfig(NAMESPACE, f"bridge-{GATEWAY}")
    command = (
        *(str(BACKSTAY), "bridge", "run", "--kubeconfig", str(kubeconfig)),
        *("--namespace", NAMESPACE, "--gateway", GATEWAY, "--listen", "127.0.0.1:0"),
        *("--cache", str(directory / "cache"), "--poll-seconds", "60"),
    )
    async with started(*command) as server:
        yield server


async def main(sizes: list[int]) -> None:
    """Measure each number of devices in a sandbox of its own."""
    OUT.mkdir(parents=True, exist_ok=True)
    async with started(sys.executable, "-m", "tests.scale.bare") as bare:
        limit = await rate("a bare handler", bare, 0, [{"method": "GET", "path": "/"}], 200, LEAST_REQUESTS)
    for size in sizes:
        directory = ROOT / "build" / "bench" / f"sandbox-{time.strftime('%H%M%S')}"
        found = [limit]
        print(f"\n{size:,} devices behind one gateway\n{_line(limit)}", flush=True)
        async with Sandbox.start(directory) as sandbox:
            await sandbox.apply(ROOT / "crds")
            await sandbox.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(ROOT / "crds"))
            async for one in measured(sandbox, size):
                found.append(one)
                print(_line(one), flush=True)
        report = {"machine": machine(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
        text = json.dumps(report | {"rates": [asdict(one) for one in found]}, indent=2)
        (OUT / f"gateway-{size}.json").write_text(text + "\n")


def _line(one: Rate) -> str:
    latency = f"p50 {one.median_ms:6.1f} ms   p99 {one.p99_ms:6.1f} ms"
    return f"  {one.what:32}{one.per_cpu_second:9.0f} a CPU second   {latency}"


if __name__ == "__main__":
    asyncio.run(main([int(size) for size in sys.argv[1:]] or [1_000, 10_000]))
