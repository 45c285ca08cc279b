"""Keeps the program behind a link running where there is no systemd.

It runs another one when the link changes, and the same one again when it ends, after longer and longer pauses if it
keeps ending. A program gets a session of its own, so that what it started ends with it, and it cannot outlive whoever
supervises it, because after that nobody would know that it runs.

Source: prctl(2), PR_SET_PDEATHSIG; setpriv(1)
"""

import asyncio
import logging
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn

_LOOK: Final = timedelta(milliseconds=250)
_TIED: Final = ("setpriv", "--pdeathsig", "KILL", "--")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a program that ends, and for one that does not."""

    first: timedelta = timedelta(seconds=1)
    """Before it is started again for the first time; each time after that is twice as long."""
    longest: timedelta = timedelta(minutes=1)
    steady: timedelta = timedelta(minutes=1)
    """A program that ran for so long counts as one that did not keep ending."""
    grace: timedelta = timedelta(seconds=10)
    """Between asking it to end and ending it."""

    def pause(self, failures: int) -> timedelta:
        """How long to wait after so many ends in a row, 1 being the first."""
        doublings = min(failures - 1, 30)
        return min(self.longest, self.first * (1 << doublings))


@dataclass(frozen=True, slots=True)
class Running:
    """A program that runs."""

    program: Path
    process_id: int
    starts: int
    """How often this program was started since the link led to it."""


class Supervisor:
    """Runs the program that a link leads to; one task calls `run`."""

    def __init__(
        self,
        link: Path,
        arguments: tuple[str, ...] = (),
        *,
        environment: Mapping[str, str] | None = None,
        patience: Patience = Patience(),
    ) -> None:
        """Give the program these arguments, and this environment or else our own."""
        self._link = link
        self._arguments = arguments
        self._environment = dict(os.environ if environment is None else environment)
        self._patience = patience
        self.running: Running | None = None
        """What runs now; a program that has just ended may stand here for a moment."""

    async def run(self) -> NoReturn:
        """Keep it running until the task is cancelled, which ends the program first."""
        program, failures, starts = None, 0, 0
        while True:
            if (wanted := await asyncio.to_thread(self._wanted)) != program:
                program, failures, starts = wanted, 0, 0
            if program is None:
                await asyncio.sleep(_LOOK.total_seconds())
                continue
            starts += 1
            seconds = await self._run_once(program, starts)
            if seconds is None:
                continue
            failures = 1 if seconds >= self._patience.steady.total_seconds() else failures + 1
            await self._pause(program, self._patience.pause(failures))

    def _wanted(self) -> Path | None:
        return self._link.resolve() if self._link.is_file() else None

    async def _run_once(self, program: Path, starts: int) -> float | None:
        """Run it until it ends, and tell after how many seconds it did; None where it was ended for another one."""
        clock = asyncio.get_running_loop().time
        began = clock()
        process = await self._started(program)
        if process is None:
            return 0.0
        self.running = Running(program, process.pid, starts)
        ending = asyncio.create_task(process.wait())
        try:
            while not ending.done():
                if await asyncio.to_thread(self._wanted) != program:
                    return None
                await asyncio.wait((ending,), timeout=_LOOK.total_seconds())
            log.warning("%s ended with status %d", program, ending.result())
            return clock() - began
        finally:
            await _end(process, ending, self._patience.grace)
            self.running = None

    async def _started(self, program: Path) -> Process | None:
        try:
            return await asyncio.create_subprocess_exec(
                *_TIED, program, *self._arguments, env=self._environment, start_new_session=True
            )
        except OSError as error:
            log.error("%s cannot be started: %s", program, error)  # noqa: TRY400 - the trace says nothing more
            return None

    async def _pause(self, program: Path, pause: timedelta) -> None:
        """Wait, but no longer than until there is another program."""
        clock = asyncio.get_running_loop().time
        until = clock() + pause.total_seconds()
        while (left := until - clock()) > 0 and await asyncio.to_thread(self._wanted) == program:  # noqa: ASYNC110
            await asyncio.sleep(min(left, _LOOK.total_seconds()))


async def _end(process: Process, ending: "asyncio.Task[int]", grace: timedelta) -> None:
    """End the program and whatever is left of its session."""
    try:
        if not ending.done():
            _signal(process, signal.SIGTERM)
            await asyncio.wait((ending,), timeout=grace.total_seconds())
    finally:
        _signal(process, signal.SIGKILL)
        await asyncio.shield(ending)


def _signal(process: Process, number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
