"""The kubelet's own word of itself, in every way in which it may be missing."""

import socket

import aiohttp
import pytest
from aiohttp import web

from backstay.adapters.node import kubelet_health
from backstay.adapters.node.kubelet_health import KubeletHealth


async def trouble(status: int, text: str) -> str | None:
    async def healthz(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as session:
            return await KubeletHealth(session, f"http://{host}:{port}/healthz").trouble()
    finally:
        await runner.cleanup()


async def test_kubelet_is_well_when_it_says_so() -> None:
    assert await trouble(200, "ok") is None


async def test_trouble_is_told_in_the_kubelets_words_and_no_more_than_a_line_of_them() -> None:
    assert await trouble(500, "[-]syncloop failed: reason withheld") == (
        "the kubelet is not healthy: [-]syncloop failed: reason withheld"
    )
    told = await trouble(500, "x" * 100_000)
    assert told is not None
    assert len(told) < 300


async def test_trouble_is_told_when_no_kubelet_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with aiohttp.ClientSession() as session:
        told = await KubeletHealth(session, f"http://127.0.0.1:{port}/healthz").trouble()
    assert told is not None
    assert told.startswith(f"the kubelet cannot be asked at http://127.0.0.1:{port}/healthz")


async def test_trouble_is_told_when_the_kubelet_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubelet_health, "PATIENCE_SECONDS", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/healthz"
        async with aiohttp.ClientSession() as session:
            assert await KubeletHealth(session, url).trouble() == f"the kubelet does not answer at {url} within 0 s"
