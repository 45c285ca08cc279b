"""The device application: it comes up from the bytes of the flash, carries out orders, and proves or undoes them.

It knows no network and no clock: the shell brings orders, bytes and the time. Whatever it decides it writes to the
journal before it acts on it, so that the decision, and the reason for it, survive the power.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final

from backstay.core.device import (
    Activated,
    Booted,
    Canceled,
    Cause,
    Downloaded,
    Event,
    Instruction,
    Order,
    Ordered,
    Outcome,
    Probed,
    ProbeResult,
    Progress,
    Reason,
    Refused,
    Source,
    Switching,
    Ticked,
    advance,
)
from backstay.core.device_record import from_record, to_record
from backstay.core.devices import PlaneState, StepType
from backstay.core.otadata import ImageState
from backstay.core.planes import Plane, Release, unmet_requirements
from backstay.errors import BackstayError
from backstay.simulate.board import Board
from backstay.simulate.bootloader import App
from backstay.simulate.flash import Flash
from backstay.simulate.journal import Journal
from backstay.simulate.partitions import Partition
from backstay.simulate.probes import BUILT_IN, is_known, run_probes, tells_health
from backstay.simulate.serving import Digits

_TICK_SECONDS: Final = 0.25
_LONGEST_SLEEP_SECONDS: Final = 60.0


class ResetCause(StrEnum):
    """The chip's reset reason register."""

    POWER_ON = "PowerOn"
    SOFTWARE = "Software"
    WATCHDOG = "Watchdog"
    BROWNOUT = "Brownout"


class Reset(BackstayError):
    """The chip resets."""

    def __init__(self, cause: ResetCause) -> None:
        super().__init__(f"reset: {cause}")
        self.cause = cause


