"""Pages that stay up to date: the fragments that have changed, as server-sent events.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp import web

from backstay.errors import BackstayError, Unavailable
from backstay.ports.access import Person
from backstay.web.entrance import Entrance
from backstay.web.pages.page import Content, NotThere, Page, Sources
from backstay.web.rendering import Piece, Renderer
from backstay.web.rights import Reader, Rights
from backstay.web.routes import address_in, page_at

TICK_SECONDS: Final = 1.0
READ_AGAIN_SECONDS: Final = 10.0
"""Rights and graphs change without anything in the cluster changing."""
REST: Final = 20.0
"""A page that takes long to read rests for so many times as long, so that it costs little."""
SILENT_SECONDS: Final = 15.0
MOST_STREAMS: Final = 64
MOST_OF_ONE_PERSON: Final = 16
RETRY_MILLISECONDS: Final = 3_000


class TooManyStreams(Unavailable):
    """There are as many live pages as one operator serves."""


@dataclass(slots=True)
class Streams:
    """The live pages that are open now."""

    _of_person: Counter[tuple[object, ...]] = field(default_factory=Counter)

    @contextmanager
    def room_for(self, person: Person) -> Iterator[None]:
        """One more, as long as it lasts.

        Raises:
            TooManyStreams
        """
        if self._of_person.total() >= MOST_STREAMS or self._of_person[person.identity] >= MOST_OF_ONE_PERSON:
            raise TooManyStreams("too many live pages are open; close one, or reload this page to see it as it is")
        self._of_person[person.identity] += 1
        try:
            yield
        finally:
            self._of_person[person.identity] -= 1
            if not self._of_person[person.identity]:
                del self._of_person[person.identity]


@dataclass(frozen=True, slots=True)
class Live:
    """Serves streams."""

    entrance: Entrance
    rights: Rights
    renderer: Renderer
    streams: Streams

    async def serve(self, request: web.Request, person: Person, sources: Sources) -> web.StreamResponse:
        """Send what changes of the page that `page` names, until its reader leaves, or may no longer see it."""
        page = _page_named(request)
        with self.streams.room_for(person):
            first = await page.read(Reader(person, self.rights), sources)
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
            await response.prepare(request)
            await response.write(f"retry: {RETRY_MILLISECONDS}\n\n".encode())
            stream = _Stream(self, request, response, page, sources)
            # A reader who leaves says nothing.
            with suppress(ConnectionError):
                await stream.run(first)
        return response


class _Stream:
    def __init__(
        self, live: Live, request: web.Request, response: web.StreamResponse, page: Page, sources: Sources
    ) -> None:
        self._live = live
        self._request = request
        self._response = response
        self._page = page
        self._sources = sources
        self._marks: dict[str, str] = {}
        self._headline = ""
        self._trouble = ""
        self._took = 0.0
        self._sent_at = sources.clock.monotonic()

    async def run(self, content: Content) -> None:
        """Go on until the reader is gone, or told that this has ended."""
        while True:
            await self._send(content)
            try:
                found = await self._next(content)
            except BackstayError as error:
                await self._feel(str(error))
                await asyncio.sleep(TICK_SECONDS)
                continue
            await self._feel("")
            if found is None:
                await self._event("ended", {"words": "You are signed out, or may no longer see this page."})
                return
            content = found

    async def _next(self, content: Content) -> Content | None:
        """The page when it may be another one; None when its reader may no longer see it."""
        clock, known, read_at = self._sources.clock, self._changes(content), self._sources.clock.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._assert_there()
            await self._keep_awake()
            if (person := await self._live.entrance.person(self._request)) is None:
                return None
            age, rest = clock.monotonic() - read_at, max(self._page.calm_seconds, REST * self._took)
            is_worth_reading = self._trouble or self._changes(content) != known
            if age < READ_AGAIN_SECONDS and (age < rest or not is_worth_reading):
                continue
            begun = clock.monotonic()
            try:
                return await self._page.read(Reader(person, self._live.rights), self._sources)
            except NotThere:
                return None
            finally:
                self._took = clock.monotonic() - begun

    def _changes(self, content: Content) -> int:
        return sum(map(self._sources.overview.changes, content.namespaces))

    async def _send(self, content: Content) -> None:
        pieces: Mapping[str, Piece] = self._live.renderer.pieces(content)
        for name, piece in pieces.items():
            if self._marks.get(name) != piece.mark:
                await self._event("fragment", {"name": name, "mark": piece.mark, "html": piece.html})
        self._marks = {name: piece.mark for name, piece in pieces.items()}
        if content.headline != self._headline:
            self._headline = content.headline
            await self._event("headline", {"words": content.headline, "title": content.title})

    async def _feel(self, trouble: str) -> None:
        """Say what keeps the page from being up to date, and that nothing does any more."""
        if trouble:
            await self._event("troubled", {"words": trouble})
        elif self._trouble:
            await self._event("recovered", {})
        self._trouble = trouble

    def _assert_there(self) -> None:
        """Notice at once that the reader has left: a quiet page writes too seldom to hear of it."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the reader has left")

    async def _keep_awake(self) -> None:
        """Say something now and then, so that nobody between us and the reader takes the line for dead."""
        if self._sources.clock.monotonic() - self._sent_at >= SILENT_SECONDS:
            await self._write(b": still here\n\n")

    async def _event(self, name: str, data: Mapping[str, str]) -> None:
        await self._write(b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data)))

    async def _write(self, text: bytes) -> None:
        self._sent_at = self._sources.clock.monotonic()
        await self._response.write(text)


def _page_named(request: web.Request) -> Page:
    return page_at(address_in(request.query.get("page", "/")))
