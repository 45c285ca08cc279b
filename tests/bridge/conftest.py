"""A whole bridge in this process: real handlers, a real client of a small API server, an artifact held in memory."""

import asyncio
import base64
import copy
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from kubernetes.aio.client.configuration import Configuration

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.kube.client import KubeClient
from backstay.bridge.metrics import BridgeMetrics
from backstay.bridge.records import device_record
from backstay.bridge.server import Bridge, Settings, assemble
from backstay.bridge.tokens import target_token
from backstay.core.planes import ContentDigest, Plane
from backstay.ports.registry import (
    ArtifactDescription,
    Blob,
    ManifestDigest,
    Reference,
    RegistryUnavailable,
    Repository,
)
from backstay.ports.verify import NotConfigured, Verdict

KEY = b"k" * 32
OLD = f"sha256:{'0' * 64}"
BYTES = bytes(range(256)) * 40
CONTENT = f"sha256:{hashlib.sha256(BYTES).hexdigest()}"
ARTIFACT = f"127.0.0.1:5000/vision/model@sha256:{'a' * 64}"
ROOT = "/apis/backstay.dev/v1alpha1/namespaces/acme"

Json = dict[str, Any]


@dataclass
class Time:
    """A clock that goes only when it is told to."""

    seconds: float = 1000.0
    start: datetime = field(default_factory=lambda: datetime(2026, 1, 5, 12, 0, tzinfo=UTC))

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Shelf:
    """A registry with one artifact, which can be closed."""

    open: bool = True
    plane: Plane = Plane.MODEL
    verdict: Verdict = field(default_factory=NotConfigured)
    payload: bytes = BYTES
    asked: int = 0

    async def resolve(self, reference: str, device_class: str) -> ArtifactDescription:
        self.asked += 1
        if not self.open:
            raise RegistryUnavailable("the registry is closed")
        content = ContentDigest(f"sha256:{hashlib.sha256(self.payload).hexdigest()}")
        payload = Blob(content, len(self.payload))
        digest = ManifestDigest(f"sha256:{'a' * 64}")
        return ArtifactDescription(Reference.parse(reference), digest, self.plane, "7.2.0", device_class, payload)

    async def open_blob(self, repository: Repository, blob: Blob, offset: int = 0) -> AsyncGenerator[bytes, None]:
        if not self.open:
            raise RegistryUnavailable("the registry is closed")
        yield self.payload[offset:]

    async def fetch(self, artifact: ArtifactDescription) -> AsyncGenerator[bytes, None]:
        yield self.payload

    async def verify(self, artifact: ArtifactDescription) -> Verdict:
        return self.verdict


@dataclass
class ApiServer:
    """As much of an API server as a bridge uses, in memory."""

    objects: dict[str, dict[str, Json]] = field(default_factory=lambda: {"edgedevices": {}, "holds": {}})
    up: bool = True
    version: int = 10
    writes: list[Json] = field(default_factory=list)

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_get(f"{ROOT}/{{plural}}", self._list)
        application.router.add_patch(f"{ROOT}/edgedevices/{{name}}/status", self._patch)
        application.router.add_post(f"{ROOT}/edgedevices", self._create)
        return application

    def put(self, plural: str, item: Json) -> Json:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.objects.setdefault(plural, {})[item["metadata"]["name"]] = item
        return copy.deepcopy(item)

    async def _list(self, request: web.Request) -> web.Response:
        if not self.up:
            raise web.HTTPServiceUnavailable
        items = list(self.objects.get(request.match_info["plural"], {}).values())
        return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})

    async def _create(self, request: web.Request) -> web.Response:
        if not self.up:
            raise web.HTTPServiceUnavailable
        item = json.loads(await request.read())
        name = item["metadata"]["name"]
        if name in self.objects["edgedevices"]:
            raise web.HTTPConflict
        item["metadata"] |= {"namespace": "acme", "uid": f"uid-{name}"}
        return web.json_response(self.put("edgedevices", item), status=201)

    async def _patch(self, request: web.Request) -> web.Response:
        if not self.up:
            raise web.HTTPServiceUnavailable
        body = json.loads(await request.read())
        item = self.objects["edgedevices"].get(request.match_info["name"])
        if item is None:
            raise web.HTTPNotFound
        if body["metadata"]["uid"] != item["metadata"]["uid"]:
            raise web.HTTPConflict
        if body["status"].get("slot") == "refused":
            raise web.HTTPUnprocessableEntity
        if body["status"].get("slot") == "broken":
            raise web.HTTPInternalServerError
        self.writes.append(body["status"])
        item["status"] = merged(item.get("status", {}), body["status"])
        return web.json_response(self.put("edgedevices", item))