class Application:
    """One run of the device's firmware, from a reset to the next."""

    def __init__(
        self, flash: Flash, table: Mapping[str, Partition], app: App, cause: ResetCause, digits: Digits, now: float
    ) -> None:
        self.reset_cause = cause
        self._journal = Journal(flash, table["journal"])
        self.boots = int(self._journal.record.get("boots", 0)) + 1
        self.progress = {plane: self._remembered(plane) for plane in Plane}
        self.board = Board(flash, table, app, digits, seed=self.boots)
        self.download: Order | None = None
        """The order whose bytes the shell is to fetch."""
        self.news = True
        """There is something that the bridge should hear at once."""
        self._save()
        for plane in Plane:
            self._take(plane, self._booted(plane), now)

    @property
    def in_flight(self) -> Progress | None:
        """The order that is open, if there is one."""
        return next((x for x in self.progress.values() if x.in_flight), None)

    def progress_of(self, order: Order) -> Progress | None:
        """Where this step stands, or None for one that was never begun."""
        return next((x for x in self.progress.values() if order.repeats(x.order)), None)

    def makes_way_for(self, order: Order, now: float) -> bool:
        """Withdraw what a newer step replaces; tell whether that step can begin now.

        What is on trial is left to its end, unless the new step is to go back from it.
        """
        if (running := self.in_flight) is not None and running.order is not None:
            same = running.order.plane is order.plane
            self.cancel(now, undo=same and order.type is StepType.RETURN)
        return self.in_flight is None

    def order(self, order: Order, now: float, *, expired: bool = False) -> None:
        """Take a step, unless it was taken before or something else has to end first."""
        if self.progress_of(order) is not None or not self.makes_way_for(order, now):
            return
        bank, release = self.board.banks[order.plane], self.board.release(order.plane)
        if cause := self._refusal(order, expired=expired):
            self._refuse(order, cause, now)
        elif release and release.content == order.content:
            self._take(order.plane, Ordered(order, Source.RUNNING), now)
            self.board.serve()
        else:
            source = Source.HELD if bank.holds(order.content) else Source.REMOTE
            self._take(order.plane, Ordered(order, source), now)

    def cancel(self, now: float, *, undo: bool = True) -> None:
        """Withdraw the open order; what is already on trial is undone only with `undo`."""
        if (running := self.in_flight) is None or running.order is None:
            return
        if undo or running.state in (PlaneState.DOWNLOADING, PlaneState.VERIFIED):
            self.download = None
            self._take(running.order.plane, Canceled(), now)

    def downloaded(self, order: Order, size: int, found: str, now: float) -> None:
        """Take the end of a download whose bytes are in the spare slot and make this digest."""
        bank = self.board.banks[order.plane]
        self.download = None
        if found == order.content:
            bank.slots[bank.spare].seal(Release(order.plane, order.version, order.content, order.requires), size)
        else:
            bank.slots[bank.spare].clear()
        bank.look()
        self._take(order.plane, Downloaded(type(order.content)(found)), now)

    def download_failed(self, order: Order, cause: Cause, now: float) -> None:
        """Give up a download."""
        self.download = None
        self._take(order.plane, Refused(cause), now)

    def tick(self, now: float) -> None:
        """Look through the camera, run the probes that an open change needs, and let time pass."""
        self.board.serving.sample(now)
        for plane, progress in self.progress.items():
            if progress.state is PlaneState.PENDING_CONFIRM and progress.order:
                self._take(plane, Probed(run_probes(progress.order.probes, self.board.evidence)), now)
            else:
                self._take(plane, Ticked(), now)

    def idle_seconds(self, now: float) -> float:
        """How long nothing is due: a trial is looked at all the time, everything else when the camera is."""
        if any(progress.state is PlaneState.PENDING_CONFIRM for progress in self.progress.values()):
            return _TICK_SECONDS
        due = self.board.serving.due_seconds(now)
        return _LONGEST_SLEEP_SECONDS if due is None else max(_TICK_SECONDS, due)

    def connected(self) -> None:
        """The bridge answered."""
        self.board.evidence.connected = True

    @property
    def waits_for_bridge(self) -> bool:
        """A trial cannot end well before the bridge answers again."""
        on_trial = any(progress.state is PlaneState.PENDING_CONFIRM for progress in self.progress.values())
        return on_trial and not self.board.evidence.connected

    def health(self) -> tuple[ProbeResult, ...]:
        """Run the probes of the newest order of each plane, for the record; nothing is confirmed by it.

        One that fails on purpose is left out: a device that rehearsed is not ill.
        """
        probes = {probe.name: probe for x in self.progress.values() if x.order for probe in x.order.probes}
        telling = tuple(probe for probe in probes.values() if tells_health(probe)) or BUILT_IN
        return run_probes(telling, replace(self.board.evidence, connected=True))

    def _refusal(self, order: Order, *, expired: bool) -> Cause | None:
        if expired:
            return Cause(Reason.EXPIRED)
        if unknown := [probe.kind for probe in order.probes if not is_known(probe)]:
            return Cause(Reason.REJECTED, f"an ESP32 has no probe {unknown[0]}")
        on_trial = next((plane for plane, bank in self.board.banks.items() if bank.on_trial), None)
        if on_trial:
            return Cause(Reason.REJECTED, f"the {on_trial} that runs is not confirmed, its fallback must stay")
        return None

    def _refuse(self, order: Order, cause: Cause, now: float) -> None:
        begun = advance(self.progress[order.plane], Ordered(order, Source.REMOTE), now).progress
        self._keep(order.plane, advance(begun, Refused(cause), now))

    def _take(self, plane: Plane, event: Event, now: float) -> None:
        outcome = advance(self.progress[plane], event, now)
        if Instruction.CONFIRM in outcome.instructions:
            self.board.banks[plane].selector.mark(ImageState.VALID)
        self._keep(plane, outcome)
        for instruction in outcome.instructions:
            self._carry_out(plane, instruction, now)

    def _keep(self, plane: Plane, outcome: Outcome) -> None:
        self.news = self.news or outcome.progress.state is not self.progress[plane].state
        self.progress[plane] = outcome.progress
        self._save()

    def _carry_out(self, plane: Plane, instruction: Instruction, now: float) -> None:
        match instruction:
            case Instruction.DOWNLOAD:
                self.download = self.progress[plane].order
            case Instruction.SWITCH:
                self._switch(plane, now)
            case Instruction.FALL_BACK:
                self._fall_back(plane)
            case Instruction.REPORT | Instruction.CONFIRM:
                self.news = True

    def _switch(self, plane: Plane, now: float) -> None:
        order, bank = self.progress[plane].order, self.board.banks[plane]
        if order is None:
            return
        if cause := self._objection(order):
            self._take(plane, Refused(cause), now)
            return
        self._take(plane, Switching(), now)
        if plane is Plane.FIRMWARE:
            bank.selector.choose(bank.spare, ImageState.NEW, order.number)
            raise Reset(ResetCause.SOFTWARE)
        # No reset happens here, so the trial begins with the choice; any reset before it is confirmed ends it.
        bank.selector.choose(bank.spare, ImageState.PENDING_VERIFY, order.number)
        bank.running = bank.spare
        self.board.serve()
        if release := self.board.release(plane):
            self._take(plane, Activated(release.content), now)

    def _objection(self, order: Order) -> Cause | None:
        release = self.board.banks[order.plane].other
        if release is None or release.content != order.content:
            return Cause(Reason.REJECTED, f"the bytes are whole, but no {order.plane} that this device can load")
        if unmet := unmet_requirements(self.board.versions.changed(release)):
            return Cause(Reason.INCOMPATIBLE, str(unmet[0]))
        return None

    def _fall_back(self, plane: Plane) -> None:
        bank = self.board.banks[plane]
        bank.selector.mark(ImageState.INVALID)
        if plane is Plane.FIRMWARE:
            raise Reset(ResetCause.SOFTWARE)
        self.board.select()
        self.board.serve()

    def _booted(self, plane: Plane) -> Booted:
        bank, order, release = self.board.banks[plane], self.progress[plane].order, self.board.release(plane)
        watchdog = self.reset_cause is ResetCause.WATCHDOG
        lost = Cause(Reason.BOOT_FAILED, f"reset ({self.reset_cause}) before it was confirmed")
        return Booted(
            content=release.content if release else None,
            held=order is not None and bank.holds(order.content),
            on_trial=bank.on_trial,
            fell_back=order is not None and bank.selector.ended_trial(bank.spare, order.number),
            cause=Cause(Reason.WATCHDOG) if watchdog else lost,
        )

    def _remembered(self, plane: Plane) -> Progress:
        record = self._journal.record.get("planes", {}).get(str(plane))
        return from_record(record) if record else Progress()

    def _save(self) -> None:
        planes = {str(plane): to_record(progress) for plane, progress in self.progress.items()}
        self._journal.save({"boots": self.boots, "planes": planes})
