"""A device's actions: which it is offered, and what becomes of its answers.

One step of a device is one DDI action, and its number is the action's id. A step begins with the first feedback that
the bridge has written down; whoever starts only after that answer starts nothing that was stopped in the meantime.
"""

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.kube.standing_orders import OrdersReader
from backstay.api.device_status import Status
from backstay.bridge.contents import ABSENT, Absent, Content, Contents, Ready, Rejected
from backstay.bridge.entrance import Problem
from backstay.bridge.feedback import Execution, Feedback
from backstay.bridge.health import LONGEST_LINE, printable
from backstay.bridge.journal import Journal, KeptAnswer
from backstay.bridge.metrics import BridgeMetrics
from backstay.bridge.publisher import Publisher
from backstay.bridge.records import ServedDevice
from backstay.bridge.reports import Answer, Unproven, answer_to, with_beginning
from backstay.bridge.sessions import Sessions
from backstay.bridge.view import View
from backstay.core.device import Reason
from backstay.core.devices import Assignment, PlaneState, Step, StepType
from backstay.core.holds import Denial, MayNotStart
from backstay.core.planes import ContentDigest, Plane
from backstay.errors import NotFound
from backstay.ports.clock import Clock

GONE: Final = "this action is over or was replaced; poll again"
UNKNOWN: Final = "there is no such action; poll again"
DELETED: Final = "the device is no longer known"
NOT_HERE_AGAIN: Final = "the bytes are not here again yet; come again"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offer:
    """A step that the device may begin or go on with, and its bytes; absent where it holds them itself."""

    step: Step
    ordered: Assignment
    content: Ready | Absent


