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
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from backstay.sandbox.process import Child
from tests.vm.image_builder import Image
from tests.vm.monitor import monitor

MEMORY_MIB = 384
BOOT_SECONDS = 300
POLL_SECONDS = 0.1
PROCESSOR = "max,-avx,-avx2"
"""All that can be emulated, but for the wide registers: the C library would use them, and they are emulated slowly."""


def unavailable() -> str | None:
    """What this computer lacks to run a machine."""
    missing = [name for name in ("qemu-system-x86_64", "qemu-img", "mmdebstrap") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not there: `make setup-tests`, run by root, installs it"
    return None if os.geteuid() == 0 else "only root can make the image of a machine"


class Off(AssertionError):
    """The machine is off, or begins anew."""


@dataclass(frozen=True)
class Begun:
    """A machine that stands still: nobody writes these files either."""

    disk: Path
    memory: Path


@dataclass
class Machine:
    """A machine with a disk of its own in `directory`."""

    directory: Path
    image: Image
    begun: Begun | None = None
    """Where it goes on from, with `go_on`; without it, the disk is as the factory delivers it."""
    record: Path | None = None
    """Where every write to the disk is recorded, for the power cuts."""
    _process: Child | None = None
    _resets: asyncio.Task[None] | None = None
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
            below = ("-b", self.begun.disk, "-F", "qcow2") if self.begun else ("-b", self.image.disk, "-F", "raw")
            made = ("qemu-img", "create", "-q", "-f", "qcow2", *below, self.disk)
            await asyncio.to_thread(subprocess.run, made, check=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut_power()

    async def power_on(self) -> None:
        """Begin to boot."""
        await self._start()

    async def go_on(self) -> None:
        """Be the machine that has booted once, with this test's agent, now."""
        assert self.begun is not None
        await self._start("-incoming", f"exec:cat {shlex.quote(str(self.begun.memory))}")
        async with asyncio.timeout(BOOT_SECONDS), monitor(self._socket("monitor")) as emulator:
            await emulator.go_on()
        await self.run(f"date -s @{time.time():.0f} && mount -t squashfs -o ro /dev/vdb /opt")

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def save(self, memory: Path) -> None:
        """Write down all that is not on its disks, and end."""
        async with asyncio.timeout(BOOT_SECONDS), monitor(self._socket("monitor")) as emulator:
            await emulator.save(memory)
        await self.cut_power()

    async def _start(self, *more: str) -> None:
        await self._begin(*more)
        self._resets = asyncio.create_task(self._begin_after_resets())

    async def _begin(self, *more: str) -> None:
        self._hang_up()
        command = (*self._command(), *more)
        self._process = Child("the machine", command, self.directory / "qemu.log", environment=os.environ)
        self._process.start()
        while not self._socket("shell").exists() or not self._socket("monitor").exists():
            self._process.check()
            await asyncio.sleep(POLL_SECONDS)
        self._reader, self._writer = await asyncio.open_unix_connection(self._socket("shell"), limit=2**24)

    async def _begin_after_resets(self) -> None:
        """Each reset is a new emulator: GRUB takes a minute in one that has emulated another system before."""
        assert self._process is not None
        while True:
            while self._process.running():
                await asyncio.sleep(POLL_SECONDS)
            assert self.record is None, "the record of one start is not that of the next"
            await self._begin()

    def _command(self) -> tuple[str, ...]:
        drive = f"driver=qcow2,node-name=disk,file.driver=file,file.filename={self.disk}"
        drives: tuple[str, ...] = ("-blockdev", drive)
        if self.record is not None:
            self.record.touch()
            recorded = f"driver=blklogwrites,node-name=recorded,file=disk,log.driver=file,log.filename={self.record}"
            drives = (*drives, "-blockdev", recorded)
        for name in ("shell", "monitor"):
            self._socket(name).unlink(missing_ok=True)
        return (
            *("qemu-system-x86_64", "-accel", "tcg", "-cpu", PROCESSOR, "-m", str(MEMORY_MIB), "-display", "none"),
            *("-nodefaults", "-no-reboot"),
            *("-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=shell,path={self._socket('shell')},server=on,wait=off"),
            *("-serial", "chardev:shell"),
            *("-qmp", f"unix:{self._socket('monitor')},server=on,wait=off"),
            *drives,
            *("-device", f"virtio-blk-pci,drive={'recorded' if self.record else 'disk'}"),
            *("-drive", f"file={self.image.agent},format=raw,if=none,id=agent,readonly=on"),
            *("-device", "virtio-blk-pci,drive=agent"),
            *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="),
        )

    def _socket(self, name: str) -> Path:
        return self.directory / name

    async def cut_power(self) -> None:
        """End it at once."""
        if self._resets is not None:
            self._resets.cancel()
            await asyncio.gather(self._resets, return_exceptions=True)
        self._hang_up()
        if self._process is not None:
            self._process.kill()

    async def is_up(self, seconds: float = BOOT_SECONDS) -> None:
        """Return when it obeys and RAUC can be asked."""
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(TimeoutError, Off):
                    async with asyncio.timeout(8):
                        # RAUC's bundles are mounted by these.
                        if (await self._ask("modprobe -a loop dm-verity"))["status"] == 0:
                            return
                await asyncio.sleep(POLL_SECONDS)

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
        if self._writer is None or self._reader is None:
            raise Off
        number = f"{os.getpid()}-{next(self._numbers)}"
        self._writer.write(b"\n" + json.dumps({"id": number, "run": command, "input": given}).encode() + b"\n")
        while True:
            line = await self._reader.readline()
            if not line:
                raise Off
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                # Until the other side has made the line raw, it sends back what it is told.
                if answer.get("id") == number and "status" in answer:
                    return dict(answer)
