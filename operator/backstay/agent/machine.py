"""The planes of one node and what becomes of their orders: the shared state machine, carried out by installers.

It knows no network. Whatever it decides, it writes into the journal before it acts on it; what it finds, it reads from
the installers and never from its own records. Wherever the process ends, the next one finds the same and goes on from
there.

Only one plane changes at a time. What is on trial is left to its end, unless it is to go back.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from backstay.adapters.failpoints import AGENT, Failpoints
from backstay.agent.journal import Entry, Journal, Notebook
from backstay.core import freezing
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
    Probed,
    ProbeResult,
    Progress,
    Reason,
    Refused,
    Source,
    Switching,
    advance,
)
from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import ContentDigest, Plane, Release, VersionSet, unmet_requirements
from backstay.core.probing import OldFault
from backstay.errors import Unavailable
from backstay.ports.clock import Clock
from backstay.ports.installer import ALONE, Beside, CannotInstall, Effect, Installer, Rescuable, Stoppable, Storage
from backstay.ports.registry import ArtifactDescription

MOST_STARTS: Final = 3
"""How many agents may find the same step on trial; then it has not proved itself, whatever its window says."""

OldFaults = Mapping[str, OldFault]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Times:
    """The node's clocks, and in which boot they run."""

    clock: Clock
    boot: str

    def now(self) -> float:
        """Seconds of this boot, which go on while the node sleeps."""
        return self.clock.monotonic()

    def day(self) -> datetime:
        """The time of day, for people."""
        return self.clock.now()


async def _no_baseline(_: Order) -> OldFaults:
    return {}


