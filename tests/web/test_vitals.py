"""Whoever asks is told whether this process could do its work, and as what."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from backstay.adapters.listening import listening
from backstay.web.vitals import vitals_application


class Process:
    """Something that says of itself how it is."""

    def __init__(self) -> None:
        self.is_ready = True

    def readiness(self) -> tuple[bool, str]:
        return self.is_ready, "standby: ready to take over from another"


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
async def url(process: Process) -> AsyncIterator[str]:
    application = vitals_application(lambda: b"backstay_operator_leader 1.0\n", process.readiness)
    async with listening(application, "127.0.0.1", 0) as url:
        yield url


async def get(url: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, answer.content_type, await answer.text()


async def test_metrics_are_text_that_prometheus_reads(url):
    assert await get(f"{url}/metrics") == (200, "text/plain", "backstay_operator_leader 1.0\n")


async def test_ready_says_as_what_when_it_is(url):
    assert await get(f"{url}/readyz") == (200, "text/plain", "standby: ready to take over from another\n")


async def test_healthy_but_not_ready_when_it_could_not_work_now(url, process):
    process.is_ready = False
    assert (await get(f"{url}/readyz"))[0] == 503
    assert (await get(f"{url}/healthz"))[0] == 200
