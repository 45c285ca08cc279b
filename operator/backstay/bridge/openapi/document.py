"""The whole document, and the two places where it is to be had: the reference, and the bridge itself."""

import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from backstay.api.generated import Generated
from backstay.bridge.entrance import go_on
from backstay.bridge.openapi.answers import ERRORS, JSON, answer, error_name
from backstay.bridge.openapi.operations import OPERATIONS, PUBLISHED_AT, parameters
from backstay.bridge.openapi.schemas import ANSWERS, BODIES
from backstay.bridge.tokens import Scheme

COMMAND: Final = "python -m backstay.bridge.openapi"
FILE: Final = "ddi-openapi.json"

_DESCRIPTION: Final = (
    "hawkBit's Direct Device Integration API (DDI v1) as a Backstay gateway bridge serves it, with one link of its own,"
    " health. Every path begins with the tenant, which is the namespace, and the name of the device."
)
_SCHEMES: Final = {
    Scheme.TARGET: "A device's own token: HMAC-SHA256(tenant key, device + newline + generation), hexadecimal.",
    Scheme.GATEWAY: "The token of every device of a gateway: HMAC-SHA256(tenant key, gateway/ + gateway), hexadecimal.",
}


def document() -> dict[str, Any]:
    """The device protocol as an OpenAPI document.

    Source: https://spec.openapis.org/oas/v3.1.1.html
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": "Backstay device protocol", "version": "v1", "description": _DESCRIPTION},
        "security": [{scheme.value: []} for scheme in Scheme],
        "paths": _paths(),
        "components": {
            "securitySchemes": {scheme.value: _scheme(scheme) for scheme in Scheme},
            "parameters": parameters(),
            "responses": {error_name(status): told for status, told in ERRORS.items()},
            "schemas": {**BODIES, **ANSWERS},
        },
    }


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        # Parameters of a path are those of all its methods.
        names = re.findall(r"\{(\w+)\}", operation.path)
        path = paths.setdefault(
            operation.path, {"parameters": [{"$ref": f"#/components/parameters/{name}"} for name in names]}
        )
        path[operation.method.lower()] = operation.object()
        if operation.method == "GET":
            path["head"] = operation.head()
    return paths | {PUBLISHED_AT: _itself()}


def _itself() -> dict[str, Any]:
    """Where the document is; anybody may read it, because it is the same for everybody."""
    status, refused = str(int(HTTPStatus.OK)), str(int(HTTPStatus.METHOD_NOT_ALLOWED))
    not_allowed = error_name(HTTPStatus.METHOD_NOT_ALLOWED)
    found = answer("This document.", {JSON: {"type": "object"}})
    told = {status: found, refused: {"$ref": f"#/components/responses/{not_allowed}"}}
    return {
        "get": {"operationId": "getOpenapi", "summary": found["description"], "security": [], "responses": told},
        "head": {
            "operationId": "getOpenapiHead",
            "summary": "The headers of GET alone.",
            "security": [],
            "responses": {status: answer("It is here."), refused: answer("The path has no such method.")},
        },
    }


def _scheme(scheme: Scheme) -> dict[str, str]:
    told = f"`{scheme} TOKEN`. {_SCHEMES[scheme]}"
    return {"type": "apiKey", "in": "header", "name": "Authorization", "description": told}


def publication() -> web.RouteDef:
    """The path at which a bridge shows the document; its bytes are made once."""
    body = orjson.dumps(document())

    async def answer_anybody(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=JSON)

    return web.get(PUBLISHED_AT, answer_anybody, expect_handler=go_on)


def generated() -> Generated:
    """The file of the reference."""
    text = json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
    return Generated(COMMAND, Path("docs/reference"), {FILE: text}, FILE, "the modules in operator/backstay/bridge")