class Steps:
    """Decides for every device of the gateway, and writes down what they answer."""

    def __init__(
        self,
        *,
        view: View,
        orders: OrdersReader,
        contents: Contents,
        sessions: Sessions,
        journal: Journal,
        publisher: Publisher,
        clock: Clock,
        metrics: BridgeMetrics,
        failpoints: Failpoints,
    ) -> None:
        self._failpoints = failpoints
        self._view = view
        self._orders = orders
        self._contents = contents
        self._sessions = sessions
        self._journal = journal
        self._publisher = publisher
        self._clock = clock
        self._metrics = metrics

    async def offer(self, record: ServedDevice) -> Offer | None:
        """What the device may do now: nothing while it still has a replaced action to give up."""
        if record.superseded() or (await self._denial(record)):
            return None
        # The question may have waited for a reading; what counts is what is known now.
        record = self._view.device(record.name) or record
        step, ordered = record.step, record.ordered
        if step is None or ordered is None or not record.device.in_flight:
            return None
        content = self._content(record, step, ordered)
        if record.device.begun:
            return Offer(step, ordered, ABSENT if isinstance(content, Rejected) else content)
        if isinstance(content, Rejected):
            await self._refuse(record, step, content.why)
            return None
        return (
            None
            if isinstance(content, Absent) and not _holds_bytes(record, step, ordered)
            else Offer(step, ordered, content)
        )

    def _content(self, record: ServedDevice, step: Step, ordered: Assignment) -> Content:
        # An order back to what only the device has names no artifact.
        return self._contents.look(ordered, step.plane, record.device.device_class) if ordered.artifact else ABSENT

    async def offer_of(self, record: ServedDevice, number: int) -> Offer:
        """The offer with this number.

        Raises:
            Problem: it is not offered, or over.
        """
        offer = await self.offer(record)
        if offer is None or offer.step.number != number:
            raise self._no_action(record, number)
        if isinstance(offer.content, Absent) and not _holds_bytes(self._known(record), offer.step, offer.ordered):
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, NOT_HERE_AGAIN)
        self._sessions.of(record.name).remember(number, offer.step.plane, offer.ordered.content)
        return offer

    async def take(self, record: ServedDevice, number: int, feedback: Feedback) -> None:
        """Write down a feedback; without an error it stands, and saying it again changes nothing.

        Raises:
            Problem: the action is over, unknown, or may not begin now.
            BackstayError: the API server did not take a beginning, or the disk an answer; it is to be said again.
        """
        async with self._sessions.of(record.name).lock:
            record = self._known(record)
            step = record.step
            if step is not None and step.number == number:
                if not record.device.answered:
                    if record.superseded():
                        # It was not offered yet: written down now, it would hide how the one before it ended.
                        raise self._no_action(record, number)
                    await self._take_current(record, step, feedback)
                    self._sessions.of(record.name).said(number, feedback.details)
            elif (old := record.superseded()) and old[1].step == number:
                await self._take_superseded(record, old[0], number, feedback)
            elif not _is_answered(record, number):
                raise self._no_action(record, number)

    async def take_cancellation(self, record: ServedDevice, number: int, feedback: Feedback) -> None:
        """Write down that a device has given up a replaced action, or hear that it goes on with it.

        Raises:
            Problem: the action is not one to give up.
            BackstayError: the disk did not take it; the device has to say it again.
        """
        async with self._sessions.of(record.name).lock:
            record = self._known(record)
            old = record.superseded()
            if old is None or old[1].step != number:
                if _is_answered(record, number):
                    return
                raise self._no_action(record, number)
            if feedback.succeeded or feedback.execution is Execution.CANCELED:
                await self._answer(record, old[0], number, Answer(PlaneState.FAILED, Reason.CANCELED))

    async def _take_current(self, record: ServedDevice, step: Step, feedback: Feedback) -> None:
        if feedback.is_end:
            content = record.ordered.content if record.ordered else None
            await self._take_end(record, step.plane, step.number, feedback, content)
        elif not record.device.begun:
            if denial := await self._denial(record):
                raise _not_now(denial)
            # The question may have waited for a reading, and the order may have been taken back meanwhile.
            record = self._known(record)
            if record.step != step or step.withdrawn:
                raise Problem(HTTPStatus.GONE, GONE)
            begun = with_beginning(record.status, step.plane, step.number, self._clock.now())
            await self._write(record, begun)

    async def _take_superseded(self, record: ServedDevice, plane: Plane, number: int, feedback: Feedback) -> None:
        if feedback.is_end:
            known = self._sessions.of(record.name).orders.get(number)
            await self._take_end(record, plane, number, feedback, known[1] if known else None)

    async def _take_end(
        self, record: ServedDevice, plane: Plane, number: int, feedback: Feedback, content: ContentDigest | None
    ) -> None:
        report = self._sessions.of(record.name).report
        match answer_to(feedback, plane, content, report, record.status):
            case Unproven():
                raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "send a health report first, then say it again")
            case Answer() as answer:
                await self._answer(record, plane, number, answer)

    async def _answer(self, record: ServedDevice, plane: Plane, number: int, answer: Answer) -> None:
        """Promise that an answer stands: it is on disk here, and goes to the API server as soon as that takes it."""
        kept = KeptAnswer(record.name, record.device.uid, plane, number, answer, self._clock.now())
        self._failpoints.passing("before-keep")
        await self._journal.keep(kept)
        self._failpoints.passing("after-keep")
        ordered = record.device.assigned.get(plane)
        fields = {} if ordered is None else {"plan": ordered.plan, "revision": ordered.revision, "ring": ordered.ring}
        said = (record.name, number, plane, answer.state, answer.reason)
        log.info("%s: step %d of its %s is %s %s", *said, extra={"device": record.name, **fields})
        self._publisher.hurry(record.name)

    async def _refuse(self, record: ServedDevice, step: Step, why: str) -> None:
        if record.device.begun:
            return
        async with self._sessions.of(record.name).lock:
            record = self._known(record)
            if record.step == step and not record.device.answered:
                reason = printable(f"{Reason.REJECTED}: {why}", LONGEST_LINE)
                await self._answer(record, step.plane, step.number, Answer(PlaneState.FAILED, reason))

    async def _write(self, record: ServedDevice, status: Status) -> None:
        """Write a beginning: the operator counts it, so it stands in the API server before the device starts."""
        try:
            if self._view.unwritten(record.name)[0]:
                # How the step before ended would be lost below the new one.
                await self._publisher.write(record, record.status, "answer")
            await self._publisher.write(record, status, "begin")
        except NotFound as error:
            raise Problem(HTTPStatus.GONE, DELETED) from error

    async def _denial(self, record: ServedDevice) -> MayNotStart | None:
        """Why the open step may not begin by what is known within this half second; what has begun goes on."""
        step = record.step
        if step is not None and record.device.in_flight and not record.device.begun:
            if step.type is StepType.INSTALL:
                await self._orders.freshen()
            record = self._known(record)
        verdict = self._view.may_begin(record, self._clock.now())
        if isinstance(verdict, MayNotStart):
            self._metrics.denied(verdict.why)
            log.debug("%s: %s", record.name, verdict.message)
            return verdict
        return None

    def _known(self, record: ServedDevice) -> ServedDevice:
        """The device as it is known now.

        Raises:
            Problem: it is gone.
        """
        if (found := self._view.device(record.name)) is None:
            raise Problem(HTTPStatus.GONE, DELETED)
        return found

    def _no_action(self, record: ServedDevice, number: int) -> Problem:
        known = self._view.device(record.name) or record
        if known.step is not None and known.step.number == number and known.device.in_flight:
            return Problem(HTTPStatus.NOT_FOUND, "this action may not begin now; poll again")
        numbers = [status.step for status in known.status.planes.values()]
        highest = max([*numbers, known.step.number if known.step else 0])
        over = 0 < number <= highest
        return Problem(HTTPStatus.GONE, GONE) if over else Problem(HTTPStatus.NOT_FOUND, UNKNOWN)


def _holds_bytes(record: ServedDevice, step: Step, ordered: Assignment) -> bool:
    """Tell whether the device says that it holds the content itself, so that it needs nothing of the registry."""
    status = record.status.plane(step.plane)
    held = ordered.content in {status.fallback, status.running}
    return held and (step.type is StepType.RETURN or record.device.begun)


def _is_answered(record: ServedDevice, number: int) -> bool:
    return any(status.step == number and status.state.is_answer for status in record.status.planes.values())


def _not_now(denial: MayNotStart) -> Problem:
    match denial.why:
        case Denial.STALE_VIEW:
            return Problem(HTTPStatus.SERVICE_UNAVAILABLE, denial.message)
        case Denial.HELD | Denial.EXPIRED:
            return Problem(HTTPStatus.GONE, denial.message)
