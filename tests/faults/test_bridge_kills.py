"""A bridge is killed at every named place while releases go through it and through another; nothing is lost or doubled.

What was written is judged by the API server's audit log, not by anything that a bridge or the operator says.
"""

import asyncio
import base64
import os
import secrets
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.failpoints import BRIDGE, VARIABLE
from backstay.adapters.kube.client import SECRETS, KubeClient
from backstay.sandbox import Sandbox
from tests.cluster.conftest import ROOT
from tests.cluster.operator_stage import running_operator
from tests.faults.ddi_devices import DdiDevices
from tests.faults.recount import ANSWERS, events_of, writes_in
from tests.faults.release import DEVICES, Release

Json = dict[str, Any]

BACKSTAY = Path(sys.executable).with_name("backstay")
UNTOUCHED, KILLED = "gw-eu", "gw-us"


@dataclass
class Bridge:
    """One gateway's bridge: started again at the same address whenever it has ended."""

    sandbox: Sandbox
    namespace: str
    gateway: str
    directory: Path
    listen: str = "127.0.0.1:0"
    lives: int = 0
    _failpoint: str = ""
    _process: asyncio.subprocess.Process | None = None
    _died: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://{self.listen}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep it running until the block ends."""
        kubeconfig = await self.sandbox.service_account_kubeconfig(self.namespace, f"bridge-{self.gateway}")
        self.directory.mkdir(parents=True)
        await self._start(kubeconfig)
        task = asyncio.create_task(self._start_again(kubeconfig))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if self._process and self._process.returncode is None:
                self._process.send_signal(signal.SIGTERM)
                await self._process.wait()

    async def dies_at(self, failpoint: str, passage: int, seconds: float = 60) -> None:
        """End it, and let its next life end at a named place."""
        assert self._process is not None
        self._failpoint = f"{failpoint}:{passage}"
        self._died.clear()
        self._process.kill()
        async with asyncio.timeout(seconds):
            await self._died.wait()

    async def _start_again(self, kubeconfig: Path) -> None:
        while True:
            assert self._process is not None
            ended = await self._process.wait()
            # SIGKILL is either ours, for a new life with a failpoint, or the failpoint's own.
            assert ended == -signal.SIGKILL, (self.directory / "bridge.log").read_text()[-4000:]
            failpoint, self._failpoint = self._failpoint, ""
            await self._start(kubeconfig, failpoint)
            if not failpoint:
                self._died.set()

    async def _start(self, kubeconfig: Path, failpoint: str = "") -> None:
        with (self.directory / "bridge.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(BACKSTAY, "bridge", "run", "--kubeconfig", str(kubeconfig), "--listen", self.listen),
                *("--namespace", self.namespace, "--gateway", self.gateway),
                *("--cache", str(self.directory / "cache"), "--state", str(self.directory / "state")),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, VARIABLE: failpoint},
            )
        self.lives += 1
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            line = (await self._process.stdout.readline()).decode().strip()
        # A life may be over before it has said where it listens.
        self.listen = line.rpartition("//")[2] or self.listen


@pytest.fixture
async def tenant(sandbox: Sandbox, kube: KubeClient, namespaces: tuple[str, str]) -> bytes:
    """The key of a namespace made ready for two bridges."""
    key, namespace = secrets.token_bytes(32), namespaces[0]
    data = {"key": base64.b64encode(key).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backstay-tenant-key"}, "data": data}
    await kube.create(SECRETS, secret, namespace)
    text = (ROOT / "manifests/tenant/bridge-rbac.yaml").read_text().replace("TENANT", namespace)
    for gateway in (UNTOUCHED, KILLED):
        await sandbox.apply(text.replace("GATEWAY", gateway))
    return key


def answers_written(sandbox: Sandbox, namespace: str) -> dict[tuple[str, str, int], list[str]]:
    """Device, plane and step → the states that its status has had of it, by the audit log, one for each change."""
    found: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    for name, plane, step, state in _states(sandbox, namespace):
        if step and (not found[name, plane, step] or found[name, plane, step][-1] != state):
            found[name, plane, step].append(state)
    return found


def _states(sandbox: Sandbox, namespace: str) -> Iterator[tuple[str, str, int, str]]:
    assert sandbox.audit_log is not None
    for write in writes_in(events_of(sandbox.audit_log, namespace)):
        if write.resource == "edgedevices" and write.subresource == "status":
            for plane, told in write.body.get("status", {}).get("planes", {}).items():
                yield write.name, plane, told.get("step", 0), told.get("state", "")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "passage", [1, pytest.param(2, marks=pytest.mark.sweep), pytest.param(3, marks=pytest.mark.sweep)]
)
async def test_nothing_is_lost_or_doubled_when_a_bridge_is_killed_at_every_place(
    sandbox: Sandbox,
    kube: KubeClient,
    identity: Path,
    namespaces: tuple[str, str],
    tenant: bytes,
    tmp_path: Path,
    passage: int,
) -> None:
    namespace = namespaces[0]
    gateways = {name: (KILLED if number % 2 else UNTOUCHED) for number, name in enumerate(DEVICES)}
    devices = DdiDevices(kube, namespace, tenant, gateways)
    release = Release(sandbox, kube, namespace, tmp_path, devices=devices)
    await release.prepare()
    untouched, killed = (Bridge(sandbox, namespace, name, tmp_path / name) for name in (UNTOUCHED, KILLED))
    async with untouched.running(), killed.running(), running_operator(sandbox, tmp_path, kubeconfig=identity):
        devices.urls |= {bridge.gateway: bridge.url for bridge in (untouched, killed)}
        async with devices.obeying():
            wanted = await release.begin()
            for failpoint in BRIDGE:
                dying = asyncio.create_task(killed.dies_at(failpoint, passage))
                while not dying.done():
                    # Releases follow one another until there was an occasion to die.
                    ending = asyncio.create_task(release.ends("", wanted))
                    await asyncio.wait((dying, ending), return_when=asyncio.FIRST_COMPLETED)
                    if ending.done():
                        await ending
                        wanted = await release.begin()
                    else:
                        ending.cancel()
                await dying
            await release.ends("", wanted)
            # What the last answers left to write.
            await asyncio.sleep(2)
    assert killed.lives == 1 + 2 * len(BRIDGE)
    assert untouched.lives == 1
    assert devices.contradicted == []
    counted = release.proved()
    written = answers_written(sandbox, namespace)
    for order in counted.orders:
        told = written[order.device, order.plane, order.number]
        assert told == ["Downloading", "Confirmed"], f"{order.device} {order.plane} {order.number}: {told}"
        assert devices.confirmed[order.device, order.number] == 1
    assert all(told[-1] in ANSWERS for told in written.values())
