"""Writes statuses: a beginning while its device waits, an answer as soon as it is kept, the rest when it has settled.

A health report changes nothing in the API server by itself: it is compared with the written status, and only a
difference is written. So reports cost nothing, an outage of the API server loses nothing, and no write is repeated. An
answer is in the journal until it is seen in the written status, also where the answer to the write itself was lost.
"""

import asyncio
import logging
from datetime import datetime
from functools import partial
from typing import Final

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.api.device_readiness import with_readiness
from backstay.api.device_status import REACHABLE, Condition, Status, difference
from backstay.bridge.health import HealthReport
from backstay.bridge.journal import Journal
from backstay.bridge.metrics import BridgeMetrics
from backstay.bridge.records import ServedDevice, device_record
from backstay.bridge.reports import with_enrolment, with_report
from backstay.bridge.sessions import Sessions, Settled
from backstay.bridge.view import View
from backstay.core.devices import DeviceName
from backstay.errors import BackstayError, Conflict, NotFound, Refused, Unavailable
from backstay.ports.clock import Clock

SWEEP_SECONDS: Final = 0.5
SETTLE_SECONDS: Final = 5.0
"""How long what a device says in the middle of a step waits for the answer that tells the same; a device that checks in
less often is waited for until it would count as silent, but not longer than `LONGEST_SETTLE_SECONDS`."""
LONGEST_SETTLE_SECONDS: Final = 600.0
GAP_SECONDS: Final = 3.0
"""The least time between two writes of a device that no answer waits for, so that a flapping probe is not a flood."""
REFUSED_SECONDS: Final = 60.0
OUTAGE_PAUSE_SECONDS: Final = 1.0
WRITES_AT_ONCE: Final = 8
LAST_WORDS_SECONDS: Final = 2.0

log = logging.getLogger(__name__)


