"""A machine for each test, the cluster that it belongs to, and a server that it fetches files from."""

import asyncio
import functools
import http.server
import os
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backstay.adapters.kube.client import KubeClient
from backstay.sandbox import Sandbox
from tests.cluster.conftest import kube, namespace, sandbox
from tests.cluster.test_agent import DEVICE, appoint
from tests.vm.delivery import NODE
from tests.vm.machine import Machine, unavailable
from tests.vm.snapshot import prepared

__all__ = ["kube", "namespace", "sandbox"]


@pytest.fixture(autouse=True)
def _emulator() -> None:
    """Skip where no machine can be booted, but in CI."""
    if lacking := unavailable():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(lacking)


@pytest.fixture
async def machine(sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine as the factory delivers it, and what its administrator puts there."""
    image, begun = await asyncio.to_thread(prepared)
    await appoint(sandbox, kube, namespace, DEVICE, NODE)
    async with Machine(tmp_path / "machine", image, begun) as made:
        await made.go_on()
        yield made


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Served:
    """A directory that a machine can fetch files from."""

    directory: Path
    port: int

    def fetch(self, name: str, to: str) -> str:
        """The command that fetches one, in the machine."""
        of = f"http://10.0.2.2:{self.port}/{name}"
        return f"python3 -c \"import urllib.request; urllib.request.urlretrieve('{of}', '{to}')\""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    directory = tmp_path / "served"
    directory.mkdir()
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=str(directory))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Served(directory, server.server_address[1])
        server.shutdown()
        thread.join()
