"""What the command line ends with, for scripts."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class ExitStatus(IntEnum):
    """The statuses of every command; a program that runs until it is ended may have more."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_WELL = 3
    UNAVAILABLE = 4
    INTERRUPTED = 130


MEANINGS: Final[Mapping[ExitStatus, str]] = MappingProxyType(
    {
        ExitStatus.DONE: "It is done, or what was looked at is well.",
        ExitStatus.FAILED: "It was refused: by the API server, the operator, or the command itself, which says why. "
        "`lint` has found an error. The same command fails again.",
        ExitStatus.USAGE: "The command is written wrong, such as with an option that there is not.",
        ExitStatus.NOT_WELL: "It was looked at, and a person is needed: `status` where a plan went back, halted, is "
        "refused or waits for somebody; `plan` where it would be refused; `operator run` where it leads no more.",
        ExitStatus.UNAVAILABLE: "Somebody did not answer, or not in time: the API server, the registry, the operator "
        "that was asked, or a release that `status --wait` waits for. The same command may succeed later.",
        ExitStatus.INTERRUPTED: "Ctrl-C.",
    }
)
"""When a command ends with which."""
