"""Floods: what one device asks too much is its own trouble, and half-open connections end."""

import asyncio

import pytest

from backstay.adapters.listening import Door, listening
from backstay.bridge.limits import BURST, DOWNLOADS_AT_ONCE, REQUESTS_PER_SECOND, Bucket
from tests.bridge.conftest import BYTES, World

ARTIFACT = "/softwaremodules/model/artifacts/model-7.2.0.bin"


async def scraped(world: World) -> str:
    async with world.client.get("/metrics") as response:
        return await response.text()


async def test_device_that_asks_too_often_is_told_to_wait_and_others_are_not(world: World) -> None:
    world.device("cam-2")
    for _ in range(int(BURST)):
        assert (await world.ask("GET", "")).status == 200
    refused = await world.ask("GET", "")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert (await world.ask("GET", "", name="cam-2")).status == 200
    assert 'backstay_bridge_limited_total{what="requests"} 1.0' in await scraped(world)
    world.time.seconds += 1
    answers = [(await world.ask("GET", "")).status for _ in range(int(REQUESTS_PER_SECOND) + 1)]
    assert answers == [200] * int(REQUESTS_PER_SECOND) + [429]


def test_bucket_never_holds_more_than_a_burst() -> None:
    bucket = Bucket()
    assert bucket.takes(1_000_000.0)
    assert bucket.left == BURST - 1


async def test_device_has_a_few_downloads_at_once_and_no_more(world: World) -> None:
    world.order()
    await world.offered()
    session = world.bridge.sessions.of("cam-1")
    session.downloads = DOWNLOADS_AT_ONCE
    refused = await world.ask("GET", ARTIFACT)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
    assert (await world.ask("HEAD", ARTIFACT)).status == 200, "that is no download"
    session.downloads = DOWNLOADS_AT_ONCE - 1
    assert await (await world.ask("GET", ARTIFACT)).read() == BYTES
    await asyncio.sleep(0.05)
    assert session.downloads == DOWNLOADS_AT_ONCE - 1, "it is over"
    assert 'backstay_bridge_limited_total{what="downloads"} 1.0' in await scraped(world)


async def ends(reader: asyncio.StreamReader, seconds: float = 5) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await reader.read() == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


async def test_connections_beyond_the_limit_are_turned_away_and_counted(world: World) -> None:
    counted: list[int] = []
    door = Door(connections=2, turned_away=lambda: counted.append(1))
    async with listening(world.bridge.application, "127.0.0.1", 0, door) as address:
        port = int(address.rpartition(":")[2])
        first = await asyncio.open_connection("127.0.0.1", port)
        second = await asyncio.open_connection("127.0.0.1", port)
        third = await asyncio.open_connection("127.0.0.1", port)
        assert await ends(third[0])
        assert counted == [1]
        first[1].close()
        await first[1].wait_closed()
        await asyncio.sleep(0.1)
        fourth = await asyncio.open_connection("127.0.0.1", port)
        fourth[1].write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await fourth[0].readline()).startswith(b"HTTP/1.1 200")
        for _, writer in (second, third, fourth):
            writer.close()


@pytest.mark.parametrize(
    "said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"POST / HTTP/1.1\r\nContent-Le"]
)
async def test_connection_that_never_says_a_whole_request_is_closed(world: World, said: bytes) -> None:
    async with listening(world.bridge.application, "127.0.0.1", 0, Door(silent_seconds=0.5)) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(said)
        assert await ends(reader)
        writer.close()


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * 20_000 + b"\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(500)) + b"\r\n", b"400"),
        (b"NONSENSE\r\n\r\n", b"400"),
    ],
    ids=["path", "header", "headers", "no http"],
)
async def test_request_that_is_too_large_or_none_is_refused_at_the_door(
    world: World, said: bytes, status: bytes
) -> None:
    async with listening(world.bridge.application, "127.0.0.1", 0) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(said)
        async with asyncio.timeout(5):
            line = await reader.readline()
        assert line.split()[1] == status
        writer.close()