class Machine:
    """Carries out orders; its methods are called one at a time."""

    def __init__(
        self,
        installers: Mapping[Plane, Installer],
        journal: Journal,
        times: Times,
        failpoints: Failpoints | None = None,
    ) -> None:
        self.before: Callable[[Order], Awaitable[OldFaults]] = _no_baseline
        """Looks at the node before each change."""
        self._failpoints = failpoints or Failpoints(places=AGENT)
        self.notebook: Final = Notebook(journal, times.boot, self._failpoints)
        self.resting = ""
        """Why nothing may begin, as long as the node is in safe mode."""
        self._installers = installers
        self._times = times
        self._storage: dict[Plane, Storage] = {}
        self._acting = 0
        self.download: Order | None = None
        """The order whose artifact is to be fetched."""
        self.wants_reboot = False
        """The node has to be rebooted, and nothing else may happen before."""
        self.answered: Final[Counter[tuple[Plane, PlaneState]]] = Counter()
        """How the steps ended that this agent has answered."""

    @property
    def is_acting(self) -> bool:
        """Whether what is decided is not all carried out yet, so that state and storage do not belong together."""
        return self._acting > 0

    @property
    def planes(self) -> tuple[Plane, ...]:
        """The planes that this node can change."""
        return tuple(self._installers)

    @property
    def ordered(self) -> tuple[Plane, ...]:
        """The planes that have ever been ordered anything, also such as this node cannot change."""
        return tuple(plane for plane, entry in self._entries.items() if entry.progress.order is not None)

    @property
    def _entries(self) -> Mapping[Plane, Entry]:
        return self.notebook.memory.planes

    def entry(self, plane: Plane) -> Entry:
        """What is remembered of a plane."""
        return self._entries.get(plane, Entry())

    def storage(self, plane: Plane) -> Storage:
        """What a plane held when it was last looked at."""
        return self._storage.get(plane, Storage())

    @property
    def versions(self) -> VersionSet:
        """What the node runs, by its own bytes."""
        running = {plane: found.running for plane, found in self._storage.items()}
        return VersionSet.of({plane: release for plane, release in running.items() if release is not None})

    @property
    def in_flight(self) -> Progress | None:
        """The order that is open, if there is one."""
        return next((entry.progress for entry in self._entries.values() if entry.progress.in_flight), None)

    @property
    def needed(self) -> frozenset[ContentDigest]:
        """What an open order needs to be kept."""
        progress = self.in_flight
        return frozenset() if progress is None or progress.order is None else frozenset({progress.order.content})

    def progress_of(self, order: Order) -> Progress | None:
        """Where a step stands, or None for one that was never begun."""
        return next((entry.progress for entry in self._entries.values() if order.repeats(entry.progress.order)), None)

    async def start(self) -> None:
        """Remember, look at what is there, and go on from it.

        Raises:
            JournalUnusable, Unavailable
        """
        memory = await self.notebook.read()
        for plane in self._installers:
            await self._look(plane)
        for plane in self._installers:
            await self._resume(plane, same_boot=memory.boot == self._times.boot)

    async def order(self, order: Order, *, expired: bool = False) -> None:
        """Take a step, unless it was taken before or something else has to end first.

        Raises:
            JournalUnwritable, Unavailable: nothing was taken.
        """
        if self.progress_of(order) is not None or not await self.makes_way_for(order):
            return
        if cause := self._refusal(order, expired=expired):
            await self.refuse(order, cause)
            return
        storage = await self._look(order.plane)
        runs = storage.running is not None and storage.running.content == order.content
        if not runs and (cause := freezing.refusal(self.notebook.memory.frozen, order)):
            await self.refuse(order, cause)
            return
        if runs:
            await self._take(order.plane, Ordered(order, Source.RUNNING))
        else:
            source = Source.HELD if storage.has(order.content) else Source.REMOTE
            await self._take(order.plane, Ordered(order, source))

    async def makes_way_for(self, order: Order) -> bool:
        """Withdraw what a newer step replaces; tell whether that step can begin now."""
        if (running := self.in_flight) is not None and running.order is not None:
            same = running.order.plane is order.plane
            await self.cancel(undo=same and order.type is StepType.RETURN)
        return self.in_flight is None

    async def cancel(self, *, undo: bool) -> None:
        """Withdraw the open order; what is already on trial is undone only with `undo`."""
        if (running := self.in_flight) is None or running.order is None:
            return
        if undo or running.state in (PlaneState.DOWNLOADING, PlaneState.VERIFIED):
            self.download = None
            await self._take(running.order.plane, Canceled())

    async def waits_for(self, plane: Plane) -> str | None:
        """What has to be well on this node before a step of this plane may begin; None if nothing has."""
        installer = self._installers.get(plane)
        return None if installer is None else await installer.waits_for()

    async def objection(self, order: Order, artifact: ArtifactDescription) -> Cause | None:
        """Why this node cannot take the artifact of an order, before its bytes are fetched."""
        release = Release(order.plane, order.version, order.content, order.requires or artifact.requires)
        if unmet := unmet_requirements(self.versions.changed(release)):
            return Cause(Reason.INCOMPATIBLE, str(unmet[0]))
        return await self._installers[order.plane].objection(order, artifact)

    async def downloaded(
        self, order: Order, artifact: ArtifactDescription, payload: Path, beside: Beside = ALONE
    ) -> None:
        """Take the verified bytes of the order that is being fetched."""
        if self.download is not order:
            return
        try:
            self._failpoints.passing("before-stage")
            await self._installers[order.plane].stage(order, artifact, payload, beside)
            self._failpoints.passing("after-stage")
        except CannotInstall as error:
            await self.refused(order, error.cause)
            return
        self.download = None
        await self._look(order.plane)
        await self._take(order.plane, Downloaded(order.content))

    async def refused(self, order: Order, cause: Cause) -> None:
        """Give the order up that is being fetched."""
        if self.download is order:
            self.download = None
            await self._take(order.plane, Refused(cause))

    async def tick(self, prove: Callable[[Order], Awaitable[tuple[ProbeResult, ...]]]) -> None:
        """Let time pass, and let what is on trial prove itself by what `prove` finds."""
        for plane in self._installers:
            progress = self.entry(plane).progress
            # At all other times nothing comes of time, and the journal need not be asked each second.
            if progress.state is PlaneState.PENDING_CONFIRM and progress.order is not None:
                await self._take(plane, Probed(await prove(progress.order)))

    async def stop(self) -> None:
        """Keep from running whatever can be stopped without losing it.

        Raises:
            Unavailable: something runs still.
        """
        for installer in self._stoppable:
            await installer.stop()

    async def go_on(self) -> None:
        """Let run again what was stopped.

        Raises:
            Unavailable: something is stopped still.
        """
        for installer in self._stoppable:
            await installer.go_on()

    @property
    def is_rescued(self) -> bool:
        """Whether the node runs its recovery system."""
        return any(found.is_rescue for found in self._storage.values())

    async def rescue(self) -> None:
        """Let the node boot its recovery system, if it has one and does not run it.

        Raises:
            Unavailable: something else would boot.
        """
        for installer in self._rescuable:
            self.wants_reboot |= await installer.rescue() is Effect.AFTER_REBOOT

    async def leave_rescue(self) -> None:
        """Let the node boot the system that ran before, if its recovery system runs.

        Raises:
            Unavailable: something else would boot.
        """
        for installer in self._rescuable:
            self.wants_reboot |= await installer.leave_rescue() is Effect.AFTER_REBOOT

    @property
    def _rescuable(self) -> list[Rescuable]:
        return [installer for installer in self._installers.values() if isinstance(installer, Rescuable)]

    @property
    def _stoppable(self) -> list[Stoppable]:
        return [installer for installer in self._installers.values() if isinstance(installer, Stoppable)]

    async def trim(self, needed: Iterable[ContentDigest]) -> None:
        """Let installers delete what neither an order nor anybody else needs."""
        kept = self.needed | frozenset(needed)
        for plane, installer in self._installers.items():
            await installer.trim(kept)
            await self._look(plane)

    async def _look(self, plane: Plane) -> Storage:
        found = self._storage[plane] = await self._installers[plane].look()
        return found

    async def _resume(self, plane: Plane, *, same_boot: bool) -> None:
        """Tell the machine what was found at the start, and keep it from trying for ever."""
        before, storage = self.entry(plane), self.storage(plane)
        order = before.progress.order
        await self._take(
            plane,
            Booted(
                content=storage.running.content if storage.running else None,
                held=order is not None and storage.has(order.content),
                on_trial=storage.on_trial is not None,
                fell_back=order is not None and storage.ended == order.number,
                cause=Cause(Reason.BOOT_FAILED, "the node came up without it"),
            ),
        )
        after = self.entry(plane)
        if after.progress.state is PlaneState.PENDING_CONFIRM:
            starts, confirm_by = before.starts + 1, after.progress.confirm_by
            if same_boot and before.confirm_by is not None:
                confirm_by = min(confirm_by, before.confirm_by)
            if starts > MOST_STARTS:
                confirm_by = self._times.now()
            progress = replace(after.progress, confirm_by=confirm_by)
            await self._keep(plane, replace(after, progress=progress, confirm_by=confirm_by, starts=starts))

    def _refusal(self, order: Order, *, expired: bool) -> Cause | None:
        if self.resting:
            return Cause(Reason.SAFE_MODE, self.resting)
        if expired:
            return Cause(Reason.EXPIRED)
        if order.plane not in self._installers:
            return Cause(Reason.REJECTED, f"this node has nothing to change its {order.plane} with")
        if on_trial := next((plane for plane, found in self._storage.items() if found.on_trial is not None), None):
            return Cause(Reason.REJECTED, f"the {on_trial} that runs is not confirmed, its fallback must stay")
        return None

    async def refuse(self, order: Order, cause: Cause) -> None:
        """Take an order and its refusal as one: nobody may find it between the two and carry it out."""
        before = self.entry(order.plane).progress
        begun = advance(before, Ordered(order, Source.REMOTE), self._times.now()).progress
        refused = advance(begun, Refused(cause), self._times.now()).progress
        await self._keep(order.plane, Entry(refused, self._times.day()))
        self._tell(order.plane, refused)

    async def _take(self, plane: Plane, event: Event) -> None:
        """Advance by one event, and carry out what follows from it."""
        self._acting += 1
        try:
            await self._advance(plane, event)
        finally:
            self._acting -= 1

    async def _advance(self, plane: Plane, event: Event) -> None:
        """What confirms happens before it is written down, all else after that."""
        entry = self.entry(plane)
        outcome = advance(entry.progress, event, self._times.now())
        if Instruction.CONFIRM in outcome.instructions and not await self._confirmed(plane, entry.progress):
            return
        progress = outcome.progress
        changed = progress.state is not entry.progress.state or progress.order is not entry.progress.order
        on_trial = progress.state is PlaneState.PENDING_CONFIRM
        await self._keep(
            plane,
            Entry(
                progress,
                self._times.day() if changed or entry.since is None else entry.since,
                progress.confirm_by if on_trial else None,
                entry.starts if on_trial and not changed else 0,
                entry.old if progress.in_flight and progress.order is entry.progress.order else {},
            ),
        )
        if changed:
            self._tell(plane, progress)
        for instruction in outcome.instructions:
            await self._carry_out(plane, instruction)

    async def _confirmed(self, plane: Plane, progress: Progress) -> bool:
        if progress.order is None:
            return False
        # With everything changed before: what stays has run as it is, and nothing is taken for more than was read back.
        if self.entry(plane).progress.changed:
            try:
                self._failpoints.passing("before-confirm")
                await self._installers[plane].confirm(progress.order)
                self._failpoints.passing("after-confirm")
            except (Unavailable, CannotInstall) as error:
                log.warning("%s is proven and could not be confirmed yet: %s", plane, error)
                return False
        await self._look(plane)
        return True

    async def _keep(self, plane: Plane, entry: Entry) -> None:
        """Write an entry down, and with it what the end of a step freezes: nobody finds one without the other."""
        memory, frozen = self.notebook.memory, self.notebook.memory.frozen
        if self.entry(plane).progress.in_flight and (found := freezing.frozen_by(entry.progress)):
            frozen = freezing.with_frozen(frozen, found)
        if entry.progress.state is PlaneState.CONFIRMED and entry.progress.order is not None:
            frozen = freezing.without(frozen, entry.progress.order)
        await self.notebook.keep(replace(memory, planes={**memory.planes, plane: entry}, frozen=frozen))

    async def _carry_out(self, plane: Plane, instruction: Instruction) -> None:
        match instruction:
            case Instruction.DOWNLOAD:
                self.download = self.entry(plane).progress.order
            case Instruction.SWITCH:
                await self._switch(plane)
            case Instruction.FALL_BACK:
                await self._fall_back(plane)
            case Instruction.REPORT | Instruction.CONFIRM:
                return

    async def _switch(self, plane: Plane) -> None:
        order = self.entry(plane).progress.order
        if order is None:
            return
        release = Release(plane, order.version, order.content, order.requires)
        if unmet := unmet_requirements(self.versions.changed(release)):
            await self._take(plane, Refused(Cause(Reason.INCOMPATIBLE, str(unmet[0]))))
            return
        old = await self.before(order)
        await self._keep(plane, replace(self.entry(plane), old=old))
        await self._take(plane, Switching())
        try:
            self._failpoints.passing("before-switch")
            effect = await self._installers[plane].switch(order)
            self._failpoints.passing("after-switch")
        except CannotInstall as error:
            await self._take(plane, Refused(error.cause))
            return
        if effect is Effect.AFTER_REBOOT:
            self.wants_reboot = True
            return
        running = (await self._look(plane)).running
        await self._take(plane, Activated(running.content if running else ContentDigest("nothing")))

    async def _fall_back(self, plane: Plane) -> None:
        try:
            self._failpoints.passing("before-fall-back")
            effect = await self._installers[plane].fall_back()
            self._failpoints.passing("after-fall-back")
        except CannotInstall as error:
            log.error("%s cannot go back: %s", plane, error)  # noqa: TRY400 - the message says all
            return
        self.wants_reboot = self.wants_reboot or effect is Effect.AFTER_REBOOT
        await self._look(plane)

    def _tell(self, plane: Plane, progress: Progress) -> None:
        if progress.state.is_answer:
            self.answered[plane, progress.state] += 1
        order = progress.order
        what = f"step {order.number}, {order.type} {order.version}: {progress.state}" if order else str(progress.state)
        words = f"{what} ({progress.cause})" if progress.cause else what
        self.notebook.tell(self._times.day(), plane, words)
