"""Who gets in, how large a body may be, and how errors look: the same for every path.

A stranger learns nothing: an unknown device, another tenant's or another gateway's, a revoked one and a wrong token get
one and the same answer.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from backstay.bridge.health import MalformedBody
from backstay.bridge.records import ServedDevice
from backstay.bridge.tokens import admits, parse_authorization
from backstay.bridge.view import View
from backstay.errors import BackstayError

BASE: Final = "/{tenant}/controller/v1/{device}"
BODY_LIMIT_BYTES: Final = 64 * 1024
BODY_TIMEOUT_SECONDS: Final = 10.0
RETRY_AFTER_SECONDS: Final = 1

_HOST: Final = re.compile(r"(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

log = logging.getLogger(__name__)


class Problem(Exception):
    """An answer that is not the one that was hoped for."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def problem_answer(status: int, message: str, *, allow: str | None = None) -> web.Response:
    """An error as hawkBit writes it."""
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in _COME_AGAIN else {}
    if allow is not None:
        headers["Allow"] = allow
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "TargetToken"
    code = HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")
    return json_answer({"errorCode": code, "message": message}, status=status, headers=headers)


_COME_AGAIN: Final = frozenset({HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS})


def json_answer(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:  # noqa: ANN401
    """An answer in JSON."""
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json")


async def read_json(request: web.Request) -> object:
    """Read the request's body, bounded in size and in time.

    Raises:
        MalformedBody: it is not JSON.
        Problem: it is too large, or too slow.
    """
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            raw = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        limit = f"a body has at most {BODY_LIMIT_BYTES} bytes"
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit) from error
    except TimeoutError as error:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time") from error
    except web.RequestPayloadError as error:
        raise MalformedBody(
            "the body is not encoded as its headers say: Content-Encoding, Transfer-Encoding"
        ) from error
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"the body is not JSON: {error}") from error


async def go_on(request: web.Request) -> None:
    """Tell a client to go on that waits for it; any other expectation is let pass.

    Source: RFC 9110, section 10.1.1
    """
    if request.version >= HttpVersion11 and request.headers.get("Expect", "").strip().lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # That was not the answer yet: an error may still be sent.
        request.writer.output_size = 0


def all_of(request: web.Request, name: str) -> str | None:
    """A header that is a list, also where it comes in several lines; None where it does not come at all."""
    found = request.headers.getall(name, None)
    return None if found is None else ",".join(found)


def base_of(request: web.Request) -> str:
    """The address of the device's own paths, as the device reached the bridge.

    Raises:
        Problem: the device does not say how.
    """
    tenant, device = request.match_info["tenant"], request.match_info["device"]
    return f"{_origin(request.scheme, request.host)}/{tenant}/controller/v1/{device}"


@lru_cache(maxsize=64)
def _origin(scheme: str, host: str) -> str:
    problem = Problem(HTTPStatus.BAD_REQUEST, "the header Host names no host")
    if not _HOST.fullmatch(host):
        raise problem
    try:
        return str(URL(f"{scheme}://{host}").origin())
    except ValueError as error:
        raise problem from error


@dataclass(frozen=True, slots=True)
class Unknown:
    """A device that carries a valid token, and of which this bridge knows nothing."""

    name: str


def authorized(view: View, key: bytes, request: web.Request) -> ServedDevice | Unknown | None:
    """The device that may speak here by this request, or None."""
    # Whoever carries two could be one device to a proxy and another one here.
    found = request.headers.getall("Authorization", [])
    credential = parse_authorization(found[0]) if len(found) == 1 else None
    name = request.match_info["device"]
    record = view.device(name)
    if credential is None or not key:
        return None
    # An unknown device costs the same computation as a known one.
    generation = record.generation if record else 1
    fits = admits(credential, key, device=name, generation=generation, gateway=view.gateway)
    if not fits or request.match_info["tenant"] != view.namespace:
        return None
    if record is None:
        return Unknown(name)
    return record if record.enrolled and not record.revoked else None


def errors_as_json(count: Callable[[str, int], None]) -> Middleware:
    """The middleware that turns every error into a JSON answer and counts every request."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            answer = await handler(request)
        except Problem as problem:
            answer = problem_answer(problem.status, problem.message)
        except MalformedBody as error:
            answer = problem_answer(HTTPStatus.BAD_REQUEST, str(error))
        except web.HTTPException as error:
            answer = problem_answer(error.status, error.reason, allow=error.headers.get("Allow"))
        except BackstayError as error:
            # What went wrong behind the bridge is the operator's to read; the device only has to come again. The raw
            # path, because a decoded one may hold line breaks and so whole lines that the bridge never wrote.
            log.warning("%s %s: %s", request.method, request.raw_path, error)
            answer = problem_answer(HTTPStatus.SERVICE_UNAVAILABLE, "not possible just now; say it again")
        except ConnectionError:
            # The device is gone in the middle of an answer; there is nobody left to tell.
            raise
        except Exception:
            log.exception("%s %s failed", request.method, request.raw_path)
            answer = problem_answer(HTTPStatus.INTERNAL_SERVER_ERROR, "the bridge failed; its log says why")
        resource = request.match_info.route.resource
        # By pattern, never by path: a stranger's paths must not become series.
        count(resource.canonical.removeprefix(BASE) or "/" if resource else "none", answer.status)
        return answer

    return middleware
