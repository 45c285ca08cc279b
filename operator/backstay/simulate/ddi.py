"""The device's side of the hawkBit Direct Device Integration API.

Source: https://eclipse.dev/hawkbit/rest-api/ddi/
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson
from yarl import URL

from backstay.core.device import Progress
from backstay.core.devices import PlaneState
from backstay.core.planes import ContentDigest
from backstay.errors import Refused, Unavailable
from backstay.simulate.deployment import BadDeployment

_REQUEST_SECONDS: Final = 10.0
_CHUNK_BYTES: Final = 16 * 1024
_REQUESTS_AT_ONCE: Final = 2
"""A device talks and downloads."""


@dataclass(frozen=True, slots=True)
class Poll:
    """What the bridge wants, by link, and when the device shall ask again."""

    sleep_seconds: float = 1.0
    links: Mapping[str, str] = field(default_factory=dict)


class DdiClient:
    """One device's conversation with its bridge, over a session that it shares with others.

    Every method raises `Unavailable` when the bridge cannot be reached or is busy, and `Refused` when it says no.
    """

    def __init__(
        self, session: aiohttp.ClientSession, base: URL, token: str, turns: asyncio.Semaphore | None = None
    ) -> None:
        self._session, self._base = session, base
        self._turns = turns or asyncio.Semaphore(_REQUESTS_AT_ONCE)
        self._authorization = {"Authorization": f"TargetToken {token}"}
        self._etag: str | None = None
        self._polled = Poll()
        self.online = True
        """False while the device has no network."""

    @property
    def poll_seconds(self) -> float:
        """How often the bridge wants to be polled, by its last word."""
        return self._polled.sleep_seconds

    async def poll(self) -> Poll:
        """Ask what there is to do; an answer that did not change is not sent again."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        async with self._request("GET", self._base, headers) as response:
            if response.status != HTTPStatus.NOT_MODIFIED:
                body = await _json(response)
                links = {name: str(link["href"]) for name, link in (body.get("_links") or {}).items()}
                self._polled = Poll(_sleep(body), links)
                self._etag = response.headers.get("ETag")
        return self._polled

    async def read(self, href: str) -> dict[str, Any]:
        """Follow a link."""
        async with self._request("GET", self._url(href)) as response:
            return await _json(response)

    async def send(self, method: str, href: str, body: object) -> None:
        """Say something at a link."""
        async with self._request(method, self._url(href), body=body) as response:
            await response.read()

    async def feedback(self, href: str, number: int, progress: Progress | None = None) -> None:
        """Report on a step: that it has begun, or how it ended."""
        done = progress is not None and progress.state is PlaneState.CONFIRMED
        finished = "none" if progress is None else "success" if done else "failure"
        details = [str(progress.cause)] if progress is not None and progress.cause else []
        execution = "proceeding" if progress is None else "closed"
        status = {"execution": execution, "result": {"finished": finished}, "details": details}
        await self.send("POST", f"{href}/feedback", {"id": str(number), "status": status})

    async def artifact(self, href: str, content: ContentDigest, offset: int) -> AsyncGenerator[bytes, None]:
        """Stream the bytes from `offset` on; what a server without ranges sends before that is passed over."""
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{content}"'} if offset else {}
        async with self._request("GET", self._url(href), headers) as response:
            skip = 0 if response.status == HTTPStatus.PARTIAL_CONTENT else offset
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                self._require_network()
                yield chunk[skip:]
                skip = max(0, skip - len(chunk))

    def _url(self, href: str) -> URL:
        return self._base.join(URL(href))

    def _require_network(self) -> None:
        if not self.online:
            raise Unavailable("the device has no network")

    @asynccontextmanager
    async def _request(
        self, method: str, url: URL, headers: Mapping[str, str] | None = None, body: object = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        self._require_network()
        sent = {**self._authorization, **(headers or {})}
        data = None
        if body is not None:
            sent["Content-Type"], data = "application/json", orjson.dumps(body)
        try:
            # Whoever waits for its turn has not begun; a time that ran meanwhile would only make it ask again.
            async with (
                self._turns,
                asyncio.timeout(_REQUEST_SECONDS),
                self._session.request(method, url, headers=sent, data=data) as response,
            ):
                _check(response, method)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {url}: {str(error) or type(error).__name__}") from error


def _check(response: aiohttp.ClientResponse, method: str) -> None:
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Unavailable(f"{method} {response.url}: the bridge answers {response.status}")
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise Refused(f"{method} {response.url}: the bridge answers {response.status}")


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        body = orjson.loads(await response.read())
    except orjson.JSONDecodeError as error:
        raise BadDeployment(f"{response.url} did not send JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadDeployment(f"{response.url} did not send a JSON object")
    return body


def _sleep(body: Mapping[str, Any]) -> float:
    """Read `00:00:01`; a bridge that says nothing is asked every second."""
    text = str(((body.get("config") or {}).get("polling") or {}).get("sleep") or "00:00:01")
    try:
        hours, minutes, seconds = (int(part) for part in text.split(":"))
    except ValueError:
        return 1.0
    return max(0.1, hours * 3600.0 + minutes * 60.0 + seconds)
