"""Holds the namespaces of one node, and joins its network to this machine's.

    machine (this process, outside)  ──  first process (inside)  ──  containerd, kubelet, shims, containers

Whatever ends this process, the kernel ends the first process inside, and with it all others. Inside, the API server
and the registry answer at the same loopback ports as outside, and the API server also as the Service that Pods know:
what is said there is carried over here.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import TextIO

from backstay.sandbox.node import cgroups
from backstay.sandbox.node.first_process import CABLE
from backstay.sandbox.node.namespaces import network_of
from backstay.sandbox.node.network import DEVICES, Network
from backstay.sandbox.process import POLL_SECONDS, Identity
from backstay.sandbox.service_network import API_SERVICE, API_SERVICE_PORT

CHUNK_BYTES = 65_536
CABLE_GONE_SECONDS = 5.0


@contextlib.contextmanager
def inside_of(name: str, network: Network) -> Iterator[int]:
    """Run the first process of a node, with its network up, and end it after the block; gives its number.

    Raises `OSError` or `CalledProcessError` if this user may not, or the network's name is taken.
    """
    fresh = ("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL")
    program = (sys.executable, "-m", "backstay.sandbox.node.first_process", name, network.with_length(network.node))
    near, far = socket.socketpair()
    process = subprocess.Popen(
        ("setpriv", "--pdeathsig", "KILL", *fresh, *program), stdin=far.fileno(), stdout=far.fileno()
    )
    far.close()
    pid = 0
    try:
        with near, near.makefile("rw", encoding="ascii") as talk:
            pid = int(_heard(talk, f"the namespaces of node {name}"))
            _lay_cable(network, pid)
            talk.write("go\n")
            talk.flush()
            _heard(talk, f"the network of node {name}")
        yield pid
    finally:
        _end(process, pid)


def _heard(talk: TextIO, what: str) -> str:
    line = talk.readline()
    if not line:
        raise OSError(f"{what} could not be made; what was wrong stands above")
    return line


def _end(process: subprocess.Popen[bytes], pid: int) -> None:
    if process.poll() is None:
        # The number outside of the first process; its parent ends only once everything inside is gone.
        os.kill(pid or process.pid, signal.SIGKILL)
    process.wait()


def _lay_cable(network: Network, pid: int) -> None:
    # The kernel takes a moment to pull the cable of a machine that was killed.
    deadline = time.monotonic() + CABLE_GONE_SECONDS
    while (DEVICES / network.link).exists() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    cable = ("ip", "link", "add", network.link, "type", "veth", "peer", "name", CABLE, "netns", str(pid))
    subprocess.run(cable, check=True)
    subprocess.run(("ip", "address", "add", network.with_length(network.host), "dev", network.link), check=True)
    subprocess.run(("ip", "link", "set", network.link, "up"), check=True)


def listeners(pid: int, network: Network, ports: list[int], api: int) -> list[tuple[socket.socket, int]]:
    """Listen inside the node, for its own programs on loopback and for its Pods on its address.

    Each listener comes with its port outside.
    """
    addresses = ("127.0.0.1", str(network.node))
    with network_of(pid):
        return [
            *((socket.create_server((address, port)), port) for port in ports for address in addresses),
            (socket.create_server((API_SERVICE, API_SERVICE_PORT)), api),
        ]


async def carry(sockets: list[tuple[socket.socket, int]], ended: asyncio.Event) -> None:
    """Join every connection that is made inside to its port outside, until `ended`."""
    async with contextlib.AsyncExitStack() as stack:
        for listener, port in sockets:
            await stack.enter_async_context(await asyncio.start_server(_to(port), sock=listener))
        await ended.wait()


def _to(port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def join(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            far, forth = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            back.transport.abort()
            return
        await asyncio.gather(_pump(near, forth), _pump(far, back))

    return join


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(CHUNK_BYTES):
            target.write(chunk)
            await target.drain()
        target.write_eof()
    except OSError:
        target.transport.abort()


async def run(options: argparse.Namespace) -> None:
    """Hold a node until this process is asked to end, or the first process inside has ended."""
    network = Network(options.network)
    with inside_of(options.name, network) as pid:
        cgroups.create(options.cgroup, pid)
        options.pid_file.write_text(str(pid), encoding="ascii")
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            loop.add_signal_handler(number, ended.set)
        if Identity.of(pid) is None:
            ended.set()
        await carry(listeners(pid, network, options.port, options.api), ended)


def main() -> None:
    """Run as a component of the sandbox."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--network", type=IPv4Network, required=True)
    parser.add_argument("--cgroup", required=True)
    parser.add_argument("--pid-file", type=Path, required=True)
    parser.add_argument("--api", type=int, required=True)
    parser.add_argument("--port", type=int, action="append", default=[])
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    finally:
        cgroups.remove(options.cgroup)


if __name__ == "__main__":
    main()
