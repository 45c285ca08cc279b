"""The listening socket: plain or in TLS, with so many connections at once, none of which may be silent for long."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from backstay.core.addresses import in_url
from backstay.errors import Refused

CONNECTIONS: Final = 20_000
SILENT_SECONDS: Final = 30.0
"""A connection that brings no whole request for so long is closed."""
SHUTDOWN_SECONDS: Final = 2.0
BACKLOG: Final = 1024

log = logging.getLogger(__name__)


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell whether a record is about this process; what a client says that is no HTTP may hold its token."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError)


log.addFilter(_is_ours)


def _nobody_counts() -> None:
    """Turned away, and that is all."""


@dataclass(frozen=True, slots=True)
class Door:
    """Who gets as far as a request."""

    tls: ssl.SSLContext | None = None
    connections: int = CONNECTIONS
    silent_seconds: float = SILENT_SECONDS
    turned_away: Callable[[], None] = _nobody_counts
    """Called for each connection that is one too many."""
    whose: str = "the bridge"
    """Who listens, for the message where it cannot."""
    option: str = "--listen"
    """How another address is given."""

    @property
    def scheme(self) -> str:
        """How addresses behind this door begin."""
        return "http" if self.tls is None else "https"


@asynccontextmanager
async def listening(application: web.Application, host: str, port: int, door: Door | None = None) -> AsyncIterator[str]:
    """Serve an application; an IPv6 address is without brackets, and port 0 takes a free one. Yields its URL.

    Raises:
        Refused: the address cannot be listened on.
    """
    door = door or Door()
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=log,
        shutdown_timeout=SHUTDOWN_SECONDS,
        keepalive_timeout=door.silent_seconds,
    )
    await runner.setup()
    try:
        try:
            await _Site(runner, host, port, door).start()
        except OSError as error:
            message = f"{door.whose} cannot listen on {in_url(host)}:{port}: {error}; choose another {door.option}"
            raise Refused(message) from error
        yield f"{door.scheme}://{in_url(host)}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class _Site(web.BaseSite):
    """A site of aiohttp's that turns connections away once there are enough."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, door: Door) -> None:
        super().__init__(runner, ssl_context=door.tls)
        self._host, self._port, self._door = host, port, door

    @property
    def name(self) -> str:
        """Where it listens."""
        return f"{self._door.scheme}://{in_url(self._host)}:{self._port}"

    async def start(self) -> None:
        """Listen."""
        await super().start()
        self._server = await asyncio.get_running_loop().create_server(
            self._next, self._host, self._port, ssl=self._door.tls, backlog=BACKLOG
        )

    def _next(self) -> asyncio.Protocol:
        server = self._runner.server
        if server is not None and len(server.connections) < self._door.connections:
            return server()
        self._door.turned_away()
        return _TurnedAway()


class _TurnedAway(asyncio.Protocol):
    """A connection too many: it ends before it has begun."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()
