"""The inference server of a box: the digit model, by the Open Inference Protocol v2, from whatever release is in use.

It runs in a Pod and knows nothing of Backstay: it reads the directory of models anew for each request, and so serves
another version as soon as the link there leads to it.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import json
import re
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from backstay.simulate.inference import BadModel, Model, load_model

MODEL: Final = "digits"
PORT: Final = 8000
_OF_MODEL: Final = re.compile(rf"/v2/models/{MODEL}(?:/versions/(?P<version>[^/]+))?(?P<rest>/ready|/infer)?")

Json = dict[str, Any]


class NotServed(Exception):
    """There is no such model or version here."""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    models: ClassVar[Path]
    """`current/current` in it is the release in use."""

    def do_GET(self) -> None:
        """Live, ready, and which version is served."""
        if self.path == "/v2/health/live":
            self._say(HTTPStatus.OK, {"live": True})
            return
        try:
            version, _ = self._release()
            if self.path == "/v2/health/ready":
                self._say(HTTPStatus.OK, {"ready": True})
            elif self._asked(version) == "/ready":
                self._say(HTTPStatus.OK, {"name": MODEL, "ready": True})
            else:
                self._say(HTTPStatus.OK, {"name": MODEL, "versions": [version], "platform": "bsm1"})
        except (NotServed, BadModel, OSError, ValueError) as error:
            self._say(HTTPStatus.NOT_FOUND, {"error": str(error)})

    def do_POST(self) -> None:
        """Which digits the pixels show."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            version, model = self._release()
            self._require_inference(version)
            (tensor,) = json.loads(body)["inputs"]
            digits, probabilities = model.classify(np.array(tensor["data"], np.uint8).reshape(tensor["shape"]))
        except (NotServed, BadModel, OSError) as error:
            self._say(HTTPStatus.NOT_FOUND, {"error": str(error)})
            return
        except (ValueError, KeyError, TypeError) as error:
            self._say(HTTPStatus.BAD_REQUEST, {"error": f"the request cannot be read: {error!r}"})
            return
        outputs = [
            {"name": "digit", "datatype": "INT64", "shape": [len(digits)], "data": digits.tolist()},
            {"name": "probability", "datatype": "FP32", "shape": [len(digits)], "data": probabilities.tolist()},
        ]
        self._say(HTTPStatus.OK, {"model_name": MODEL, "model_version": version, "outputs": outputs})

    def log_message(self, *_: object) -> None:
        """Say nothing of each request: probes ask every second."""

    def _release(self) -> tuple[str, Model]:
        release = (self.models / "current" / "current").resolve(strict=True)
        version = str(json.loads((release / "release.json").read_bytes())["version"])
        return version, load_model((release / "model.bin").read_bytes())

    def _asked(self, version: str) -> str | None:
        found = _OF_MODEL.fullmatch(self.path)
        if found is None or found["version"] not in (None, version):
            raise NotServed(f"there is no {self.path} here; {MODEL} {version} is served")
        return found["rest"]

    def _require_inference(self, version: str) -> None:
        if self._asked(version) != "/infer":
            raise NotServed(f"{self.path} takes no requests")

    def _say(self, status: HTTPStatus, answer: Json) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


if __name__ == "__main__":
    Handler.models = Path(sys.argv[1])
    ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()  # noqa: S104 - in the Pod's own network
