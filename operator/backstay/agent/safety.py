"""Safe mode on this node: what the agent does when it is asked for, and how it ends; `core.safe_mode` says when it is.

In safe mode the agent keeps itself and its connection, and nothing else: an open step is withdrawn, none begins (a
return neither, because its probes would look at a workload that is stopped), and the workload is stopped as far as its
installer can stop it, which is one rename that can be taken back. No version is lost, and a model or a config stays as
it is. A node that keeps starting for nothing boots its recovery system, if it has one: that runs an agent of its own,
on the same `--data`.
"""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from backstay.agent.machine import Machine
from backstay.core.devices import StepType
from backstay.core.safe_mode import STEADY, reasons_for_safe_mode
from backstay.errors import BackstayError
from backstay.ports.clock import Clock

FILE: Final = Path("/etc/backstay/safe-mode")

log = logging.getLogger(__name__)


@dataclass
class Safety:
    """Whether one node is in safe mode. Its methods are called one at a time."""

    machine: Machine
    clock: Clock
    file: Path = FILE
    """While it is there the node is in safe mode; only root may write where it is."""
    why: tuple[str, ...] = ()
    """Why the node is in safe mode; empty in normal operation."""
    _began: float = 0.0
    _is_settled: bool = field(default=False)
    """Whether the workload is known to be as the mode wants it."""

    async def begin(self) -> None:
        """Count this start.

        Raises:
            JournalUnwritable
        """
        memory, self._began = self.machine.notebook.memory, self.clock.monotonic()
        await self.machine.notebook.keep(replace(memory, starts=memory.starts.started()))

    async def look(self, *, ordered: bool | None) -> None:
        """Enter safe mode, or leave it, by what is so now; `ordered` is None as long as the EdgeDevice is not known.

        Raises:
            JournalUnwritable, Unavailable: it is tried again at the next look.
        """
        if await asyncio.to_thread(self.machine.notebook.journal.is_asked_to_recover):
            await self._recover(self.machine.notebook.memory.recovered, "as somebody on the node asked")
            await asyncio.to_thread(self.machine.notebook.journal.has_recovered)
        await self._remember(ordered=ordered)
        memory, is_there = self.machine.notebook.memory, await asyncio.to_thread(self.file.exists)
        file = str(self.file) if is_there else None
        why = reasons_for_safe_mode(
            ordered=memory.ordered_safe, file=file, starts=memory.starts, rescued=self.machine.is_rescued
        )
        if why == self.why and self._is_settled:
            return
        if why != self.why:
            self._tell(why)
        self.why, self.machine.resting, self._is_settled = why, "; ".join(why), False
        if why:
            await self.machine.cancel(undo=True)
            await self.machine.stop()
            if memory.starts.gave_up and not self.machine.wants_reboot:
                # What was on trial is left first, which may take a reboot of its own.
                await self.machine.rescue()
        else:
            await self.machine.go_on()
        self._is_settled = True

    async def recover(self, number: int) -> bool:
        """Do once what a person asked for: forget failed starts and what is frozen here, and give up what is on trial.

        Raises:
            JournalUnwritable, Unavailable: it is tried again.
        """
        if number <= self.machine.notebook.memory.recovered:
            return False
        await self._recover(number, f"as a person asked (recover {number})")
        return True

    def end(self) -> None:
        """Note that the agent ends because it was told to, not because something went wrong; blocking."""
        memory = self.machine.notebook.memory
        try:
            self.machine.notebook.keep_now(replace(memory, starts=memory.starts.ended()))
        except BackstayError as error:
            log.warning("that this agent ended as it was told to is not noted: %s", error)

    async def _recover(self, number: int, how: str) -> None:
        running = self.machine.in_flight
        # A return on trial is the way back already; to undo it would bring back what it left.
        if running is not None and running.order is not None and running.order.type is StepType.INSTALL:
            await self.machine.cancel(undo=True)
        memory = self.machine.notebook.memory
        # Before it is noted as done: whoever is cut off here does all of it again.
        await self.machine.leave_rescue()
        starts = replace(memory.starts, failed=0, gave_up=False)
        await self.machine.notebook.keep(replace(memory, recovered=number, frozen=(), starts=starts))
        forgotten = f", {len(memory.frozen)} frozen versions are forgotten" if memory.frozen else ""
        self._say(f"recovered {how}{forgotten}")

    async def _remember(self, *, ordered: bool | None) -> None:
        memory = self.machine.notebook.memory
        starts = memory.starts
        if self.clock.monotonic() - self._began >= STEADY.total_seconds():
            starts = starts.steady()
        changed = replace(memory, starts=starts, ordered_safe=memory.ordered_safe if ordered is None else ordered)
        if changed != memory:
            await self.machine.notebook.keep(changed)

    def _tell(self, why: tuple[str, ...]) -> None:
        if why:
            self._say(f"safe mode: {'; '.join(why)}")
        elif self.why:
            self._say("safe mode is over")

    def _say(self, words: str) -> None:
        self.machine.notebook.tell(self.clock.now(), None, words)
