"""The answers of the device protocol that are the same for every path: errors, and what is carried in headers."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from backstay.bridge.attributes import MOST_ATTRIBUTES
from backstay.bridge.entrance import BODY_LIMIT_BYTES, BODY_TIMEOUT_SECONDS, RETRY_AFTER_SECONDS
from backstay.bridge.limits import BURST, DOWNLOADS_AT_ONCE, REQUESTS_PER_SECOND
from backstay.bridge.openapi.schemas import Schema, ref, text

JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
TEXT: Final = "text/plain"

_HEADERS: Final[Mapping[str, Schema]] = {
    "ETag": text("Names these bytes.", pattern='^"[^"]+"$'),
    "Allow": text("The methods that the path has."),
    "Retry-After": {"const": str(RETRY_AFTER_SECONDS), "description": "Seconds."},
    "WWW-Authenticate": text("The scheme of a device's own token."),
    "Content-Range": text("Which bytes of how many.", pattern=r"^bytes (?:[0-9]+-[0-9]+|\*)/[0-9]+$"),
    "Accept-Ranges": {"const": "bytes"},
}


def headers(*names: str, required: bool = True) -> dict[str, Any]:
    """The headers of one answer."""
    return {name: {"required": required, "schema": dict(_HEADERS[name])} for name in names}


def answer(
    description: str, content: Mapping[str, Schema] | None = None, with_headers: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """One answer; without content it has no body."""
    found: dict[str, Any] = {"description": description}
    if with_headers:
        found["headers"] = dict(with_headers)
    if content:
        found["content"] = {kind: {"schema": schema} for kind, schema in content.items()}
    return found


def told(description: str, *names: str, also: str | None = None) -> dict[str, Any]:
    """An error, with its headers; `also` is another kind of content beside JSON."""
    content: dict[str, Schema] = {JSON: ref("Error")}
    if also is not None:
        content[also] = text()
    return answer(description, content, headers(*names))


ERRORS: Final[Mapping[HTTPStatus, dict[str, Any]]] = {
    HTTPStatus.BAD_REQUEST: told(
        "The body is not JSON, or a field has the wrong form: `message` names it. There would be more than"
        f" {MOST_ATTRIBUTES} attributes. The header Host names no host. In plain text: this is no HTTP.",
        also=TEXT,
    ),
    HTTPStatus.UNAUTHORIZED: told("No such device here, or not its token.", "WWW-Authenticate"),
    HTTPStatus.NOT_FOUND: told("There is no such path, action or artifact, or not now: poll again."),
    HTTPStatus.METHOD_NOT_ALLOWED: told("The path has no such method.", "Allow"),
    HTTPStatus.REQUEST_TIMEOUT: told(f"The body did not arrive within {BODY_TIMEOUT_SECONDS:g} s."),
    HTTPStatus.CONFLICT: told("A device cannot ask for that."),
    HTTPStatus.GONE: told("The action is over, was replaced or was stopped before it began: poll again."),
    HTTPStatus.PRECONDITION_FAILED: answer("The file is not the one of If-Match.", None, headers("ETag")),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: told(f"The body is larger than {BODY_LIMIT_BYTES} bytes."),
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: answer(
        "The range has no byte of the file.", None, headers("ETag", "Accept-Ranges", "Content-Range")
    ),
    HTTPStatus.TOO_MANY_REQUESTS: told(
        f"Too much of this device: more than {REQUESTS_PER_SECOND:g} requests a second after a burst of {BURST:g}, or"
        f" more than {DOWNLOADS_AT_ONCE} downloads at once.",
        "Retry-After",
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: told("Not possible just now: say it again.", "Retry-After"),
}


def error_name(status: HTTPStatus) -> str:
    """What an error is called in the document: by its number, because Python calls some by other words since."""
    return f"Error{int(status)}"
