"""The ports of the operator are for a few neighbours, and a flood of strangers stays outside."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from backstay.adapters.system_clock import SystemClock
from backstay.cli import operator
from backstay.cli.operator import CONNECTIONS
from backstay.controllers.metrics import OperatorMetrics
from backstay.controllers.vitals import Vitals

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture(params=["metrics", "webhook"])
async def port(request: pytest.FixtureRequest, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[int]:
    """One of the two, opened as `backstay operator run` does."""
    caplog.set_level(logging.INFO, "backstay.cli.operator")
    metrics, here = OperatorMetrics(SystemClock()), ("127.0.0.1", 0)
    (tmp_path / "token").write_text(TOKEN)
    webhook = operator._Webhook(here, tmp_path / "token", frozenset({"acme"}))
    opened = {
        "metrics": lambda: operator._told(here, metrics, Vitals()),
        "webhook": lambda: operator._heard(webhook, None, SystemClock(), metrics),  # type: ignore[arg-type] - never asked
    }
    async with opened[request.param]():
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", caplog.text)
        assert found is not None
        yield int(found.group(1))


async def answered(port: int) -> bool:
    """Whether a request on a new connection is answered, and not turned away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        return (await reader.readline()).startswith(b"HTTP/1.1 404")
    except ConnectionError:
        return False
    finally:
        writer.close()


async def test_connections_beyond_the_limit_are_turned_away_until_others_end(port: int) -> None:
    async with asyncio.timeout(60), AsyncExitStack() as held:
        for _ in range(CONNECTIONS):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            held.callback(writer.close)
        assert not await answered(port)
    async with asyncio.timeout(60):
        while not await answered(port):
            await asyncio.sleep(0.02)
