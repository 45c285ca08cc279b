"""The agent as a process: its identity, its lock, and a word to systemd that it lives."""

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from ssl import SSLContext
from typing import Final

import aiohttp
from cryptography import x509
from cryptography.x509.oid import NameOID

from backstay.adapters.kube.client import KubeClient
from backstay.adapters.kube.node_identity import NodeIdentity
from backstay.adapters.node.durable import make_directory
from backstay.adapters.node.supervision import Supervisor
from backstay.adapters.system_clock import SystemClock
from backstay.agent.assembly import Program, Settings, assemble
from backstay.core.planes import Plane
from backstay.errors import Refused

NODE_USER: Final = "system:node:"
RENEWAL_SECONDS: Final = 30.0
REBOOT: Final = ("systemctl", "reboot")
BY_HAND: Final = "reboot the node by hand, the agent goes on after that"
WATCHDOG_SHARE: Final = 3
"""So often within systemd's patience the agent says that it lives."""

log = logging.getLogger(__name__)


async def serve(settings: Settings, kubeconfig: Path, server: str | None, announce: Callable[[str], None]) -> None:
    """Run the agent until cancelled, or until the node has to be rebooted.

    Raises:
        Refused: another agent runs here, or the node's identity cannot be used.
    """
    identity = NodeIdentity.read(kubeconfig, server)
    settings = replace(settings, node=settings.node or node_name(identity))
    with only_one(settings.data):
        async with AsyncExitStack() as stack:
            tls, clock = identity.tls(), SystemClock()
            connection = KubeClient.connect_as(identity, tls, field_manager="backstay-agent")
            client = await stack.enter_async_context(connection)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            node = assemble(settings, client, session, clock)
            if settings.metrics_at is not None:
                # What serves takes 2 MB, which a node that nobody scrapes need not have.
                from backstay.agent.scraped import scraped  # noqa: PLC0415
                from backstay.agent.series import NodeSeries  # noqa: PLC0415

                series = NodeSeries(node, clock, settings.root, settings.data)
                address = await stack.enter_async_context(scraped(series, *settings.metrics_at))
                announce(f"metrics at {address}/metrics")
            announce(f"agent of {settings.node} follows {settings.commander.namespace}/{settings.commander.name}")
            async with asyncio.TaskGroup() as tasks:
                others = [tasks.create_task(_renewals(identity, tls)), tasks.create_task(_watchdog(node.started))]
                if isinstance(settings.firmware, Program):
                    supervisor = Supervisor(settings.data / Plane.FIRMWARE / "current")
                    others.append(tasks.create_task(supervisor.run()))
                await node.run()
                for task in others:
                    task.cancel()
    await reboot()


async def reboot() -> None:
    """Let the node reboot; when this returns it is on its way down.

    Raises:
        Refused: it cannot be told to.
    """
    log.warning("the node reboots to change its system")
    try:
        process = await asyncio.create_subprocess_exec(*REBOOT)
    except OSError as error:
        raise Refused(
            f"the node cannot be rebooted: {error}; reboot it by hand, the agent goes on after that"
        ) from error
    if status := await process.wait():
        raise Refused(f"{' '.join(REBOOT)} ended with {status}; {BY_HAND}")


@contextmanager
def only_one(data: Path) -> Iterator[None]:
    """Keep a second agent from this node: two would change the same files.

    Raises:
        Refused: one runs already, or the directory cannot be written.
    """
    try:
        make_directory(data)
        lock = (data / "lock").open("a")
    except OSError as error:
        raise Refused(f"{data} cannot be used: {error}; choose another --data") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"another agent runs on {data}; there is one for each node") from error
        yield


def node_name(identity: NodeIdentity) -> str:
    """The node that a certificate is for.

    Raises:
        Refused: it is not a node's.
    """
    try:
        certificate = x509.load_pem_x509_certificate(Path(identity.cert_file or "").read_bytes())
        names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (OSError, ValueError) as error:
        raise Refused(f"the node's certificate {identity.cert_file} cannot be read: {error}") from error
    if not names or not names[0].startswith(NODE_USER):
        whose = names[0] if names else "nobody"
        raise Refused(
            f"the certificate {identity.cert_file} is of {whose}, not of a node; name the kubelet's kubeconfig"
        )
    return names[0].removeprefix(NODE_USER)


def notify(state: str) -> None:
    """Say something to systemd, where it started this process.

    Source: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
    """
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            try:
                connection.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
            except OSError as error:
                log.warning("systemd does not hear: %s", error)


async def _watchdog(started: asyncio.Event) -> None:
    """Tell systemd that the loop turns; one that hangs is killed, and the next agent goes on from the journal."""
    await started.wait()
    notify("READY=1")
    patience = int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000
    while patience > 0:
        notify("WATCHDOG=1")
        await asyncio.sleep(patience / WATCHDOG_SHARE)


async def _renewals(identity: NodeIdentity, tls: SSLContext) -> None:
    """Take up the certificate that the kubelet renews."""
    known = identity.stamp()
    while True:
        await asyncio.sleep(RENEWAL_SECONDS)
        if (found := identity.stamp()) == known:
            continue
        try:
            identity.renew(tls)
            known = found
            log.info("the node's certificate was renewed")
        except OSError as error:
            log.warning("the node's new certificate cannot be read yet: %s", error)
