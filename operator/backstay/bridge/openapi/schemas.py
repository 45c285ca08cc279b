"""The bodies of the device protocol as JSON Schemas: what devices send, and what they are told."""

import re
from collections.abc import Mapping
from typing import Any, Final

from backstay.bridge.attributes import LONGEST_KEY, LONGEST_VALUE, MOST_ATTRIBUTES, Mode
from backstay.bridge.documents import DEFAULT_WINDOW, FINISHED, FORCED, RUNNING
from backstay.bridge.feedback import MOST_DETAILS, Execution, Finished
from backstay.bridge.health import (
    AGENT,
    DIGEST,
    HIGHEST,
    HIGHEST_OF,
    LONGEST_INTERVAL_SECONDS,
    LONGEST_LINE,
    LONGEST_VERSION,
    LOWEST,
    MOST_PROBES,
    OTADATA,
    PROBE_NAME,
    SHORTEST_INTERVAL_SECONDS,
    SLOT,
)
from backstay.bridge.sessions import MOST_MESSAGES
from backstay.core.devices import StepType
from backstay.core.planes import Plane

Schema = dict[str, Any]

_NOTHING: Final = "null"
_ANYTHING: Final[Mapping[str, Any]] = {}
_HEX: Final = "^[0-9a-f]{{{digits}}}$"


def whole(form: re.Pattern[str], *, or_empty: bool = False) -> str:
    """A form as a pattern of JSON Schema, which looks for it anywhere unless it is told otherwise."""
    return f"^(?:{form.pattern}){'?' if or_empty else ''}$"