def merged(target: Any, patch: Any) -> Any:
    """A merge patch applied, as RFC 7396 writes it down."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@dataclass
class World:
    """The bridge, and everything around it that a test turns."""

    bridge: Bridge
    client: TestClient[web.Request, web.Application]
    api: ApiServer
    shelf: Shelf
    time: Time
    root: Path = Path(__file__).parents[2]

    def device(self, name: str = "cam-1", **spec: Any) -> Json:
        """Make or change a device, and let the bridge know of it as its watch would."""
        known = self.api.objects["edgedevices"].get(name)
        item = known or {
            "metadata": {"name": name, "namespace": "acme", "uid": f"uid-{name}", "labels": {"customer": "acme"}},
            "spec": {"class": "esp32", "gateway": "gw-eu"},
        }
        item["spec"] |= spec
        self.bridge.view.put_device(device_record(self.api.put("edgedevices", item)))
        return item

    def order(self, number: int = 1, kind: str = "Install", name: str = "cam-1", **desired: Any) -> None:
        """Order a step, as the operator does."""
        now = self.time.now()
        step = {"number": number, "plane": "model", "type": kind, "issued": now.isoformat()}
        assignment = {
            "plan": "vision",
            "revision": "3f9c2a1b-2",
            "ring": "canary",
            "version": "7.2.0",
            "artifact": ARTIFACT,
            "content": CONTENT,
        }
        base = {
            "model": assignment,
            "step": step,
            "probes": [{"name": "inference", "kind": "InferenceAlive"}],
            "window": "2m",
            "expires": (now + timedelta(minutes=10)).isoformat(),
        }
        self.device(name, desired=merged(base, desired))

    async def hold(self, spec: Json | None, name: str = "stop") -> None:
        """Put up a hold or, with None, lift it."""
        if spec is None:
            del self.api.objects["holds"][name]
        else:
            envelope = {"apiVersion": "backstay.dev/v1alpha1", "kind": "Hold", "metadata": {"name": name}}
            self.api.put("holds", envelope | {"spec": {"reason": "smoke", **spec}})
        await self.bridge.orders.read()

    async def ask(
        self, method: str, path: str, *, name: str = "cam-1", headers: dict[str, str] | None = None, **options: Any
    ) -> aiohttp.ClientResponse:
        """One request of a device with its right token."""
        sent = {"Authorization": f"TargetToken {target_token(KEY, name, 1)}"} | (headers or {})
        path = path if path.startswith("/acme") else f"/acme/controller/v1/{name}{path}"
        response = await self.client.request(method, path, headers=sent, **options)
        await response.read()
        await self.until_written()
        return response

    async def until_written(self) -> None:
        """Wait until the API server has every answer, as long as it can have it."""
        for _ in range(100):
            if not (self.api.up and self.bridge.journal.all()):
                return
            await asyncio.sleep(0.005)

    async def links(self, name: str = "cam-1") -> dict[str, str]:
        """What a poll links to."""
        response = await self.ask("GET", "", name=name)
        assert response.status == 200
        found = (await response.json())["_links"]
        return {kind: link["href"].partition(f"/{name}")[2] for kind, link in found.items()}

    async def offered(self, name: str = "cam-1") -> str | None:
        """The deployment that a poll offers once the background work has been done."""
        await self.links(name)
        for fetch in self.bridge.contents._fetches.values():
            if fetch.task:
                await fetch.task
        return (await self.links(name)).get("deploymentBase")

    async def health(self, running: str, name: str = "cam-1", **more: Any) -> int:
        plane = {"running": running, "version": "9.9.9", "fallback": OLD}
        body = {"planes": {"model": plane}, "agent": "test/1", "interval": 1.0} | more
        return (await self.ask("POST", "/health", name=name, json=body)).status

    async def feedback(self, number: int, execution: str, finished: str = "none", *details: str) -> int:
        status = {"execution": execution, "result": {"finished": finished}, "details": list(details)}
        path = f"/deploymentBase/{number}/feedback"
        return (await self.ask("POST", path, json={"id": str(number), "status": status})).status

    def status(self, name: str = "cam-1") -> Json:
        """The status as it stands in the API server."""
        return self.api.objects["edgedevices"][name].get("status", {})

    def model(self, name: str = "cam-1") -> Json:
        """The status of the model's plane."""
        return self.status(name).get("planes", {}).get("model", {})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A bridge with one device and no order."""
    api, shelf, time = ApiServer(), Shelf(), Time()
    async with TestServer(api.application()) as server, aiohttp.ClientSession() as session:
        kube = KubeClient(session, Configuration(host=str(server.make_url(""))), "test")
        settings = Settings("acme", "gw-eu", "127.0.0.1", 0, tmp_path / "cache", tmp_path / "state")
        bridge = assemble(settings, kube, shelf, shelf, time, BridgeMetrics(), Failpoints())
        bridge.key.value = KEY
        await bridge.orders.read()
        async with TestClient(TestServer(bridge.application)) as client:
            found = World(bridge, client, api, shelf, time)
            found.device()
            answers = asyncio.create_task(bridge.publisher.run_answers())
            yield found
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
        await bridge.contents.close()
        bridge.journal.close()


def secret(key: bytes) -> Json:
    """A Secret as the API server sends it."""
    return {"data": {"key": base64.b64encode(key).decode()}}
