"""Notifications as Alertmanager sends them, and an API server that keeps holds."""

from typing import Any
from uuid import uuid4

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

Json = dict[str, Any]

FINGERPRINT = "3f9c2a71d0e4b586"


def alert(
    status: str = "firing", fingerprint: str = FINGERPRINT, labels: Json | None = None, **annotations: str
) -> Json:
    """One alert that asks for a hold of a group, unless the annotations say otherwise."""
    named = {"alertname": "AccuracyLow", "namespace": "acme", "backstay_hold": "true"}
    scope = {} if any(key != "summary" for key in annotations) else {"backstay_hold_groups": "cameras"}
    return {
        "status": status,
        "labels": named | (labels or {}),
        "annotations": scope | annotations,
        "startsAt": "2026-01-05T12:00:00.000Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph?g0.expr=accuracy",
        "fingerprint": fingerprint,
    }


def notification(*alerts: Any) -> Json:
    """A whole body, as Alertmanager 0.25 sends it."""
    return {
        "receiver": "backstay-holds",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {"alertname": "AccuracyLow"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "version": "4",
        "groupKey": '{}:{alertname="AccuracyLow"}',
        "truncatedAlerts": 0,
    }


class ApiServer:
    """Keeps holds: creates none twice, and deletes only what is still as it was read."""

    def __init__(self) -> None:
        self.holds: dict[tuple[str, str], Json] = {}
        self.is_down = False
        self.forbids: set[str] = set()
        """Namespaces in which the caller has no right."""
        self.deletes: list[str] = []
        self._version = 0

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._authorize])
        base = "/apis/backstay.dev/v1alpha1/namespaces/{namespace}/holds"
        application.router.add_post(base, self._create)
        application.router.add_get(f"{base}/{{name}}", self._get)
        application.router.add_delete(f"{base}/{{name}}", self._delete)
        return application

    def put(self, namespace: str, document: Json) -> None:
        self._version += 1
        document["metadata"] |= {"uid": uuid4().hex, "resourceVersion": str(self._version), "namespace": namespace}
        self.holds[namespace, document["metadata"]["name"]] = document

    @web.middleware
    async def _authorize(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.get("namespace") in self.forbids:
            return _status(403, "holds is forbidden")
        return await handler(request)

    async def _create(self, request: web.Request) -> web.Response:
        document = orjson.loads(await request.read())
        if self.is_down:
            return _status(503, "away")
        if (request.match_info["namespace"], document["metadata"]["name"]) in self.holds:
            return _status(409, "it exists")
        self.put(request.match_info["namespace"], document)
        return web.json_response(document, status=201)

    async def _get(self, request: web.Request) -> web.Response:
        if self.is_down:
            return _status(503, "away")
        found = self.holds.get((request.match_info["namespace"], request.match_info["name"]))
        return _status(404, "not found") if found is None else web.json_response(found)

    async def _delete(self, request: web.Request) -> web.Response:
        key = request.match_info["namespace"], request.match_info["name"]
        if (found := self.holds.get(key)) is None:
            return _status(404, "not found")
        wanted = orjson.loads(await request.read())["preconditions"]
        if wanted != {name: found["metadata"][name] for name in ("uid", "resourceVersion")}:
            return _status(409, "it has changed")
        self.deletes.append(key[1])
        del self.holds[key]
        return web.json_response({"status": "Success"})


def _status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "message": message}, status=code)
