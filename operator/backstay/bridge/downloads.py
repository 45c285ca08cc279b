"""Artifact bytes: to each device only those of its own open step, from the verified file, whole or in part."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from backstay.bridge.contents import Contents, Ready
from backstay.bridge.documents import artifact_document, filename_of
from backstay.bridge.entrance import Problem, all_of, base_of, json_answer
from backstay.bridge.limits import DOWNLOADS_AT_ONCE
from backstay.bridge.metrics import BridgeMetrics
from backstay.bridge.ranges import Part, Unsatisfiable, condition_of, part_of
from backstay.bridge.records import ServedDevice
from backstay.bridge.sessions import Sessions
from backstay.bridge.steps import NOT_HERE_AGAIN, Steps

MD5_SUFFIX: Final = ".MD5SUM"
NOTHING_HERE: Final = "no such artifact for this device now"


class Downloads:
    """Serves the bytes that offers link to."""

    def __init__(self, steps: Steps, contents: Contents, sessions: Sessions, metrics: BridgeMetrics) -> None:
        self._steps = steps
        self._contents = contents
        self._sessions = sessions
        self._metrics = metrics

    async def answer(self, request: web.Request, record: ServedDevice) -> web.StreamResponse:
        """Send an artifact, a part of it, its headers alone, or its MD5 sum."""
        filename = request.match_info["filename"]
        ready = await self._ready(record, request.match_info["module"], filename.removesuffix(MD5_SUFFIX))
        if filename.endswith(MD5_SUFFIX):
            return web.Response(text=f"{ready.md5}  {filename.removesuffix(MD5_SUFFIX)}\n")
        etag = f'"sha256:{ready.sha256}"'
        if (condition := condition_of(etag, all_of(request, "If-Match"), all_of(request, "If-None-Match"))) is not None:
            return web.Response(status=condition, headers={"ETag": etag})
        headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if request.method == "HEAD":
            return web.Response(headers=headers | {"Content-Length": str(ready.size_bytes)})
        wanted = part_of(ready.size_bytes, etag, request.headers.get("Range"), request.headers.get("If-Range"))
        if isinstance(wanted, Unsatisfiable):
            headers["Content-Range"] = wanted.content_range
            del headers["Content-Type"]
            return web.Response(status=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
        with self._under_way(record):
            path = await self._contents.file(ready)
            if wanted is None:
                return await _send(request, path, Part(0, ready.size_bytes - 1, ready.size_bytes), 200, headers)
            headers["Content-Range"] = wanted.content_range
            return await _send(request, path, wanted, HTTPStatus.PARTIAL_CONTENT, headers)

    @contextmanager
    def _under_way(self, record: ServedDevice) -> Iterator[None]:
        session = self._sessions.of(record.name)
        if session.downloads >= DOWNLOADS_AT_ONCE:
            self._metrics.limited("downloads")
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "this device has other downloads under way; end one first")
        session.downloads += 1
        try:
            yield
        finally:
            session.downloads -= 1

    async def listing(self, request: web.Request, record: ServedDevice) -> web.Response:
        """The artifacts of one software module: that of the open step, if it is of this plane, and else none."""
        offer = await self._steps.offer(record)
        if offer is None or request.match_info["module"] != offer.step.plane:
            return json_answer([])
        found = artifact_document(base_of(request), offer.step.plane, offer.ordered, offer.content)
        return json_answer([found])

    async def _ready(self, record: ServedDevice, module: str, filename: str) -> Ready:
        offer = await self._steps.offer(record)
        if offer is None or module != offer.step.plane:
            raise Problem(HTTPStatus.NOT_FOUND, NOTHING_HERE)
        if not isinstance(offer.content, Ready):
            # A 404 would end the download for good, and a bridge that was restarted would have failed the step.
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, NOT_HERE_AGAIN)
        if filename != filename_of(offer.step.plane, offer.ordered, offer.content):
            raise Problem(HTTPStatus.NOT_FOUND, NOTHING_HERE)
        return offer.content


async def _send(
    request: web.Request, path: Path, part: Part, status: int, headers: dict[str, str]
) -> web.StreamResponse:
    """Let the kernel copy the file to the socket; nothing of it passes through this process, but under TLS."""
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = part.length
    with await asyncio.to_thread(path.open, "rb") as file:
        await response.prepare(request)
        if request.transport is None:
            raise ConnectionResetError("the device is gone")
        await asyncio.get_running_loop().sendfile(request.transport, file, part.first, part.length)
    await response.write_eof()
    return response
