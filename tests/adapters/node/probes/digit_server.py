"""A small inference server that speaks the Open Inference Protocol v2 and serves the demo's real digit model."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstay.simulate.inference import Model

MODEL = "digits"


@dataclass
class DigitServer:
    """Serves one model in one version; tests may make it slow, dead or unready."""

    model: Model
    version: str = "1.0.0"
    live: bool = True
    ready: bool = True
    loaded: bool = True
    slow_seconds: float = 0.0
    slow_answers: int = 0
    """So many of the next answers are slow; below zero all of them."""
    asked: list[str] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/v2/health/live", self._live),
                web.get("/v2/health/ready", self._ready),
                web.get("/v2/models/{model}", self._metadata),
                web.get("/v2/models/{model}/ready", self._model_ready),
                web.get("/v2/models/{model}/versions/{version}/ready", self._model_ready),
                web.post("/v2/models/{model}/infer", self._infer),
                web.post("/v2/models/{model}/versions/{version}/infer", self._infer),
            ]
        )
        return app

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"live": self.live})

    async def _ready(self, _request: web.Request) -> web.Response:
        return web.json_response({"ready": self.ready}, status=200 if self.ready else 503)

    async def _model_ready(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response({"name": MODEL, "ready": self.loaded})

    async def _metadata(self, request: web.Request) -> web.Response:
        self._check(request)
        pixels = {"name": "pixels", "datatype": "UINT8", "shape": [-1, self.model.inputs]}
        outputs = [
            {"name": "digit", "datatype": "INT64", "shape": [-1]},
            {"name": "probability", "datatype": "FP32", "shape": [-1]},
        ]
        return web.json_response(
            {"name": MODEL, "versions": [self.version], "platform": "bsm1", "inputs": [pixels], "outputs": outputs}
        )

    async def _infer(self, request: web.Request) -> web.Response:
        self._check(request)
        self.asked.append(request.path)
        if self.slow_answers:
            self.slow_answers -= 1
            await asyncio.sleep(self.slow_seconds)
        asked = orjson.loads(await request.read())
        (tensor,) = asked["inputs"]
        if tensor["name"] != "pixels" or tensor["datatype"] != "UINT8":
            raise _refusal("the input is pixels of UINT8", web.HTTPBadRequest)
        pixels = np.array(tensor["data"], np.uint8).reshape(tensor["shape"])
        digits, probabilities = self.model.classify(pixels)
        rows = len(digits)
        outputs = [
            {"name": "digit", "datatype": "INT64", "shape": [rows], "data": digits.tolist()},
            {"name": "probability", "datatype": "FP32", "shape": [rows], "data": probabilities.tolist()},
        ]
        wanted = {one["name"] for one in asked.get("outputs") or outputs}
        chosen = [one for one in outputs if one["name"] in wanted]
        return web.json_response({"model_name": MODEL, "model_version": self.version, "outputs": chosen})

    def _check(self, request: web.Request) -> None:
        if request.match_info["model"] != MODEL:
            raise _refusal(f"there is no model {request.match_info['model']}", web.HTTPNotFound)
        if request.match_info.get("version", self.version) != self.version:
            raise _refusal(f"there is no version {request.match_info['version']}", web.HTTPNotFound)


@asynccontextmanager
async def running(server: DigitServer) -> AsyncIterator[str]:
    """Run the server on loopback, and give its URL."""
    async with TestServer(server.app()) as listening:
        yield str(listening.make_url("/"))


def _refusal(words: str, kind: type[web.HTTPClientError]) -> web.HTTPClientError:
    return kind(text=orjson.dumps({"error": words}).decode(), content_type="application/json")