class Publisher:
    """The one writer of the statuses of this gateway's devices."""

    def __init__(
        self,
        client: KubeClient,
        view: View,
        sessions: Sessions,
        journal: Journal,
        clock: Clock,
        metrics: BridgeMetrics,
        failpoints: Failpoints,
    ) -> None:
        self._failpoints = failpoints
        self._client = client
        self._journal = journal
        self._answered: dict[DeviceName, None] = {}
        self._bell = asyncio.Event()
        self._view = view
        self._sessions = sessions
        self._clock = clock
        self._metrics = metrics

    def wanted(self, record: ServedDevice, status: Status | None = None) -> Status:
        """The status that the device should have by its last words, built on `status` or on the written one."""
        now, session = self._clock.now(), self._sessions.of(record.name)
        name_of = partial(self._view.version_of, record)
        found = with_report(status or record.status, session.report, name_of)
        found = with_enrolment(self._with_reachability(found, record, now), record, now)
        return with_readiness(found, record.device, record.object_generation, now, enrolled=record.enrolled)

    async def write(self, record: ServedDevice, status: Status, kind: str) -> None:
        """Write a status on top of the device's last words; without an error, it stands.

        Raises:
            NotFound: the EdgeDevice is gone, or another of the same name has taken its place.
            BackstayError: the API server did not take it; nothing was lost, say it again.
        """
        written = self._view.written(record.name)
        if written is None or written.device.uid != record.device.uid:
            raise NotFound(f"EdgeDevice {record.name} is gone")
        patch = difference(written.status, self.wanted(record, status))
        if not patch:
            return
        body = {"metadata": {"uid": record.device.uid}, "status": patch}
        session = self._sessions.of(record.name)
        report, reachable = session.report, self._sessions.reachable(record, self._clock.monotonic())
        self._failpoints.passing(f"before-{kind}-write")
        try:
            answer = await self._client.merge_patch(
                EDGE_DEVICES, record.name, body, self._view.namespace, subresource="status"
            )
        except Conflict as error:
            self._metrics.status_write(kind, "refused")
            raise NotFound(f"EdgeDevice {record.name} was replaced by another of its name: {error}") from error
        except BackstayError:
            self._metrics.status_write(kind, "failed")
            raise
        self._failpoints.passing(f"after-{kind}-write")
        self._metrics.status_write(kind, "written")
        session.next_write, session.differs_since = self._clock.monotonic() + GAP_SECONDS, None
        taken = device_record(answer)
        self._view.put_answer(taken)
        if taken.object_generation == record.object_generation:
            session.settled = self._settled(taken, report, reachable=reachable)

    def hurry(self, device: DeviceName) -> None:
        """Write a device's answer next, before all that only has to settle."""
        self._answered[device] = None
        self._bell.set()

    async def run(self) -> None:
        """Write what has settled, until cancelled."""
        while True:
            try:
                await self._sweep()
            except Unavailable as error:
                log.warning("statuses cannot be written now: %s", error)
                await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
            await self._journal.tidy()
            await asyncio.sleep(SWEEP_SECONDS)

    async def run_answers(self) -> None:
        """Write answers as they come, until cancelled; what fails is left to the next sweep."""
        while True:
            await self._bell.wait()
            await self.write_answers()

    async def write_answers(self) -> None:
        """Write the answers that have come since the last time."""
        self._bell.clear()
        answered, self._answered = self._answered, {}
        await self._settle_all(list(answered))

    async def write_last(self) -> None:
        """Write the answers that are left when the bridge ends; what cannot be written now is, by the next one."""
        for kept in self._journal.all():
            self.hurry(kept.device)
        try:
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self.write_answers()
        except TimeoutError:
            log.warning("%d answers stay in the journal until a bridge runs here again", len(self._journal.all()))

    def forget_strangers(self) -> None:
        """Drop answers of devices that are gone or another gateway's by now; call it when all devices are known."""
        gone = [kept for kept in self._journal.all() if self._view.written(kept.device) is None]
        if gone:
            log.info("%d answers of devices that are no longer served here are dropped", len(gone))
            self._journal.forget(gone)

    async def _sweep(self) -> None:
        records = self._view.all_written()
        self._sessions.keep_only(records.keys())
        if failed := await self._settle_all([name for name, record in records.items() if self._is_due(record)]):
            raise failed[0]

    async def _settle_all(self, names: list[DeviceName]) -> list[Unavailable]:
        """Write some statuses, a few at a time, and give the errors; after the first one no other write begins."""
        left, failed = iter(names), list[Unavailable]()

        async def work() -> None:
            for name in left:
                if error := await self._settle(name):
                    failed.append(error)
                if failed:
                    return

        async with asyncio.TaskGroup() as group:
            for number in range(min(WRITES_AT_ONCE, len(names))):
                group.create_task(work(), name=f"write statuses {number}")
        return failed

    async def _settle(self, name: DeviceName) -> Unavailable | None:
        """Write one status; an error is returned, so that it ends no other write that may have been taken already."""
        session = self._sessions.of(name)
        async with session.lock:
            if (record := self._view.device(name)) is None:
                return None
            try:
                news, _ = self._view.unwritten(name)
                await self.write(record, record.status, "answer" if news else "health")
                if old := self._view.unwritten(name)[1]:
                    self._failpoints.passing("before-forget")
                    self._journal.forget(old)
                    self._failpoints.passing("after-forget")
            except NotFound:
                log.info("EdgeDevice %s is gone", name, extra={"device": name})
            except Unavailable as error:
                # The others' turn comes first: it may be this one write alone that the API server cannot do.
                session.next_write = session.retry_at = self._clock.monotonic() + GAP_SECONDS
                return error
            except Refused as error:
                # One status that the API server does not take must not keep the others from being written.
                session.next_write = session.retry_at = self._clock.monotonic() + REFUSED_SECONDS
                # The message says all that a traceback would.
                log.error("the status of %s is refused: %s", name, error, extra={"device": name})  # noqa: TRY400
            return None

    def _is_due(self, record: ServedDevice) -> bool:
        """Tell whether the written status lags behind, and has done so for long enough."""
        session, now = self._sessions.of(record.name), self._clock.monotonic()
        if self._journal.of(record.name):
            return now >= session.retry_at
        known, version = session.settled, record.device.resource_version
        if known and known.report is session.report and known.resource_version == version and now < known.until:
            # Nobody has said anything: so it is with nearly all devices each time, and there may be thousands.
            return False
        found = self._settled(record, session.report, reachable=self._sessions.reachable(record, now))
        if known == found or not difference(record.status, self.wanted(record)):
            session.differs_since, session.settled = None, found
            return False
        if session.differs_since is None:
            session.differs_since = now
        waits = self._settles_in(record) if _awaits_answer(record, reachable=found.reachable) else 0.0
        return now >= session.next_write and now - session.differs_since >= waits

    def _settles_in(self, record: ServedDevice) -> float:
        return min(LONGEST_SETTLE_SECONDS, max(SETTLE_SECONDS, self._sessions.patience(record)))

    def _settled(self, record: ServedDevice, report: HealthReport | None, *, reachable: bool | None) -> Settled:
        """What to compare with the next time, once the record says all of this."""
        now = self._clock.monotonic()
        until = self._sessions.reachable_until(record, now) if reachable else now
        return Settled(report, record.device.resource_version, reachable, until)

    def _with_reachability(self, status: Status, record: ServedDevice, now: datetime) -> Status:
        reachable = self._sessions.reachable(record, self._clock.monotonic())
        if reachable is None or not record.enrolled:
            return status
        every = f"the device checks in every {self._sessions.interval(record):g} s"
        reason, message = ("CheckingIn", every) if reachable else ("Silent", f"{every}, and has not")
        found = Condition(reachable, reason, message, now, record.object_generation)
        return status.with_condition(REACHABLE, found)


def _awaits_answer(record: ServedDevice, *, reachable: bool | None) -> bool:
    """Tell whether the device is in the middle of a step, so that its answer will tell all of this in one write.

    What it runs, what it could fall back to and which probes fail change then because of the step. That it has fallen
    silent is another matter.
    """
    written = record.status.conditions.get(REACHABLE)
    is_as_written = written is not None and written.holds == reachable
    return is_as_written and record.device.begun and not record.device.answered
