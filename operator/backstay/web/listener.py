"""A listening socket for one small application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from backstay.errors import Refused

SHUTDOWN_SECONDS: Final = 2.0
SILENT_SECONDS: Final = 30.0


@asynccontextmanager
async def listening(application: web.Application, address: tuple[str, int], option: str) -> AsyncIterator[str]:
    """Serve an application; port 0 takes a free one. Yields its URL.

    Raises:
        Refused: the address that `option` gives cannot be listened on.
    """
    host, port = address
    runner = web.AppRunner(
        application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, keepalive_timeout=SILENT_SECONDS
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host.strip("[]"), port).start()
        except OSError as error:
            raise Refused(f"cannot listen on {host}:{port}: {error}; choose another {option}") from error
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
