"""The paths of the Direct Device Integration API that the bridge serves, and the health extension.

Source: https://eclipse.dev/hawkbit/rest-api/ddi/
"""

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from aiohttp import web
from yarl import URL

from backstay.bridge.attributes import parse_attributes
from backstay.bridge.documents import PollAnswer, cancel_document, deployment_document
from backstay.bridge.downloads import Downloads
from backstay.bridge.entrance import BASE, Problem, authorized, json_answer, read_json
from backstay.bridge.feedback import parse_feedback
from backstay.bridge.health import parse_health
from backstay.bridge.keys import TenantKey
from backstay.bridge.metrics import BridgeMetrics
from backstay.bridge.records import ServedDevice
from backstay.bridge.sessions import Sessions
from backstay.bridge.steps import UNKNOWN, Steps
from backstay.bridge.view import View
from backstay.ports.clock import Clock

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,15}")

DeviceHandler = Callable[[web.Request, ServedDevice], Awaitable[web.StreamResponse]]


class Ddi:
    """Answers devices."""

    def __init__(
        self,
        *,
        view: View,
        key: TenantKey,
        steps: Steps,
        downloads: Downloads,
        sessions: Sessions,
        clock: Clock,
        metrics: BridgeMetrics,
        poll_seconds: float,
    ) -> None:
        self._view = view
        self._key = key
        self._steps = steps
        self._downloads = downloads
        self._sessions = sessions
        self._clock = clock
        self._metrics = metrics
        self._poll_seconds = poll_seconds

    def routes(self) -> list[web.RouteDef]:
        """Every path, with its method."""
        artifact = f"{BASE}/softwaremodules/{{module}}/artifacts/{{filename}}"
        routes = (
            ("GET", BASE, self._poll),
            ("GET", f"{BASE}/deploymentBase/{{number}}", self._deployment),
            ("POST", f"{BASE}/deploymentBase/{{number}}/feedback", self._feedback),
            ("GET", f"{BASE}/cancelAction/{{number}}", self._cancellation),
            ("POST", f"{BASE}/cancelAction/{{number}}/feedback", self._cancellation_feedback),
            ("PUT", f"{BASE}/configData", self._attributes),
            ("POST", f"{BASE}/health", self._health),
            ("GET", artifact, self._downloads.answer),
        )
        return [web.route(method, path, self._for_device(handler)) for method, path, handler in routes]

    def _for_device(self, handler: DeviceHandler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            if (record := authorized(self._view, self._key.value, request)) is None:
                self._metrics.turned_away()
                raise Problem(HTTPStatus.UNAUTHORIZED, "no such device here, or not its token")
            self._sessions.of(record.name).contact_at = self._clock.monotonic()
            return await handler(request, record)

        return answer

    async def _poll(self, request: web.Request, record: ServedDevice) -> web.Response:
        replaced = record.superseded()
        offer = await self._steps.offer(record)
        session = self._sessions.of(record.name)
        told = PollAnswer(
            base_of(request),
            self._poll_seconds,
            deploy=offer.step.number if offer else None,
            cancel=replaced[1].step if replaced else None,
            wants_attributes=session.attributes is None,
        )
        if session.poll is None or session.poll[0] != told:
            session.poll = told, told.body()
        body, etag = session.poll[1]
        if etag in [found.strip().removeprefix("W/") for found in request.headers.get("If-None-Match", "").split(",")]:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
        return web.Response(body=body, content_type="application/json", headers={"ETag": etag})

    async def _deployment(self, request: web.Request, record: ServedDevice) -> web.Response:
        offer = await self._steps.offer_of(record, number_in(request))
        known = self._view.device(record.name) or record
        return json_answer(deployment_document(base_of(request), known, offer.step, offer.ordered, offer.content))

    async def _feedback(self, request: web.Request, record: ServedDevice) -> web.Response:
        number = number_in(request)
        await self._steps.take(record, number, parse_feedback(await read_json(request), number))
        return web.Response()

    async def _cancellation(self, request: web.Request, record: ServedDevice) -> web.Response:
        replaced, number = record.superseded(), number_in(request)
        if replaced is None or replaced[1].step != number:
            raise Problem(HTTPStatus.NOT_FOUND, UNKNOWN)
        return json_answer(cancel_document(number))

    async def _cancellation_feedback(self, request: web.Request, record: ServedDevice) -> web.Response:
        number = number_in(request)
        await self._steps.take_cancellation(record, number, parse_feedback(await read_json(request), number))
        return web.Response()

    async def _attributes(self, request: web.Request, record: ServedDevice) -> web.Response:
        session = self._sessions.of(record.name)
        session.attributes = parse_attributes(await read_json(request), session.attributes or {})
        return web.Response()

    async def _health(self, request: web.Request, record: ServedDevice) -> web.Response:
        report = parse_health(await read_json(request))
        self._sessions.of(record.name).heard(report, self._clock.monotonic())
        return web.Response()


def base_of(request: web.Request) -> str:
    """The address of the device's own paths, as the device reached the bridge.

    Raises:
        Problem: the device does not say how.
    """
    tenant, device = request.match_info["tenant"], request.match_info["device"]
    return f"{_origin(request.scheme, request.host)}/{tenant}/controller/v1/{device}"


@lru_cache(maxsize=64)
def _origin(scheme: str, host: str) -> str:
    try:
        return str(URL(f"{scheme}://{host}").origin())
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "the header Host names no host") from error


def number_in(request: web.Request) -> int:
    """The action id in the path.

    Raises:
        Problem: it is none that the bridge ever gives out.
    """
    if not _NUMBER.fullmatch(text := request.match_info["number"]):
        raise Problem(HTTPStatus.NOT_FOUND, UNKNOWN)
    return int(text)
