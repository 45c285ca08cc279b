"""A device's feedback on an action, in DDI's words and in ours.

Source: https://eclipse.dev/hawkbit/rest-api/ddi/ (postDeploymentBaseActionFeedback, postCancelActionFeedback)
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from backstay.bridge.health import LONGEST_LINE, MalformedBody, as_object, printable
from backstay.core.device import Reason

MOST_DETAILS: Final = 64

E = TypeVar("E", bound=StrEnum)


class Execution(StrEnum):
    """How far an action is."""

    CLOSED = "closed"
    PROCEEDING = "proceeding"
    CANCELED = "canceled"
    SCHEDULED = "scheduled"
    REJECTED = "rejected"
    RESUMED = "resumed"
    DOWNLOADED = "downloaded"
    DOWNLOAD = "download"


class Finished(StrEnum):
    """How an action ended."""

    NONE = "none"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a device says of one action; the first of the details is the reason of a failure."""

    execution: Execution
    finished: Finished
    details: tuple[str, ...] = ()

    @property
    def is_end(self) -> bool:
        """Whether the action is over for the device."""
        return self.execution in _ENDS

    @property
    def succeeded(self) -> bool:
        """Whether the device says that the action was carried out."""
        return self.execution is Execution.CLOSED and self.finished is Finished.SUCCESS

    @property
    def reason(self) -> str:
        """Why the action failed: the device's own words where they begin with a reason that Backstay knows."""
        told = self.details[0] if self.details else ""
        if told.partition(":")[0] in set(Reason):
            return told
        reason = {Execution.CANCELED: Reason.CANCELED, Execution.REJECTED: Reason.REJECTED}.get(self.execution)
        known = reason or Reason.REJECTED
        return printable(f"{known}: {told or 'the device gives no reason'}", LONGEST_LINE)


_ENDS: Final = frozenset({Execution.CLOSED, Execution.CANCELED, Execution.REJECTED})


def parse_feedback(body: object, number: int) -> Feedback:
    """Check a feedback on action `number`.

    Raises:
        MalformedBody: a field has the wrong form, or the feedback is on another action than its path.
    """
    found = as_object(body, "the feedback")
    if "id" in found and str(found["id"]) != str(number):
        raise MalformedBody(f"id must be {number}, as in the path")
    status = as_object(found.get("status"), "status")
    result = as_object(status.get("result"), "status.result")
    feedback = Feedback(
        execution=_one_of(Execution, status.get("execution"), "status.execution"),
        finished=_one_of(Finished, result.get("finished"), "status.result.finished"),
        details=_details(status.get("details")),
    )
    if feedback.execution is Execution.CLOSED and feedback.finished is Finished.NONE:
        raise MalformedBody("status.result.finished must be success or failure when status.execution is closed")
    return feedback


def _one_of(kind: type[E], value: object, where: str) -> E:
    try:
        return kind(str(value))
    except ValueError as error:
        raise MalformedBody(f"{where} must be one of {', '.join(kind)}") from error


def _details(found: object) -> tuple[str, ...]:
    if found is None:
        return ()
    if not isinstance(found, list) or len(found) > MOST_DETAILS or not all(isinstance(line, str) for line in found):
        raise MalformedBody(f"status.details must be a list of at most {MOST_DETAILS} texts")
    return tuple(printable(line, LONGEST_LINE) for line in found)
