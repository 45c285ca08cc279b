"""The device protocol as an OpenAPI document, which the bridge serves at `/openapi.json` and is held to by fuzz tests.

Every limit in it is the constant that the bridge itself checks by, so that the document cannot promise anything else.

Source: https://spec.openapis.org/oas/v3.1.1.html
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import orjson

from backstay.api.generated import Generated
from backstay.bridge.attributes import LONGEST_KEY, LONGEST_VALUE, MOST_ATTRIBUTES, Mode
from backstay.bridge.entrance import BASE
from backstay.bridge.feedback import MOST_DETAILS, Execution, Finished
from backstay.bridge.health import AGENT_FORM, DIGEST_FORM, MOST_PROBES, NAME_FORM, OTADATA_FORM, SLOT_FORM
from backstay.bridge.steps import NUMBER_FORM
from backstay.core.devices import StepType
from backstay.core.planes import Plane

Json = dict[str, Any]

PATH: Final = "/openapi.json"
VERSION: Final = "1.0.0"

_JSON: Final = "application/json"
_BYTES: Final = "application/octet-stream"
_TEXT: Final = "text/plain"
_EVERYWHERE: Final = (400, 401, 404, 405, 429, 500, 503)
_WITHOUT_BODY: Final = (304, 412, 416)


def document() -> Json:
    """The whole document, always the same."""
    artifacts = f"{BASE}/softwaremodules/{{module}}/artifacts"
    paths: Json = {
        BASE: _get("What there is to do", "Poll", 304, headers=("ETag",), asks=("If-None-Match",)),
        f"{BASE}/deploymentBase/{{number}}": _get("The step to make", "Deployment", 410, query="actionHistory"),
        f"{BASE}/deploymentBase/{{number}}/feedback": _send("post", "How far the step is", "Feedback", 410),
        f"{BASE}/cancelAction/{{number}}": _get("A step to give up", "CancelAction"),
        f"{BASE}/cancelAction/{{number}}/feedback": _send("post", "That it was given up", "Feedback", 410),
        f"{BASE}/configData": _send("put", "Attributes of the device", "ConfigData"),
        f"{BASE}/health": _send("post", "What runs, and how it fares", "HealthReport"),
        f"{BASE}/installedBase/{{number}}": _get("What was installed last", "Deployment", query="actionHistory"),
        f"{BASE}/confirmationBase": _get("That nothing waits for somebody at the device", "Confirmation"),
        f"{BASE}/confirmationBase/activateAutoConfirm": _send("post", "That it may go on, as it may anyway", None),
        f"{BASE}/confirmationBase/deactivateAutoConfirm": _refused("post", "What a device cannot ask for", 409),
        artifacts: _get("The artifacts of the open step", "Artifacts"),
        f"{artifacts}/{{filename}}": _download(),
        PATH: {"get": _operation("This document", {"200": _answer({"type": "object"})}, ())},
    }
    paths[PATH]["get"]["security"] = []
    paths[PATH]["head"] = _head(paths[PATH]["get"])
    for path, operations in paths.items():
        operations["parameters"] = [_path_parameter(name) for name in _names_in(path)]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Backstay's bridge: the Direct Device Integration API, and its extension `health`",
            "version": VERSION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": _SCHEMAS, "securitySchemes": {"token": _TOKEN}},
    }


def encoded() -> bytes:
    """The document as it is served."""
    return orjson.dumps(document())


def generated() -> Generated:
    """The document as it lies in the reference."""
    text = orjson.dumps(document(), option=orjson.OPT_INDENT_2).decode() + "\n"
    command = "python -m backstay.bridge.openapi"
    return Generated(command, Path("docs/reference"), {"ddi-openapi.json": text}, "-openapi.json")


_TOKEN: Final = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "`TargetToken <token>` of the device, or `GatewayToken <token>` of its gateway.",
}


def _text(form: str = "", most: int | None = None, least: int | None = None) -> Json:
    bounds = {"minLength": least, "maxLength": most, "pattern": f"^(?:{form})$" if form else None}
    return {"type": "string"} | {name: value for name, value in bounds.items() if value is not None}


def _object(required: Iterable[str] = (), **properties: Json) -> Json:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(of: Json, most: int | None = None) -> Json:
    return {"type": "array", "items": of} | ({} if most is None else {"maxItems": most})


def _one_of(words: Iterable[object]) -> Json:
    return {"type": "string", "enum": [str(word) for word in words]}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


_LINK: Final = _object(("href",), href={"type": "string"})
_HASHES: Final = _object(
    ("sha256",), sha256=_text("[0-9a-f]{64}"), sha1=_text("[0-9a-f]{40}"), md5=_text("[0-9a-f]{32}")
)
_ARTIFACT: Final = _object(
    ("filename", "hashes", "_links"),
    filename=_text(least=1),
    hashes=_HASHES,
    size={"type": "integer", "minimum": 0},
    _links={"type": "object", "additionalProperties": _LINK},
)
_CHUNK: Final = _object(
    ("part", "version", "name", "artifacts"),
    part=_one_of(Plane),
    version={"type": "string"},
    name=_one_of(Plane),
    artifacts=_list(_ARTIFACT),
)
_PLANE_REPORT: Final = _object(
    running=_or_null(_text(f"{DIGEST_FORM}|")),
    version=_or_null({"type": "string"}),
    fallback=_or_null(_text(f"{DIGEST_FORM}|")),
    fallbackVersion=_or_null({"type": "string"}),
)
_SCHEMAS: Final[Mapping[str, Json]] = {
    "Error": _object(("errorCode", "message"), errorCode={"type": "string"}, message={"type": "string"}),
    "Poll": _object(
        ("config", "_links"),
        config=_object(("polling",), polling=_object(("sleep",), sleep=_text("[0-9]{2}:[0-5][0-9]:[0-5][0-9]"))),
        _links={"type": "object", "additionalProperties": _LINK},
    ),
    "Deployment": _object(
        ("id", "deployment"),
        id=_text(NUMBER_FORM),
        deployment=_object(
            ("download", "update", "chunks"),
            download=_one_of(["forced"]),
            update=_one_of(["forced"]),
            chunks=_list(_CHUNK),
        ),
        actionHistory=_object(("status", "messages"), status={"type": "string"}, messages=_list({"type": "string"})),
        backstay=_object(("plane", "type", "version", "content"), plane=_one_of(Plane), type=_one_of(StepType)),
    ),
    "CancelAction": _object(("id", "cancelAction"), id=_text(NUMBER_FORM), cancelAction=_object(("stopId",))),
    "Confirmation": _object(("autoConfirm", "_links")),
    "Artifacts": _list(_ARTIFACT),
    "Feedback": _object(
        ("status",),
        id={"description": "The number in the path, where it is given."},
        status=_object(
            ("execution", "result"),
            execution=_one_of(Execution),
            result=_object(("finished",), finished=_one_of(Finished)),
            details=_or_null(_list({"type": "string"}, MOST_DETAILS)),
        ),
    ),
    "ConfigData": _object(
        ("data",),
        mode=_or_null(_one_of(Mode)),
        data={
            "type": "object",
            "maxProperties": MOST_ATTRIBUTES,
            "propertyNames": {"minLength": 1, "maxLength": LONGEST_KEY},
            "additionalProperties": _text(most=LONGEST_VALUE),
        },
    ),
    "HealthReport": _object(
        planes=_or_null(_object(**{str(plane): _PLANE_REPORT for plane in Plane})),
        slot=_or_null(_text(SLOT_FORM)),
        agent=_or_null(_text(AGENT_FORM)),
        otadata=_or_null(_text(OTADATA_FORM)),
        rollbackCapable=_or_null({"type": "boolean"}),
        probes=_or_null(
            _list(_object(("name", "passed"), name=_text(NAME_FORM), passed={"type": "boolean"}), MOST_PROBES)
        ),
        resources=_or_null({"type": "object"}),
        log=_or_null(_list({"type": "string"})),
        interval=_or_null({"type": "number", "exclusiveMinimum": 0}),
    ),
}


def _get(
    what: str, schema: str, *more: int, headers: Iterable[str] = (), asks: Iterable[str] = (), query: str = ""
) -> Json:
    found = _answer({"$ref": f"#/components/schemas/{schema}"}, headers)
    operation = _operation(what, {"200": found}, more)
    operation["parameters"] = [_header_parameter(name) for name in asks]
    if query:
        number = {"type": "string", "pattern": "^(?:-1|[0-9]{1,3})$"}
        operation["parameters"].append({"name": query, "in": "query", "schema": number})
    return {"get": operation, "head": _head(operation)}


def _send(method: str, what: str, schema: str | None, *more: int) -> Json:
    operation = _operation(what, {"200": {"description": "It stands."}}, (*more, *((408, 413) if schema else ())))
    if schema is not None:
        content = {_JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
        operation["requestBody"] = {"required": True, "content": content}
    return {method: operation}


def _refused(method: str, what: str, status: int) -> Json:
    return {method: _operation(what, {}, (status,))}


def _download() -> Json:
    whole = {
        "description": "The bytes, or the MD5 sum where the name ends in .MD5SUM.",
        "headers": {name: {"schema": {"type": "string"}} for name in ("ETag", "Accept-Ranges")},
        "content": {_BYTES: {}, _TEXT: {"schema": {"type": "string"}}},
    }
    del whole["headers"]
    part = {"description": "A part of them.", "content": {_BYTES: {}}}
    operation = _operation("The bytes of the open step", {"200": whole, "206": part}, _WITHOUT_BODY)
    asks = ("Range", "If-Range", "If-Match", "If-None-Match")
    operation["parameters"] = [_header_parameter(name) for name in asks]
    return {"get": operation, "head": _head(operation)}


def _operation(what: str, answers: Json, more: Iterable[int]) -> Json:
    problems = {str(status): _problem(status) for status in sorted({*_EVERYWHERE, *more})}
    return {"summary": what, "responses": answers | problems}


def _head(operation: Json) -> Json:
    """The same without a body."""
    answers = {
        status: {name: value for name, value in answer.items() if name != "content"}
        for status, answer in operation["responses"].items()
    }
    return operation | {"responses": answers}


def _problem(status: int) -> Json:
    described = {"description": HTTPStatus(status).phrase}
    if status in _WITHOUT_BODY:
        return described
    content: Json = {_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    if status == HTTPStatus.BAD_REQUEST:
        # What is no HTTP at all is answered before anybody knows of a path.
        content[_TEXT] = {"schema": {"type": "string"}}
    return described | {"content": content}


def _answer(schema: Json, headers: Iterable[str] = ()) -> Json:
    found: Json = {"description": "It is.", "content": {_JSON: {"schema": schema}}}
    if headers:
        found["headers"] = {name: {"required": True, "schema": {"type": "string"}} for name in headers}
    return found


def _names_in(path: str) -> list[str]:
    return [part.strip("{}") for part in path.split("/") if part.startswith("{")]


def _path_parameter(name: str) -> Json:
    # Anything may be asked for; what there is none of is a 404.
    return {"name": name, "in": "path", "required": True, "schema": _text(least=1)}


def _header_parameter(name: str) -> Json:
    return {"name": name, "in": "header", "schema": {"type": "string"}}


if __name__ == "__main__":
    raise SystemExit(generated().run(None))
