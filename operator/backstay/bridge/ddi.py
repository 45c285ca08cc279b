"""The paths of the Direct Device Integration API that the bridge serves, and the health extension.

Source: https://eclipse.dev/hawkbit/rest-api/ddi/
"""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from backstay.bridge.attributes import parse_attributes
from backstay.bridge.documents import (
    FINISHED,
    RUNNING,
    PollAnswer,
    cancel_document,
    confirmation_document,
    deployment_document,
    history_document,
    installed_document,
)
from backstay.bridge.downloads import Downloads
from backstay.bridge.entrance import BASE, Problem, all_of, authorized, base_of, go_on, json_answer, read_json
from backstay.bridge.feedback import parse_feedback
from backstay.bridge.health import parse_health
from backstay.bridge.keys import TenantKey
from backstay.bridge.metrics import BridgeMetrics
from backstay.bridge.newcomers import Newcomers
from backstay.bridge.ranges import is_known
from backstay.bridge.records import ServedDevice
from backstay.bridge.sessions import Sessions
from backstay.bridge.steps import UNKNOWN, Steps
from backstay.bridge.view import View
from backstay.ports.clock import Clock

HISTORY: Final = re.compile(r"-1|[0-9]{1,3}")
NUMBER: Final = re.compile(r"[1-9][0-9]{0,15}")

DeviceHandler = Callable[[web.Request, ServedDevice], Awaitable[web.StreamResponse]]


class Ddi:
    """Answers devices."""

    def __init__(
        self,
        *,
        view: View,
        key: TenantKey,
        newcomers: Newcomers,
        steps: Steps,
        downloads: Downloads,
        sessions: Sessions,
        clock: Clock,
        metrics: BridgeMetrics,
        poll_seconds: float,
    ) -> None:
        self._view = view
        self._key = key
        self._newcomers = newcomers
        self._steps = steps
        self._downloads = downloads
        self._sessions = sessions
        self._clock = clock
        self._metrics = metrics
        self._poll_seconds = poll_seconds

    def routes(self) -> list[web.RouteDef]:
        """Every path, with its method."""
        artifacts = f"{BASE}/softwaremodules/{{module}}/artifacts"
        routes = (
            ("GET", BASE, self._poll),
            ("GET", f"{BASE}/deploymentBase/{{number}}", self._deployment),
            ("POST", f"{BASE}/deploymentBase/{{number}}/feedback", self._feedback),
            ("GET", f"{BASE}/cancelAction/{{number}}", self._cancellation),
            ("POST", f"{BASE}/cancelAction/{{number}}/feedback", self._cancellation_feedback),
            ("PUT", f"{BASE}/configData", self._attributes),
            ("POST", f"{BASE}/health", self._health),
            ("GET", f"{BASE}/installedBase/{{number}}", self._installed),
            ("GET", f"{BASE}/confirmationBase", self._confirmation),
            ("POST", f"{BASE}/confirmationBase/activateAutoConfirm", self._confirm_all),
            ("POST", f"{BASE}/confirmationBase/deactivateAutoConfirm", self._confirm_none),
            ("GET", artifacts, self._downloads.listing),
            ("GET", f"{artifacts}/{{filename}}", self._downloads.answer),
        )
        return [
            web.route(method, path, self._for_device(handler), expect_handler=go_on) for method, path, handler in routes
        ]

    def _for_device(self, handler: DeviceHandler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            record = authorized(self._view, self._key.value, request)
            if not isinstance(record, ServedDevice):
                self._metrics.turned_away()
                if record is not None:
                    self._newcomers.seen(record.name)
                raise Problem(HTTPStatus.UNAUTHORIZED, "no such device here, or not its token")
            session, now = self._sessions.of(record.name), self._clock.monotonic()
            session.contact_at = now
            if not session.bucket.takes(now):
                self._metrics.limited("requests")
                raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "this device asks too often; wait a little")
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
            installed=installed[0] if (installed := record.installed()) else None,
            wants_attributes=session.attributes is None,
        )
        if session.poll is None or session.poll[0] != told:
            session.poll = told, told.body()
        body, etag = session.poll[1]
        if is_known(etag, all_of(request, "If-None-Match") or ""):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
        return web.Response(body=body, content_type="application/json", headers={"ETag": etag})

    async def _deployment(self, request: web.Request, record: ServedDevice) -> web.Response:
        offer = await self._steps.offer_of(record, number_in(request))
        known = self._view.device(record.name) or record
        document = deployment_document(base_of(request), known, offer.step, offer.ordered, offer.content)
        return json_answer(document | self._history(request, known, offer.step.number, RUNNING))

    async def _installed(self, request: web.Request, record: ServedDevice) -> web.Response:
        number, installed = number_in(request), record.installed()
        if installed is None or installed[0] != number:
            raise Problem(HTTPStatus.NOT_FOUND, UNKNOWN)
        document = installed_document(*installed)
        return json_answer(document | self._history(request, record, number, FINISHED))

    def _history(self, request: web.Request, record: ServedDevice, number: int, status: str) -> dict[str, object]:
        """As many messages as the device asks for: none by default, all with -1."""
        asked = request.query.get("actionHistory", "0")
        if not HISTORY.fullmatch(asked):
            raise Problem(HTTPStatus.BAD_REQUEST, "actionHistory must be a number of messages, or -1 for all")
        if (most := int(asked)) == 0:
            return {}
        messages = list(self._sessions.of(record.name).messages.get(number, ()))
        return {"actionHistory": history_document(status, messages if most < 0 else messages[:most])}

    async def _confirmation(self, request: web.Request, record: ServedDevice) -> web.Response:
        del record
        return json_answer(confirmation_document(base_of(request)))

    async def _confirm_all(self, request: web.Request, record: ServedDevice) -> web.Response:
        """It is so already."""
        del request, record
        return web.Response()

    async def _confirm_none(self, request: web.Request, record: ServedDevice) -> web.Response:
        del request, record
        raise Problem(HTTPStatus.CONFLICT, "a plan's own approval decides, and a device cannot ask for another")

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


def number_in(request: web.Request) -> int:
    """The action id in the path.

    Raises:
        Problem: it is none that the bridge ever gives out.
    """
    if not NUMBER.fullmatch(text := request.match_info["number"]):
        raise Problem(HTTPStatus.NOT_FOUND, UNKNOWN)
    return int(text)
