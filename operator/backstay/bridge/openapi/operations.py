"""Every path of the device protocol with its methods: what they take, and which answers can come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from backstay.bridge.ddi import HISTORY, NUMBER
from backstay.bridge.downloads import MD5_SUFFIX
from backstay.bridge.entrance import BASE, BODY_LIMIT_BYTES
from backstay.bridge.openapi.answers import BYTES, ERRORS, JSON, TEXT, answer, error_name, headers
from backstay.bridge.openapi.schemas import Schema, ref, text, whole
from backstay.bridge.sessions import MOST_MESSAGES
from backstay.core.planes import Plane

ARTIFACTS: Final = f"{BASE}/softwaremodules/{{module}}/artifacts"
PUBLISHED_AT: Final = "/openapi.json"

Answers = Mapping[HTTPStatus, dict[str, Any]]

_EVERYWHERE: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_WITH_BODY: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_OF_STEPS: Final = (HTTPStatus.GONE, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    name: str
    """As hawkBit calls it, where it has it."""
    summary: str
    answers: Answers = field(default_factory=dict)
    """What can come beside the errors."""
    errors: tuple[HTTPStatus, ...] = ()
    """Those that can come beside the ones of every path."""
    parameters: tuple[str, ...] = ()
    body: str | None = None
    """The name of its schema; the empty name is a body that is not looked at."""

    def object(self) -> dict[str, Any]:
        """The operation as OpenAPI writes it."""
        found: dict[str, Any] = {"operationId": self.name, "summary": self.summary}
        if self.parameters:
            found["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in self.parameters]
        if self.body is not None:
            found["requestBody"] = _body(self.body)
        return found | {"responses": {str(int(status)): self._answer(status) for status in sorted(self.statuses)}}

    @property
    def statuses(self) -> frozenset[HTTPStatus]:
        """Every status that can come."""
        read = _WITH_BODY if self.body else ()
        return frozenset({*self.answers, *self.errors, *_EVERYWHERE, *read})

    def _answer(self, status: HTTPStatus) -> dict[str, Any]:
        if status in self.answers:
            return self.answers[status]
        return {"$ref": f"#/components/responses/{error_name(status)}"}

    def head(self) -> dict[str, Any]:
        """The same as HEAD: its headers without a body, and never a part."""
        found = self.object()
        without = {status: _bodiless(HTTPStatus(status), self.answers) for status in self.statuses - _PARTIAL}
        responses = {str(int(status)): told for status, told in sorted(without.items())}
        more = {"operationId": f"{self.name}Head", "summary": "The headers of GET alone."}
        return found | more | {"responses": responses}


_PARTIAL: Final = frozenset({HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE})


def _bodiless(status: HTTPStatus, answers: Answers) -> dict[str, Any]:
    found = answers.get(status) or ERRORS[status]
    return {key: value for key, value in found.items() if key not in {"content", "links"}}


def _body(name: str) -> dict[str, Any]:
    if not name:
        return {"required": False, "description": "Not looked at.", "content": {JSON: {"schema": {}}}}
    return {
        "required": True,
        "description": f"At most {BODY_LIMIT_BYTES} bytes.",
        "content": {JSON: {"schema": ref(name)}},
    }


def _ok(description: str, schema: Schema | None = None) -> dict[str, Any]:
    return answer(description, {JSON: schema} if schema else None)


def _leading_to(operation: str, found: dict[str, Any]) -> dict[str, Any]:
    """An answer whose id is the number of another operation."""
    here = {name: f"$request.path.{name}" for name in ("tenant", "device")}
    link = {"operationId": operation, "parameters": here | {"number": "$response.body#/id"}}
    return found | {"links": {operation: link}}


def parameters() -> dict[str, Any]:
    """Every parameter, by the name that operations refer to."""
    in_path = {
        "tenant": text("The namespace."),
        "device": text("The name of its EdgeDevice."),
        "number": text("The number of an action: of a step of this device.", pattern=whole(NUMBER)),
        "module": text(f"A plane: {', '.join(Plane)}. Others have no artifacts."),
        "filename": text(f"As the deployment links to it; with `{MD5_SUFFIX}` behind it, its MD5 sum."),
    }
    history = text(
        f"So many of the last messages of the device, of which {MOST_MESSAGES} are kept; -1 for all.",
        pattern=whole(HISTORY),
        default="0",
    )
    in_header = {
        "If-None-Match": text("Bytes that the device has."),
        "If-Match": text("Bytes that the device wants."),
        "Range": text("One range of bytes."),
        "If-Range": text("The range is meant only of these bytes."),
    }
    return {
        **{name: _parameter("path", name, schema) for name, schema in in_path.items()},
        "actionHistory": _parameter("query", "actionHistory", history),
        **{name: _parameter("header", name, schema) for name, schema in in_header.items()},
    }


def _parameter(place: str, name: str, schema: Schema) -> dict[str, Any]:
    schema = dict(schema)
    found = {"name": name, "in": place, "description": schema.pop("description"), "schema": schema}
    return found | {"required": True} if place == "path" else found


_UNCHANGED: Final = answer("Nothing has changed.", None, headers("ETag"))
_TAKEN: Final = {HTTPStatus.OK: _ok("It stands.")}
_FILE: Final = headers("ETag", "Accept-Ranges", required=False)

OPERATIONS: Final = (
    Operation(
        "GET",
        BASE,
        "getControllerBase",
        "Poll: what there is to do.",
        {
            HTTPStatus.OK: answer("Where to report, and what there is to do.", {JSON: ref("Poll")}, headers("ETag")),
            HTTPStatus.NOT_MODIFIED: _UNCHANGED,
        },
        errors=_OF_STEPS,
        parameters=("If-None-Match",),
    ),
    Operation(
        "GET",
        f"{BASE}/deploymentBase/{{number}}",
        "getControllerDeploymentBaseAction",
        "The step that the device is ordered to make.",
        {
            HTTPStatus.OK: _leading_to(
                "postDeploymentBaseActionFeedback", _ok("The step that is offered.", ref("DeploymentBase"))
            )
        },
        errors=_OF_STEPS,
        parameters=("actionHistory",),
    ),
    Operation(
        "POST",
        f"{BASE}/deploymentBase/{{number}}/feedback",
        "postDeploymentBaseActionFeedback",
        "The device has begun, or has ended. It starts only after this was answered with 200.",
        _TAKEN,
        errors=_OF_STEPS,
        body="Feedback",
    ),
    Operation(
        "GET",
        f"{BASE}/cancelAction/{{number}}",
        "getControllerCancelAction",
        "A step that the device has begun and shall give up.",
        {HTTPStatus.OK: _leading_to("postCancelActionFeedback", _ok("The step to stop.", ref("CancelAction")))},
    ),
    Operation(
        "POST",
        f"{BASE}/cancelAction/{{number}}/feedback",
        "postCancelActionFeedback",
        "The device has given the step up, or goes on with it.",
        _TAKEN,
        errors=_OF_STEPS,
        body="Feedback",
    ),
    Operation("PUT", f"{BASE}/configData", "putConfigData", "Attributes of the device.", _TAKEN, body="Attributes"),
    Operation("POST", f"{BASE}/health", "postHealth", "A health report: Backstay's own.", _TAKEN, body="Health"),
    Operation(
        "GET",
        f"{BASE}/installedBase/{{number}}",
        "getControllerInstalledAction",
        "What the device installed last and still runs.",
        {HTTPStatus.OK: _ok("What it installed.", ref("InstalledBase"))},
        parameters=("actionHistory",),
    ),
    Operation(
        "GET",
        f"{BASE}/confirmationBase",
        "getConfirmationBase",
        "That nothing waits for somebody at the device.",
        {HTTPStatus.OK: _ok("It confirms by itself.", ref("ConfirmationBase"))},
    ),
    Operation(
        "POST",
        f"{BASE}/confirmationBase/activateAutoConfirm",
        "activateAutoConfirmation",
        "The device confirms by itself.",
        {HTTPStatus.OK: _ok("It is so already.")},
        body="",
    ),
    Operation(
        "POST",
        f"{BASE}/confirmationBase/deactivateAutoConfirm",
        "deactivateAutoConfirmation",
        "The device waits for somebody: refused.",
        errors=(HTTPStatus.CONFLICT,),
        body="",
    ),
    Operation(
        "GET",
        ARTIFACTS,
        "getSoftwareModulesArtifacts",
        "The artifacts of the open step, if it is of this plane.",
        {HTTPStatus.OK: _ok("One, or none.", ref("Artifacts"))},
        errors=_OF_STEPS,
    ),
    Operation(
        "GET",
        f"{ARTIFACTS}/{{filename}}",
        "downloadArtifact",
        "The bytes of the open step.",
        {
            HTTPStatus.OK: answer("All of it, or its MD5 sum.", {BYTES: {}, TEXT: text()}, _FILE),
            HTTPStatus.PARTIAL_CONTENT: answer(
                "The range.", {BYTES: {}}, headers("ETag", "Accept-Ranges", "Content-Range")
            ),
            HTTPStatus.NOT_MODIFIED: _UNCHANGED,
        },
        errors=(*_OF_STEPS, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
        parameters=("If-None-Match", "If-Match", "Range", "If-Range"),
    ),
)
"""What devices ask, in the order of the reference."""
