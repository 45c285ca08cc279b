"""The JSON that devices read: DDI's documents, and under `backstay` what our own devices need besides.

Source: https://eclipse.dev/hawkbit/rest-api/ddi/
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

from backstay.bridge.contents import ABSENT, Absent, Ready
from backstay.bridge.records import ServedDevice
from backstay.core.devices import Assignment, Step
from backstay.core.planes import Plane

Json = dict[str, Any]

DEFAULT_WINDOW: Final = "5m"
"""How long a device tries a content whose order does not say it."""

FORCED: Final = "forced"
RUNNING: Final = "RUNNING"
FINISHED: Final = "FINISHED"

_NOT_IN_FILENAMES: Final = re.compile(r"[^0-9A-Za-z.-]")


def filename_of(plane: str, assignment: Assignment, content: Ready | Absent) -> str:
    """The name under which a content is fetched."""
    suffix = content.suffix if isinstance(content, Ready) else ".bin"
    return f"{plane}-{_NOT_IN_FILENAMES.sub('_', assignment.version)}{suffix}"


def sleep_text(seconds: float) -> str:
    """An interval as DDI writes it, at least a second: `00:00:01`."""
    whole = min(max(1, round(seconds)), 24 * 3600 - 1)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


class PollAnswer(NamedTuple):
    """All that the answer to a poll depends on; two that are equal are the same bytes."""

    base: str
    poll_seconds: float
    deploy: int | None
    cancel: int | None
    installed: int | None
    wants_attributes: bool

    def document(self) -> Json:
        """Where to report, and what there is to do."""
        links = {"health": f"{self.base}/health"}
        if self.wants_attributes:
            links["configData"] = f"{self.base}/configData"
        if self.deploy is not None:
            links["deploymentBase"] = f"{self.base}/deploymentBase/{self.deploy}"
        if self.cancel is not None:
            links["cancelAction"] = f"{self.base}/cancelAction/{self.cancel}"
        if self.installed is not None:
            links["installedBase"] = f"{self.base}/installedBase/{self.installed}"
        return {
            "config": {"polling": {"sleep": sleep_text(self.poll_seconds)}},
            "_links": {name: {"href": href} for name, href in links.items()},
        }

    def body(self) -> tuple[bytes, str]:
        """The document as bytes, and its ETag."""
        # A copy, because orjson keeps room for 4 KiB behind what it returns, and this stays for each device.
        raw = bytes(memoryview(orjson.dumps(self.document())))
        return raw, f'"{hashlib.sha256(raw).hexdigest()[:32]}"'


def cancel_document(number: int) -> Json:
    """The order to stop an action."""
    return {"id": str(number), "cancelAction": {"stopId": str(number)}}


def deployment_document(
    base: str, record: ServedDevice, step: Step, ordered: Assignment, content: Ready | Absent
) -> Json:
    """One step: one chunk for its plane, and what the device needs to prove it and to undo it by itself."""
    return {
        "id": str(step.number),
        "deployment": _deployment(step.plane, ordered, artifact_document(base, step.plane, ordered, content)),
        "backstay": {
            "plane": str(step.plane),
            "type": str(step.type),
            "version": ordered.version,
            "content": ordered.content,
            "requires": _requires(ordered, content),
            "probes": list(record.probes),
            "window": record.window or DEFAULT_WINDOW,
            "expires": step.expires.isoformat().replace("+00:00", "Z"),
        },
    }


def installed_document(number: int, plane: Plane, installed: Assignment) -> Json:
    """What the device installed last: it holds the bytes itself, so there is no link to them."""
    artifact = artifact_document("", plane, installed, ABSENT)
    return {"id": str(number), "deployment": _deployment(plane, installed, artifact)}


def _deployment(plane: Plane, ordered: Assignment, artifact: Json) -> Json:
    """Both parts are forced: whether and when a device changes was decided before the step was offered."""
    chunk = {"part": str(plane), "version": ordered.version, "name": str(plane), "artifacts": [artifact]}
    return {"download": FORCED, "update": FORCED, "chunks": [chunk]}


def history_document(status: str, messages: Iterable[str]) -> Json:
    """What the device has said of an action, the newest first."""
    return {"status": status, "messages": list(messages)}


AUTO_CONFIRM: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "active": True,
        "initiator": "backstay",
        "remark": "a plan's own approval decides before anything is offered; what is offered may be installed",
    }
)


def confirmation_document(base: str) -> Json:
    """Nothing ever waits for somebody at the device, so no poll links here; it is for clients that ask all the same."""
    link = f"{base}/confirmationBase/deactivateAutoConfirm"
    return {"autoConfirm": dict(AUTO_CONFIRM), "_links": {"deactivateAutoConfirm": {"href": link}}}


def _requires(ordered: Assignment, content: Ready | Absent) -> dict[str, str]:
    """What the order says, with the plan's own ranges; the artifact's alone where the order is silent."""
    if ordered.requires:
        return {str(plane): text for plane, text in ordered.requires}
    return dict(content.requires) if isinstance(content, Ready) else {}


def artifact_document(base: str, plane: Plane, ordered: Assignment, content: Ready | Absent) -> Json:
    """One artifact: how it is called, how large it is, its hashes, and where it is fetched."""
    filename = filename_of(plane, ordered, content)
    sha256 = ordered.content.removeprefix("sha256:")
    if isinstance(content, Absent):
        # The device holds these bytes already: it goes back to them without a download.
        return {"filename": filename, "hashes": {"sha256": sha256}, "_links": {}}
    href = f"{base}/softwaremodules/{plane}/artifacts/{filename}"
    return {
        "filename": filename,
        "hashes": {"sha1": content.sha1, "md5": content.md5, "sha256": sha256},
        "size": content.size_bytes,
        "_links": _links_to(href),
    }


def _links_to(href: str) -> Json:
    """Stock clients look for either name, and take plain HTTP from `-http` only."""
    links = {"download": {"href": href}, "md5sum": {"href": f"{href}.MD5SUM"}}
    if href.startswith("http:"):
        links |= {f"{name}-http": link for name, link in links.items()}
    return links
