"""Processes as the kernel tells of them.

Source: proc(5): /proc/PID/stat is `pid (comm) state …`, where comm may hold anything, field 22 is when it started, in
clock ticks since the boot; /proc/uptime begins with the seconds since the boot.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEAD_STATES: Final = frozenset("ZXx")
"""Zombie and dead: there is an entry, and nobody works there."""
STOPPED_STATES: Final = frozenset("Tt")
LONGEST_NAME: Final = 15
"""The kernel cuts names there."""
_STARTED_AT: Final = 22 - 3  # counted from the state, which is the third field


@dataclass(frozen=True, slots=True)
class Process:
    """A process, and for how long it has run."""

    pid: int
    name: str
    state: str
    age_seconds: float

    @property
    def works(self) -> bool:
        """Tell whether it can do anything."""
        return self.state not in DEAD_STATES | STOPPED_STATES


def process_of(proc: Path, pid: int) -> Process | None:
    """The process of a number; None if it is gone."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        uptime = float((proc / "uptime").read_text(encoding="ascii").split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return None
    name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 1 :].split()
    started = int(fields[_STARTED_AT]) / os.sysconf("SC_CLK_TCK")
    return Process(pid, name, fields[0], max(0.0, uptime - started))


def processes_named(proc: Path, name: str) -> Iterator[Process]:
    """The processes of a name, as `ps -o comm` shows it."""
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            process = process_of(proc, int(folder.name))
            if process is not None and process.name == name[:LONGEST_NAME]:
                yield process