def ref(name: str) -> Schema:
    """A link to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str = "", **more: object) -> Schema:
    """A text."""
    return {"type": "string", **({"description": description} if description else {}), **more}


def optional(schema: Schema) -> Schema:
    """The same, or null, which says as much as leaving it out."""
    return {**schema, "type": [schema["type"], _NOTHING]}


def listed(items: Mapping[str, Any], **more: object) -> Schema:
    """A list."""
    return {"type": "array", "items": items, **more}


def record(properties: Mapping[str, Any], *, all_but: tuple[str, ...] = (), **more: object) -> Schema:
    """An object that always has its properties, but those that are named."""
    required = [name for name in properties if name not in all_but]
    return {"type": "object", "properties": dict(properties), **({"required": required} if required else {}), **more}


def lenient(properties: Mapping[str, Any], *, required: tuple[str, ...] = (), **more: object) -> Schema:
    """An object of a device, which may leave out what is not required; what it says besides is ignored."""
    return {"type": "object", "properties": dict(properties), **({"required": [*required]} if required else {}), **more}


def _feedback() -> Schema:
    ended = lenient({"finished": {"enum": [Finished.SUCCESS, Finished.FAILURE]}}, required=("finished",))
    going = [execution for execution in Execution if execution is not Execution.CLOSED]
    status = lenient(
        {
            "execution": {"enum": [*Execution]},
            "result": lenient({"finished": {"enum": [*Finished]}}, required=("finished",)),
            "details": optional(
                listed(
                    text(),
                    maxItems=MOST_DETAILS,
                    description=f"The first is the reason of a failure; {LONGEST_LINE} characters of each are kept.",
                )
            ),
        },
        required=("execution", "result"),
        anyOf=[
            {"properties": {"execution": {"enum": going}}},
            {"properties": {"execution": {"const": Execution.CLOSED}, "result": ended}},
        ],
    )
    number = {"type": ["string", "integer"], "description": "The number of the action, as in the path."}
    return lenient({"id": number, "status": status}, required=("status",))


def _attributes() -> Schema:
    data = {
        "type": "object",
        "maxProperties": MOST_ATTRIBUTES,
        "propertyNames": {"minLength": 1, "maxLength": LONGEST_KEY},
        "additionalProperties": text(maxLength=LONGEST_VALUE),
        "description": f"With those that are known already, at most {MOST_ATTRIBUTES}.",
    }
    mode = {"enum": [*Mode, None], "description": f"How these meet those that are known; without it, {Mode.MERGE}."}
    return lenient({"mode": mode, "data": data}, required=("data",))


def _plane_report() -> Schema:
    digest = optional(text("Computed by the device from its own bytes.", pattern=whole(DIGEST, or_empty=True)))
    version = optional(text(f"A name for people, of which {LONGEST_VERSION} characters are kept."))
    return lenient({"running": digest, "version": version, "fallback": digest, "fallbackVersion": version})


def _figure(name: str) -> Schema:
    lowest, highest = LOWEST[name], HIGHEST_OF.get(name, HIGHEST)
    return {"description": f"A number from {lowest:g} to {highest:g}; what cannot be true is left out."}


def _health() -> Schema:
    probe = lenient(
        {"name": text(pattern=whole(PROBE_NAME)), "passed": {"type": "boolean"}, "detail": dict(_ANYTHING)},
        required=("name", "passed"),
    )
    interval = {
        "type": ["number", _NOTHING],
        "exclusiveMinimum": 0,
        "exclusiveMaximum": HIGHEST,
        "description": "How often the device checks in, in seconds; taken as"
        f" {SHORTEST_INTERVAL_SECONDS:g} to {LONGEST_INTERVAL_SECONDS:g}.",
    }
    return lenient(
        {
            "planes": optional(lenient({str(plane): ref("PlaneReport") for plane in Plane})),
            "slot": optional(text(pattern=whole(SLOT))),
            "otadata": optional(text(pattern=whole(OTADATA))),
            "rollbackCapable": {"type": ["boolean", _NOTHING]},
            "agent": optional(text(pattern=whole(AGENT))),
            "probes": optional(listed(probe, maxItems=MOST_PROBES)),
            "resources": optional(lenient({name: _figure(name) for name in LOWEST})),
            "log": optional(
                listed(text(), description="The last lines of the log; that any came is all that is asked of them.")
            ),
            "interval": interval,
        }
    )


def _link() -> Schema:
    return record({"href": text(format="uri")})


def _links(always: tuple[str, ...], sometimes: tuple[str, ...] = ()) -> Schema:
    return record({name: ref("Link") for name in (*always, *sometimes)}, all_but=sometimes)


def _poll() -> Schema:
    sleep = text("How long to wait before the next poll.", pattern="^[0-9]{2}:[0-5][0-9]:[0-5][0-9]$")
    links = _links(("health",), ("configData", "deploymentBase", "cancelAction", "installedBase"))
    return record({"config": record({"polling": record({"sleep": sleep})}), "_links": links})


def _artifact() -> Schema:
    hashes = {name: text(pattern=_HEX.format(digits=digits)) for name, digits in _DIGITS.items()}
    downloads = ("download", "md5sum")
    return record(
        {
            "filename": text(),
            "hashes": record(hashes, all_but=("sha1", "md5")),
            "size": {"type": "integer", "minimum": 0},
            "_links": _links((), (*downloads, *(f"{name}-http" for name in downloads))),
        },
        all_but=("size",),
        description="Without size and links where the device holds the bytes itself.",
    )


_DIGITS: Final = {"sha1": 40, "md5": 32, "sha256": 64}


def _deployment() -> Schema:
    chunk = record(
        {
            "part": {"enum": [*Plane]},
            "version": text(),
            "name": {"enum": [*Plane]},
            "artifacts": listed(ref("Artifact"), minItems=1, maxItems=1),
        }
    )
    chunks = listed(chunk, minItems=1, maxItems=1)
    return record({"download": {"const": FORCED}, "update": {"const": FORCED}, "chunks": chunks})


def _step() -> Schema:
    return record(
        {
            "plane": {"enum": [*Plane]},
            "type": {"enum": [*StepType]},
            "version": text("A name for people."),
            "content": text("The digest of the bytes that counts.", pattern=whole(DIGEST)),
            "requires": {
                "type": "object",
                "propertyNames": {"enum": [*Plane]},
                "additionalProperties": text(),
                "description": "Versions that the artifact needs of the other planes.",
            },
            "probes": listed({"type": "object"}, description="What must pass after the change."),
            "window": text(
                f"How long the device tries before it falls back by itself, {DEFAULT_WINDOW} where nobody says it."
            ),
            "expires": text("Not begun by then, the step is dropped.", format="date-time"),
        }
    )


def _history(status: str) -> Schema:
    messages = listed(text(), maxItems=MOST_MESSAGES, description="The newest first.")
    return record({"status": {"const": status}, "messages": messages})


def _action(more: Mapping[str, Any], status: str) -> Schema:
    history = {"actionHistory": _history(status)}
    return record({"id": text(), "deployment": ref("Deployment"), **more, **history}, all_but=("actionHistory",))


def _confirmation() -> Schema:
    mode = record({"active": {"const": True}, "initiator": text(), "remark": text()})
    return record({"autoConfirm": mode, "_links": _links(("deactivateAutoConfirm",))})


BODIES: Final[Mapping[str, Schema]] = {
    "Feedback": _feedback(),
    "Attributes": _attributes(),
    "Health": _health(),
    "PlaneReport": _plane_report(),
}
"""What devices send."""

ANSWERS: Final[Mapping[str, Schema]] = {
    "Error": record({"errorCode": text(pattern="^[A-Z][A-Za-z]+$"), "message": text()}),
    "Link": _link(),
    "Poll": _poll(),
    "Artifact": _artifact(),
    "Artifacts": listed(ref("Artifact"), maxItems=1),
    "Deployment": _deployment(),
    "DeploymentBase": _action({"backstay": _step()}, RUNNING),
    "InstalledBase": _action({}, FINISHED),
    "CancelAction": record({"id": text(), "cancelAction": record({"stopId": text()})}),
    "ConfirmationBase": _confirmation(),
}
"""What devices are told."""
