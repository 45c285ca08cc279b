"""The Open Inference Protocol v2 over HTTP, as far as probes speak it.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson

from backstay.adapters.node.probes.answers import whole
from backstay.errors import Refused, Unavailable

ANSWER_LIMIT_BYTES: Final = 32 * 1024 * 1024
_LONGEST_EXCERPT: Final = 200


class InferenceRefused(Refused):
    """The server answered, and the answer is no; the message has its words."""


@dataclass(frozen=True, slots=True)
class InferenceServer:
    """An inference server, asked one thing at a time; each call has its own time."""

    session: aiohttp.ClientSession
    url: str
    timeout_seconds: float = 5.0

    async def live(self) -> None:
        """Return if the server can take requests.

        Raises:
            Unavailable: it cannot be reached, or did not answer in time.
            InferenceRefused: it says that it cannot.
        """
        _agreed(await self._ask("GET", "/v2/health/live"), "live")

    async def ready(self) -> None:
        """Return if all models of the server are ready.

        Raises:
            Unavailable, InferenceRefused: as `live`.
        """
        # The specification's answer has `live` here, and servers write `ready`.
        _agreed(await self._ask("GET", "/v2/health/ready"), "ready", "live")

    async def model_ready(self, model: str, version: str | None = None) -> None:
        """Return if the model is loaded and answers.

        Raises:
            Unavailable, InferenceRefused: as `live`.
        """
        _agreed(await self._ask("GET", f"{_path(model, version)}/ready"), "ready")

    async def versions(self, model: str) -> tuple[str, ...]:
        """The versions of a model that can be asked for; none where the server does not tell versions apart.

        Raises:
            Unavailable, InferenceRefused: as `live`.
        """
        found = (await self._ask("GET", _path(model))).get("versions")
        return tuple(str(version) for version in found) if isinstance(found, list) else ()

    async def infer(self, model: str, version: str | None, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The answer to an inference request.

        Raises:
            Unavailable, InferenceRefused: as `live`.
        """
        return await self._ask("POST", f"{_path(model, version)}/infer", orjson.dumps(request))

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with (
                asyncio.timeout(self.timeout_seconds),
                self.session.request(
                    method, f"{self.url.rstrip('/')}{path}", data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                text = await whole(response, ANSWER_LIMIT_BYTES)
                return _answer(path, response.status, text)
        except TimeoutError as error:
            raise Unavailable(f"{self.url}{path} gave no answer within {self.timeout_seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"{self.url}{path} cannot be reached: {error}") from error


def _path(model: str, version: str | None = None) -> str:
    of_version = f"/versions/{quote(version, safe='')}" if version else ""
    return f"/v2/models/{quote(model, safe='')}{of_version}"


def _answer(path: str, status: int, text: bytes) -> dict[str, Any]:
    """What the server said; an empty answer with status 200 is a yes, and some servers give no more."""
    found: object = None
    try:
        found = orjson.loads(text) if text.strip() else {}
    except orjson.JSONDecodeError:
        if status == HTTPStatus.OK and path.endswith(("/live", "/ready")):
            return {}
    if status != HTTPStatus.OK or not isinstance(found, dict):
        said = found.get("error") if isinstance(found, dict) else None
        words = said or text[:_LONGEST_EXCERPT].decode(errors="replace")
        raise InferenceRefused(f"{path} answered {status}: {words}")
    return found


def _agreed(answer: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if answer.get(name) is False:
            raise InferenceRefused(f"the server answered 200, and {name} is false")
