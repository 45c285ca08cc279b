"""A server that answers an empty poll and knows nothing: as fast as the library underneath can be."""

import asyncio

from aiohttp import web

BODY = b'{"config":{"polling":{"sleep":"00:01:00"}},"_links":{}}'


async def main() -> None:
    """Serve until ended."""

    async def poll(_: web.Request) -> web.Response:
        return web.Response(body=BODY, content_type="application/json", headers={"ETag": '"0"'})

    application = web.Application()
    application.router.add_get("/", poll)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"listening on 127.0.0.1:{runner.addresses[0][1]}", flush=True)  # noqa: T201 - the parent reads it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
