"""Speaks to qemu itself: lets a machine stand still, writes down what is in its memory, and lets it go on.

Source: https://www.qemu.org/docs/master/interop/qmp-spec.html (QMP), qemu's qapi/migration.json
"""

import asyncio
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.05


class Monitor:
    """An open connection to a machine's emulator."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def execute(self, command: str, **arguments: Any) -> Any:
        """What the emulator answers to a command."""
        self._writer.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while line := await self._reader.readline():
            said = json.loads(line)
            assert "error" not in said, f"{command}: {said}"
            if "return" in said:
                return said["return"]
        raise AssertionError(f"{command}: the emulator has ended")

    async def save(self, memory: Path) -> None:
        """Let the machine stand still, and write down all that is not on its disks."""
        await self.execute("stop")
        await self.execute("migrate-set-parameters", **{"max-bandwidth": 2**40})
        await self.execute("migrate", uri=f"exec:cat > {shlex.quote(str(memory))}")
        while (status := (await self.execute("query-migrate"))["status"]) != "completed":
            assert status in {"setup", "active", "device"}, f"the memory cannot be written to {memory}: {status}"
            await asyncio.sleep(POLL_SECONDS)

    async def go_on(self) -> None:
        """Let a machine that was begun from such a file go on."""
        while (await self.execute("query-status"))["status"] == "inmigrate":
            await asyncio.sleep(POLL_SECONDS)
        await self.execute("cont")


@asynccontextmanager
async def monitor(socket: Path) -> AsyncIterator[Monitor]:
    """Speak to the emulator behind a socket."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        await reader.readline()
        found = Monitor(reader, writer)
        await found.execute("qmp_capabilities")
        yield found
    finally:
        writer.close()
