"""Long commands of the set-up: watched while they run, logged, and ended with us."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from backstay.errors import BackstayError
from backstay.sandbox.progress import Progress

POLL_SECONDS = 0.2
LAST_LINES = 15


class CommandFailed(BackstayError):
    """A command of the set-up failed."""


def run_watched(
    command: Sequence[str],
    log: Path,
    progress: Progress,
    *,
    is_step: Callable[[str], bool] = lambda _: False,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command with its output in `log`, and report progress; `is_step` tells which of its lines is one unit.

    Raises `CommandFailed` with the last lines of the log.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            process_group=0,
        )
    try:
        steps = 0
        with log.open(encoding="utf-8", errors="replace") as lines:
            while process.poll() is None:
                steps += sum(map(is_step, lines))
                progress.at(steps)
                time.sleep(POLL_SECONDS)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        last = "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        msg = f"`{' '.join(command)}` failed with status {process.returncode}; its output is {log} and ends:\n{last}"
        raise CommandFailed(msg)
    progress.done()
