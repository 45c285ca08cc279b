"""One machine under plain emulation: boots from its own copy of the disk, obeys a test, and loses its power."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from backstay.sandbox.process import Child
from tests.vm.image_builder import Image

MEMORY_MIB = 384
BOOT_SECONDS = 300


def unavailable() -> str | None:
    """What this computer lacks to run a machine."""
    missing = [name for name in ("qemu-system-x86_64", "qemu-img", "mmdebstrap") if shutil.which(name) is None]
    return f"{', '.join(missing)} not there: `make setup-machines` installs it" if missing else None


@dataclass
class Machine:
    """A machine with a disk of its own in `directory`."""

    directory: Path
    image: Image
    record: Path | None = None
    """Where every write to the disk is recorded, for the power cuts."""
    _process: Child | None = None
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None
    _numbers: Any = field(default_factory=itertools.count)

    @property
    def disk(self) -> Path:
        return self.directory / "disk.qcow2"

    @property
    def console(self) -> Path:
        """What it wrote on its first serial line."""
        return self.directory / "console.log"

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self.disk.exists():
            made = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", self.image.disk, "-F", "raw", self.disk)
            await asyncio.to_thread(subprocess.run, made, check=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut_power()

    async def power_on(self) -> None:
        """Begin to boot."""
        drive = f"driver=qcow2,node-name=disk,file.driver=file,file.filename={self.disk}"
        if self.record is not None:
            self.record.touch()
            recorded = f"driver=blklogwrites,node-name=recorded,file=disk,log.driver=file,log.filename={self.record}"
            drives = ("-blockdev", drive, "-blockdev", recorded)
        else:
            drives = ("-blockdev", drive)
        shell = self.directory / "shell"
        shell.unlink(missing_ok=True)
        command = (
            *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", str(MEMORY_MIB), "-display", "none"),
            *("-nodefaults", "-serial", f"file:{self.console}"),
            *("-chardev", f"socket,id=shell,path={shell},server=on,wait=off", "-serial", "chardev:shell"),
            *drives,
            *("-device", f"virtio-blk-pci,drive={'recorded' if self.record else 'disk'}"),
            *("-drive", f"file={self.image.agent},format=raw,if=none,id=agent,readonly=on"),
            *("-device", "virtio-blk-pci,drive=agent"),
            *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="),
        )
        self._process = Child("the machine", command, self.directory / "qemu.log", environment=os.environ)
        self._process.start()
        while not shell.exists():
            self._process.check()
            await asyncio.sleep(0.05)
        self._reader, self._writer = await asyncio.open_unix_connection(shell, limit=2**24)

    async def cut_power(self) -> None:
        """End it at once."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._process is not None:
            self._process.kill()

    async def is_up(self, seconds: float = BOOT_SECONDS) -> None:
        """Return when it obeys and RAUC can be asked."""
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(8):
                        # RAUC's bundles are mounted by these.
                        if (await self._ask("modprobe -a loop dm-verity"))["status"] == 0:
                            return
                        await asyncio.sleep(1)

    async def run(self, command: str, *, given: str = "", seconds: float = 180) -> str:
        """What a command of the shell said; it must end well."""
        async with asyncio.timeout(seconds):
            answer = await self._ask(command, given)
        assert answer["status"] == 0, f"{command}: {answer['said']}"
        return str(answer["said"])

    async def write(self, path: str, data: bytes) -> None:
        quoted = shlex.quote(path)
        await self.run(
            f"mkdir -p $(dirname {quoted}) && base64 -d > {quoted} && sync", given=base64.b64encode(data).decode()
        )

    async def _ask(self, command: str, given: str = "") -> dict[str, Any]:
        assert self._writer is not None
        assert self._reader is not None
        number = f"{os.getpid()}-{next(self._numbers)}"
        self._writer.write(b"\n" + json.dumps({"id": number, "run": command, "input": given}).encode() + b"\n")
        while True:
            line = await self._reader.readline()
            if not line:
                raise AssertionError("the machine is off")
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                # Until the other side has made the line raw, it sends back what it is told.
                if answer.get("id") == number and "status" in answer:
                    return dict(answer)
