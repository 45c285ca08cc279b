"""One child process of the sandbox: started in a group of its own, logged to a file, and never left behind."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backstay.errors import Unavailable

POLL_SECONDS = 0.02
LAST_LINES = 12


class ComponentFailed(Unavailable):
    """A process of the sandbox died or did not become ready."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same number: its start is part of its name."""

    pid: int
    started: int
    """Clock ticks since the machine booted."""

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The identity of the process that has this number now, or None if there is none or it has ended."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name in parentheses may itself hold spaces and parentheses.
        fields = stat.rpartition(")")[2].split()
        state, started = fields[0], int(fields[19])
        return None if state in "ZX" else cls(pid, started)

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Identity.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Signal the process group that this process leads, if the process still runs."""
        if self.alive():
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                return


async def end(process: Identity, grace_seconds: float) -> None:
    """End a process that may be nobody's child: ask first, and kill it when the grace is over."""
    process.send(signal.SIGTERM)
    # A stopped process takes no other signal than SIGKILL until it is continued.
    process.send(signal.SIGCONT)
    try:
        async with asyncio.timeout(grace_seconds):
            while process.alive():
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        process.send(signal.SIGKILL)
        while process.alive():
            await asyncio.sleep(POLL_SECONDS)


class Child:
    """A process that this one started, with all it writes kept in `log`.

    Unless it `outlives` this process, the kernel kills it the moment this process ends, also on `kill -9`. It belongs
    to no event loop, so one loop may start it and another stop it; but the thread that starts it must live as long.
    """

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        log: Path,
        *,
        environment: Mapping[str, str],
        outlives: bool = False,
    ) -> None:
        """Describe the process; `start` runs it."""
        self.name = name
        self.command = command
        self.log = log
        self._environment = dict(environment)
        self._outlives = outlives
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: Identity | None = None

    def start(self) -> None:
        """Start the process.

        Raises `ComponentFailed` if its program is not there.
        """
        command = self.command if self._outlives else (*_tied_to_this_process(), *self.command)
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    process_group=0,
                )
            except OSError as error:
                msg = f"{self.name} cannot be started: {command[0]}: {error.strerror}; `make setup` installs it"
                raise ComponentFailed(msg) from error
        self._identity = Identity.of(self._process.pid)

    @property
    def identity(self) -> Identity | None:
        """The running process, or None."""
        return self._identity if self.running() else None

    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def check(self) -> None:
        """Raise `ComponentFailed` with the last lines of the log if the process has ended."""
        if self._process is None or (code := self._process.poll()) is None:
            return
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        raise self.failure(how)

    def failure(self, what: str) -> ComponentFailed:
        """The error that says what happened to this component, and where to read on."""
        return ComponentFailed(f"{self.name} {what}; its log is {self.log} and ends:\n{last_lines(self.log)}")

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """End the process and wait until it is gone; do nothing if it is gone already."""
        if self._process is None or self._identity is None:
            return
        try:
            self._send(signal.SIGTERM)
            self._send(signal.SIGCONT)
            async with asyncio.timeout(grace_seconds):
                while self.running():
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            pass
        finally:
            # Also reached when the wait is cancelled by a second Ctrl-C.
            self.kill()

    def kill(self) -> None:
        """End the process at once, if it is still there."""
        self._send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def let_go(self) -> None:
        """Leave a process that outlives this one to itself."""
        if self._process is not None and self.running():
            # A Popen object whose status is known does not complain that nobody has waited for its process.
            self._process.returncode = 0

    def send(self, number: signal.Signals) -> None:
        """Send the process group a signal.

        Raises `ComponentFailed` if the process is not running.
        """
        if not self.running():
            msg = f"{self.name} is not running, so it cannot be sent {number.name}"
            raise ComponentFailed(msg)
        self._send(number)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self.running():
            os.killpg(self._process.pid, number)


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    """The end of a log, indented for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        lines = []
    return "\n".join(f"    {line}" for line in lines) or "    (nothing was written)"


def _tied_to_this_process() -> tuple[str, ...]:
    # The kernel kills the child when its parent's thread ends. A parent that died before that was arranged would go
    # unnoticed, so the shell looks once more who the parent is before it becomes the program.
    return (
        "setpriv",
        "--pdeathsig",
        "KILL",
        "sh",
        "-c",
        '[ "$PPID" -eq "$0" ] && exec "$@"',
        str(os.getpid()),
    )
