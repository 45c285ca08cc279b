"""What a device says, translated into its status; pure, so that the same words always give the same status.

A device is believed about its own bytes and about nothing else: the digests it computes are the truth, the version
names beside them count only where the operator does not know the digest, and a success that its digests contradict is a
failure.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from backstay.api.device_status import ENROLLED, Condition, Status
from backstay.bridge.feedback import Feedback
from backstay.bridge.health import HealthReport
from backstay.bridge.records import ServedDevice
from backstay.core.device import Reason
from backstay.core.devices import PlaneState
from backstay.core.planes import ContentDigest, Plane

NameOf = Callable[[Plane, ContentDigest], str | None]
"""The operator's name of a content, if it has one."""

_UNDONE: Final = frozenset({Reason.PROBE_FAILED, Reason.CONFIRM_TIMEOUT, Reason.WATCHDOG, Reason.BOOT_FAILED})


@dataclass(frozen=True, slots=True)
class Answer:
    """How a step ended."""

    state: PlaneState
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unproven:
    """The device reports health but has not done so since this bridge started: its digests must come first."""


def with_report(status: Status, report: HealthReport | None, name_of: NameOf) -> Status:
    """The status after a health report; planes that the report leaves out stay as they were."""
    if report is None:
        return status
    planes = dict(status.planes)
    for plane, said in report.planes.items():
        planes[plane] = replace(
            status.plane(plane),
            running=said.running,
            version=(name_of(plane, said.running) or said.version) if said.running else "",
            fallback=said.fallback,
            fallback_version=(name_of(plane, said.fallback) or said.fallback_version) if said.fallback else "",
        )
    health = "Unknown" if not report.probed else "Degraded" if report.failing else "Healthy"
    return replace(
        status,
        planes=planes,
        health=health,
        failing=report.failing,
        slot=report.slot or status.slot,
        agent=report.agent or status.agent,
        rollback_capable=status.rollback_capable if report.rollback_capable is None else report.rollback_capable,
    )


def with_beginning(status: Status, plane: Plane, number: int, now: datetime) -> Status:
    """The status once a device has begun a step."""
    begun = replace(status.plane(plane), state=PlaneState.DOWNLOADING, step=number, reason="", since=now)
    return status.with_plane(plane, begun)


def with_answer(status: Status, plane: Plane, number: int, answer: Answer, now: datetime) -> Status:
    """The status once a step is over."""
    over = replace(status.plane(plane), state=answer.state, step=number, reason=answer.reason, since=now)
    return status.with_plane(plane, over)


def answer_to(
    feedback: Feedback, plane: Plane, content: ContentDigest | None, report: HealthReport | None, status: Status
) -> Answer | Unproven:
    """Judge the end of a step by the device's own digests.

    `content` is what was ordered, None where nobody remembers; `report` the device's last since this bridge started.
    """
    said = report.planes.get(plane) if report else None
    running = said.running if said else None
    if not feedback.succeeded:
        return _failure(feedback, content, running)
    if content is None:
        return Answer(PlaneState.INSTALLED_UNVERIFIED, "the order was replaced before its answer came")
    if content in {running, status.plane(plane).running if running is None else None}:
        return Answer(PlaneState.CONFIRMED)
    if running is not None:
        return Answer(PlaneState.FAILED, f"{Reason.DIGEST_MISMATCH}: the device reports that it runs {_short(running)}")
    if report is None and status.reported:
        return Unproven()
    return Answer(PlaneState.INSTALLED_UNVERIFIED, "the device does not report what it runs")


def _failure(feedback: Feedback, content: ContentDigest | None, running: ContentDigest | None) -> Answer:
    reason = feedback.reason
    undone = reason.partition(":")[0] in _UNDONE and (running is None or running != content)
    return Answer(PlaneState.ROLLED_BACK if undone else PlaneState.FAILED, reason)


def with_enrolment(status: Status, record: ServedDevice, now: datetime) -> Status:
    """The status with the condition Enrolled, for a device that came by itself."""
    if record.enrolled and ENROLLED not in status.conditions:
        return status
    reason, message = ("LetIn", "it has been let in") if record.enrolled else ("Waiting", _WAITS)
    return status.with_condition(ENROLLED, Condition(record.enrolled, reason, message, now, record.object_generation))


_WAITS: Final = (
    "it showed itself with a valid token; to let it in, label it and set spec.enrolled to true; to shut it out, set"
    " spec.revoked"
)


def _short(digest: str) -> str:
    return digest[:19]
