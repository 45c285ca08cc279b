"""`backstay agent run` as an administrator starts it: a node's own certificate, and systemd's socket to speak to."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

BACKSTAY = Path(sys.executable).with_name("backstay")


class Notices:
    """What services say to systemd, as systemd would hear it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def hears(self, word: str, seconds: float = 60) -> None:
        """Wait until it is said."""
        async with asyncio.timeout(seconds):
            while word not in (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode():
                pass

    def close(self) -> None:
        self._socket.close()
        self.path.unlink()


@contextmanager
def notices(directory: Path) -> Iterator[Notices]:
    """A socket to be named in NOTIFY_SOCKET."""
    heard = Notices(directory / "notify")
    try:
        yield heard
    finally:
        heard.close()


@dataclass(frozen=True, slots=True)
class Started:
    """An agent that says it is ready."""

    process: asyncio.subprocess.Process
    seconds: float
    """From its start until it was ready."""


@dataclass(frozen=True, slots=True)
class Installation:
    """One node's agent: what it is told on the command line, and where it keeps what it keeps."""

    directory: Path
    kubeconfig: Path
    namespace: str
    device: str
    options: tuple[str, ...] = ()

    @property
    def log(self) -> Path:
        return self.directory / "agent.log"

    @property
    def data(self) -> Path:
        return self.directory / "lib"

    async def start(self, **environment: str) -> asyncio.subprocess.Process:
        """Start it, whatever becomes of it."""
        commander = self.directory / "device"
        commander.write_text(f"{self.namespace}/{self.device}\n")
        with self.log.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *(BACKSTAY, "agent", "run", "--commander", commander, "--kubeconfig", self.kubeconfig),
                *("--data", self.data, *self.options),
                stdout=output,
                stderr=output,
                env=os.environ | environment,
            )

    @asynccontextmanager
    async def running(self, **environment: str) -> AsyncIterator[Started]:
        """Keep it running until the block ends; it is ready when the block begins."""
        with notices(self.directory) as heard:
            began = time.monotonic()
            process = await self.start(NOTIFY_SOCKET=str(heard.path), **environment)
            try:
                await heard.hears("READY=1")
                yield Started(process, time.monotonic() - began)
                assert process.returncode is None, self.log.read_text()
            finally:
                if process.returncode is None:
                    process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0, self.log.read_text()
