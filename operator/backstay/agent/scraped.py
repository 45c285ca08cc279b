"""Answers Prometheus at an address of the node's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from backstay.adapters.exposition import CONTENT_TYPE
from backstay.agent.series import NodeSeries
from backstay.core.addresses import in_url
from backstay.errors import Refused

SHUTDOWN_SECONDS = 1.0


@asynccontextmanager
async def scraped(series: NodeSeries, host: str, port: int) -> AsyncIterator[str]:
    """Serve /metrics; port 0 takes a free one. Yields the address.

    Raises:
        Refused: the address cannot be listened on.
    """

    async def metrics(request: web.Request) -> web.Response:
        del request
        return web.Response(body=await series.exposition(), headers={"Content-Type": CONTENT_TYPE})

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            message = f"the agent cannot listen on {in_url(host)}:{port}: {error}; choose another --metrics-listen"
            raise Refused(message) from error
        yield f"http://{in_url(host)}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
