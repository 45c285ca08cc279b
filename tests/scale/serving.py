"""Servers under load: what each answers for a second of its own CPU, as Linux counts it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backstay.sandbox.ports import RANGE, is_free

Json = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
OUT: Final = Path("build/bench")
CONNECTIONS: Final = 32
TICKS: Final = os.sysconf("SC_CLK_TCK")


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
class Resident:
    """What of a server is in memory at one moment."""

    what: str
    devices: int
    mib: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """How fast one server sent a file over many connections, in MiB; the best of its turns."""

    what: str
    connections: int
    per_cpu_second: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Server:
    """A process that answers, and where."""

    pid: int
    host: str
    port: int

    def cpu_seconds(self) -> float:
        """What the process and its children have used so far, in user and system mode."""
        return sum(cpu_seconds(pid) for pid in (self.pid, *_children(self.pid)))

    def resident_mib(self) -> float:
        """What of it is in memory."""
        return resident_mib(self.pid)


def resident_mib(pid: int) -> float:
    """What of a process is in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@asynccontextmanager
async def running(*command: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is ended with the block; what it says of errors is in a file."""
    with (OUT / "server.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=ROOT, env=os.environ | environment
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[Server]:
    """A server that prints its address as the last word of its first line."""
    async with running(*command) as process:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            address = (await process.stdout.readline()).decode().split()[-1].removeprefix("http://")
        host, _, port = address.rpartition(":")
        yield Server(process.pid, host, int(port))


@asynccontextmanager
async def started_at(port: int, *command: str, **environment: str) -> AsyncIterator[Server]:
    """A server that is told its port on the loopback address, and says nothing."""
    async with running(*command, **environment) as process:
        async with asyncio.timeout(60):
            while not await _is_open(port):
                if process.returncode is not None:
                    raise AssertionError(f"{command[0]} ended: see {OUT / 'server.log'}")
                await asyncio.sleep(0.1)
        yield Server(process.pid, "127.0.0.1", port)


def free_port() -> int:
    """A port that a server could listen on now."""
    return next(port for port in RANGE if is_free(port))


async def _is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def rate(
    what: str,
    server: Server,
    devices: int,
    requests: list[Json],
    expected: int,
    rounds: int = 1,
    connections: int = CONNECTIONS,
) -> Rate:
    """Send requests from another process, and count what they cost the server."""
    plan = {"requests": requests, "rounds": rounds, "connections": connections}
    before = server.cpu_seconds()
    told = await played("tests.scale.load", server, plan)
    used = server.cpu_seconds() - before
    count = rounds * len(requests)
    if told["statuses"] != {str(expected): count}:
        raise AssertionError(f"{what}: expected {count} times {expected}, got {told['statuses']}")
    return Rate(what, devices, count, count / used, told["median_ms"], told["p99_ms"])


async def played(module: str, server: Server, plan: Json) -> Json:
    """Let a process of its own ask the server what a plan says, and give what it tells."""
    load = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, _ = await load.communicate(json.dumps(plan | {"host": server.host, "port": server.port}).encode())
    told: Json = json.loads(out)
    return told
