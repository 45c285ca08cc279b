"""`/metrics` for Prometheus, `/healthz` and `/readyz` for the kubelet and for people."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from backstay.adapters.exposition import CONTENT_TYPE

NO_STORE: Final = {"Cache-Control": "no-store"}


def vitals_application(exposition: Callable[[], bytes], readiness: Callable[[], tuple[bool, str]]) -> web.Application:
    """What a process says of itself; whoever reaches the address may read it.

    `/healthz` answers as long as the event loop turns at all: nothing else would be mended by a restart.
    `/readyz` is 200 for a leader that sees everything and for a standby that could take over, and says which.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=exposition(), headers={**NO_STORE, "Content-Type": CONTENT_TYPE})

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers=NO_STORE)

    async def readyz(_: web.Request) -> web.Response:
        is_ready, words = readiness()
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return web.Response(text=f"{words}\n", status=status, headers=NO_STORE)

    application = web.Application()
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    return application
