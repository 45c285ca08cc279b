"""Ways between a reader and a registry that fail as real ones do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 16 * 1024


@dataclass
class Line:
    """A proxy on a loopback port; each connection is cut after so many bytes of answers, while there are cuts left."""

    target: str
    cuts: list[int]
    host: str = ""
    connections: int = 0
    carried_bytes: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        name, _, port = self.target.partition(":")
        back_reader, back_writer = await asyncio.open_connection(name, int(port))
        asking = asyncio.create_task(self._ask(reader, back_writer))
        try:
            await self._answer(back_reader, writer, self.cuts.pop(0) if self.cuts else None)
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            for each in (writer, back_writer):
                each.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            self.requests.append(data)
            writer.write(data)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int | None) -> None:
        sent = 0
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK_BYTES):
                left = data if cut is None else data[: cut - sent]
                writer.write(left)
                await writer.drain()
                sent += len(left)
                self.carried_bytes += len(left)
                if cut is not None and sent >= cut:
                    return


@asynccontextmanager
async def line_to(target: str, *cuts: int) -> AsyncIterator[Line]:
    """Put a line before `target`, whose first connections are cut."""
    line = Line(target, list(cuts))
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()


@asynccontextmanager
async def server_that_says(answer: bytes | None) -> AsyncIterator[str]:
    """Give every request this answer and close; None says nothing and stays open."""
    open_writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        if answer is not None:
            writer.write(answer)
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for writer in open_writers:
            writer.close()
        server.close()
