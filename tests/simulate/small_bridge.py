"""The smallest bridge that speaks the contract to one device: DDI over real HTTP, orders by hand."""

import asyncio
import json
import re
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from backstay.core.planes import Plane
from backstay.simulate.image import digest_of
from tests.simulate.workbench import PROBES

BASE = "/acme/controller/v1/cam-1"
TOKEN = "70ken"  # a password to nothing


@dataclass
class SmallBridge:
    step: dict[str, Any] | None = None
    cancel: int | None = None
    payload: bytes = b""
    served: bytes = b""
    chunk_bytes: int = 4096
    break_after: int = 10**9
    """Each answer with an artifact breaks off after so many bytes."""
    pause_seconds: float = 0.0
    has_bytes: bool = True
    """Without them it offers a step, but no deployment, as one whose registry is down."""
    ranges: list[str] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    unchanged: int = 0
    polls: int = 0

    def offer(self, number: int, plane: Plane, payload: bytes, version: str, **more: Any) -> None:
        self.payload = self.served = payload
        probes = [{"name": x.name, "kind": x.kind, **dict(x.settings)} for x in more.pop("probes", PROBES)]
        self.step = {
            "id": str(number),
            "plane": str(plane),
            "version": version,
            "type": "Install",
            "content": digest_of(payload),
            "probes": probes,
            "window": "20s",
            "expires": "2999-01-01T00:00:00Z",
            **more,
        }

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get(BASE, self._poll)
        app.router.add_get(BASE + "/deploymentBase/{n}", self._deployment)
        app.router.add_post(BASE + "/deploymentBase/{n}/feedback", self._feedback)
        app.router.add_get(BASE + "/cancelAction/{n}", self._cancel)
        app.router.add_post(BASE + "/cancelAction/{n}/feedback", self._canceled)
        app.router.add_post(BASE + "/health", self._health)
        app.router.add_get(BASE + "/artifact", self._artifact)
        return app

    async def until(self, number: int, seconds: float = 20) -> dict[str, Any]:
        """Wait for the answer to a step and return its status."""
        async with asyncio.timeout(seconds):
            while True:
                for said in self.feedback:
                    if said["id"] == str(number) and said["status"]["execution"] == "closed":
                        return dict(said["status"])
                await asyncio.sleep(0.05)

    async def _poll(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"TargetToken {TOKEN}"
        self.polls += 1
        links = {"health": {"href": f"{BASE}/health"}}
        if self.step:
            links["deploymentBase"] = {"href": f"{BASE}/deploymentBase/{self.step['id']}"}
        if self.cancel:
            links["cancelAction"] = {"href": f"{BASE}/cancelAction/{self.cancel}"}
        body = json.dumps({"config": {"polling": {"sleep": "00:00:00"}}, "_links": links})
        etag = f'"{hash(body)}"'
        if request.headers.get("If-None-Match") == etag:
            self.unchanged += 1
            return web.Response(status=304)
        return web.Response(text=body, content_type="application/json", headers={"ETag": etag})

    async def _deployment(self, request: web.Request) -> web.Response:
        if not self.has_bytes:
            raise web.HTTPServiceUnavailable
        assert self.step is not None
        assert request.match_info["n"] == self.step["id"]
        sha256 = self.step["content"].removeprefix("sha256:")
        artifact = {
            "filename": "x",
            "size": len(self.payload),
            "hashes": {"sha256": sha256},
            "_links": {"download-http": {"href": f"{BASE}/artifact"}},
        }
        chunk = {"part": self.step["plane"], "version": self.step["version"], "name": "x", "artifacts": [artifact]}
        deployment = {"download": "forced", "update": "forced", "chunks": [chunk]}
        return web.json_response({"id": self.step["id"], "deployment": deployment, "backstay": self.step})

    async def _feedback(self, request: web.Request) -> web.Response:
        said = await request.json()
        self.feedback.append(said)
        if said["status"]["execution"] == "closed" and self.step and self.step["id"] == said["id"]:
            self.step = None
        return web.Response()

    async def _cancel(self, request: web.Request) -> web.Response:
        return web.json_response({"id": request.match_info["n"], "cancelAction": {"stopId": request.match_info["n"]}})

    async def _canceled(self, request: web.Request) -> web.Response:
        self.cancel = None
        return web.Response()

    async def _health(self, request: web.Request) -> web.Response:
        self.reports.append(await request.json())
        return web.Response()

    async def _artifact(self, request: web.Request) -> web.StreamResponse:
        start = int(found[1]) if (found := re.match(r"bytes=(\d+)-", request.headers.get("Range", ""))) else 0
        self.ranges.append(request.headers.get("Range", ""))
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(self.served) - start
        await response.prepare(request)
        for at in range(start, len(self.served), self.chunk_bytes):
            if at - start >= self.break_after:
                assert request.transport is not None
                request.transport.abort()
                break
            await response.write(self.served[at : at + self.chunk_bytes])
            await asyncio.sleep(self.pause_seconds)
        return response
