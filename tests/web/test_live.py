"""Streams over real HTTP: they send what has changed, and end with the right to see it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from backstay.errors import Unavailable
from backstay.ports.access import Kind, Person
from backstay.web.live import MOST_OF_ONE_PERSON, MOST_STREAMS, Streams, TooManyStreams
from backstay.web.rights import RIGHT_SECONDS
from backstay.web.sessions import REVIEW_SECONDS
from tests.web.conftest import AWAY, EVERYTHING, TOKENS, Site, away, served, visiting
from tests.web.stage import Stage


class Stream:
    """The events of a stream, one at a time."""

    def __init__(self, content: asyncio.StreamReader) -> None:
        self._content = content

    async def next(self) -> tuple[str, dict[str, str]]:
        """The next event; nothing that is not one is taken for it."""
        name = ""
        async with asyncio.timeout(30):
            while True:
                line = (await self._content.readline()).decode()
                if not line:
                    return "closed", {}
                if line.startswith("event: "):
                    name = line.removeprefix("event: ").strip()
                elif line.startswith("data: "):
                    return name, json.loads(line.removeprefix("data: "))

    async def until(self, name: str, words: str = "") -> dict[str, str]:
        while True:
            found, data = await self.next()
            if found == name and words in json.dumps(data):
                return data
            assert found != "closed", f"no {name} with {words!r}"


@asynccontextmanager
async def following(site: Site, page: str, who: str = "ada") -> AsyncIterator[Stream]:
    async with (
        visiting(site, who) as visitor,
        visitor.session.get(f"{site.address}/-/live", params={"page": page}) as answer,
    ):
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert "frame-ancestors" in answer.headers["Content-Security-Policy"]
        yield Stream(answer.content)  # type: ignore[arg-type]


@pytest.fixture
async def small() -> AsyncIterator[Site]:
    stage = Stage()
    stage.device("acme", "cam-1", {"kind": "camera"}, model="1.0.0")
    stage.device("borealis", "cam-2", {"kind": "camera"}, model="1.0.0")
    async with served(stage) as site:
        yield site


async def test_stream_begins_with_the_whole_page_and_goes_on_with_what_differs(small: Site) -> None:
    async with following(small, "/acme/holds") as stream:
        first = await stream.until("fragment")
        assert "Nothing is held" in first["html"]
        small.stage.hold("acme", "stop", reason="incident 7", scope={"selector": {}})
        second = await stream.until("fragment")
        assert second["name"] == first["name"] == "holds"
        assert "incident 7" in second["html"]
        assert second["mark"] != first["mark"]
        assert (await stream.until("headline"))["words"] == "1 holds stand in acme"


async def test_stream_is_not_woken_by_what_happens_elsewhere(small: Site) -> None:
    async with following(small, "/acme") as stream:
        await stream.until("headline")
        small.stage.device("borealis", "cam-3", {}, model="1.0.0")
        small.stage.device("acme", "cam-4", {}, model="6.6.6")
        while (found := await stream.next())[0] != "fragment":
            pass
        assert "6.6.6" in found[1]["html"]
        assert "borealis" not in found[1]["html"]


async def test_stream_ends_when_the_right_to_see_it_is_taken_away(small: Site) -> None:
    async with following(small, "/acme/devices") as stream:
        await stream.until("fragment")
        small.stage.access.rights["ada"] = {"acme": EVERYTHING - {Kind.DEVICES}}
        small.stage.clock.pass_by(seconds=RIGHT_SECONDS + 1)
        await stream.until("ended")
        assert (await stream.next())[0] == "closed"


async def test_stream_ends_when_its_token_is_taken_back(small: Site) -> None:
    async with following(small, "/acme") as stream:
        await stream.until("fragment")
        del small.stage.access.people[TOKENS["ada"]]
        small.stage.clock.pass_by(seconds=REVIEW_SECONDS + 1)
        await stream.until("ended")


async def test_stream_of_the_overview_loses_a_namespace_with_the_right_to_it(small: Site) -> None:
    small.stage.access.rights["ada"] = {"acme": EVERYTHING, "borealis": EVERYTHING}
    async with visiting(small, "admin"), following(small, "/") as stream:
        assert "borealis" in (await stream.until("fragment", "borealis"))["html"]
        small.stage.access.rights["ada"] = {"acme": EVERYTHING}
        small.stage.clock.pass_by(seconds=RIGHT_SECONDS + 1)
        found = await stream.until("fragment", '"namespaces"')
        assert "borealis" not in found["html"]
        assert "acme" in found["html"]


async def test_stream_of_what_is_deleted_ends(small: Site) -> None:
    async with following(small, "/acme/devices/cam-1") as stream:
        await stream.until("fragment")
        small.stage.store.fleets.remove("acme", "cam-1")
        small.stage.clock.pass_by(seconds=5)
        await stream.until("ended")


async def test_stream_says_that_trouble_has_passed_when_nothing_else_has_changed(small: Site) -> None:
    async with following(small, "/acme") as stream:
        await stream.until("headline")
        with away(small.stage):
            assert await stream.next() == ("troubled", {"words": AWAY})
        assert await after(stream, "troubled") == ("recovered", {})


async def after(stream: Stream, name: str) -> tuple[str, dict[str, str]]:
    """The first event that is another one."""
    while (found := await stream.next())[0] == name:
        pass
    return found


async def test_stream_ends_when_it_is_cancelled_as_a_review_fails(small: Site) -> None:
    access, streaming = small.stage.access, asyncio.get_running_loop().create_future()
    known = access.who

    async def who(token: str) -> Person | None:
        streaming.set_result(asyncio.current_task())
        return await known(token)

    async def may_list(*_: object) -> bool:
        streaming.result().cancel()
        raise Unavailable("the API server has gone away")

    async with following(small, "/acme") as stream:
        await stream.until("headline")
        access.who, access.may_list = who, may_list  # type: ignore[method-assign]
        small.stage.clock.pass_by(seconds=max(RIGHT_SECONDS, REVIEW_SECONDS) + 1)
        with pytest.raises(aiohttp.ClientPayloadError, match="not completed"):
            await stream.next()


async def test_place_of_a_reader_who_left_is_free_again(small: Site) -> None:
    for _ in range(MOST_OF_ONE_PERSON + 4):
        async with following(small, "/acme") as stream:
            await stream.until("fragment")
        await asyncio.sleep(0.12)


def test_streams_are_bounded_for_each_person_and_for_all() -> None:
    stage, streams = Stage(), Streams()
    people = [f"person-{number}" for number in range(MOST_STREAMS)]
    for name in people:
        stage.access.let_in(name, name, {})
    first = stage.access.people[people[0]]
    held = [streams.room_for(first) for _ in range(MOST_OF_ONE_PERSON)]
    for room in held:
        room.__enter__()
    with pytest.raises(TooManyStreams), streams.room_for(first):
        pass
    others = [streams.room_for(stage.access.people[name]) for name in people[1 : MOST_STREAMS - MOST_OF_ONE_PERSON + 1]]
    for room in others:
        room.__enter__()
    with pytest.raises(TooManyStreams), streams.room_for(stage.access.people[people[-1]]):
        pass
    held[0].__exit__(None, None, None)
    with streams.room_for(stage.access.people[people[-1]]):
        pass
