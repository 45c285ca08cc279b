"""Reads the file of a systemd unit as systemd does, so that nothing is hidden from whoever checks it.

A line ends at a line feed. What comes before it is a remark where it begins with `#` or `;`, also in the middle of a
setting that goes on. A setting goes on where its line ends in an odd number of backslashes, with nothing behind them,
and an empty line ends it. systemd also ends lines at carriage returns and at NUL, and other readers at more; text that
could be read in two ways is refused.

Source: https://www.freedesktop.org/software/systemd/man/252/systemd.syntax.html, and `config_parse` and `read_line` of
systemd 252 for what that leaves open
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from backstay.core.device import Cause, Reason
from backstay.ports.installer import CannotInstall

BLANKS: Final = " \t"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a unit's file."""

    section: str
    key: str
    value: str


def settings(text: str) -> Iterator[Setting]:
    """The lines of a unit's file.

    Raises:
        CannotInstall: a line is none, or could be read in two ways.
    """
    section = ""
    for line in _whole_lines(text):
        key, is_setting, value = line.partition("=")
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line.startswith("[") or not is_setting or not section or not key:
            raise _rejected(f"the unit's line {line[:_SHOWN]!r} is neither a [Section] nor a Key=Value in one")
        else:
            yield Setting(section, key.strip(BLANKS), value.strip(BLANKS))


def _whole_lines(text: str) -> Iterator[str]:
    if found := _CONTROL.search(text):
        number = text.count("\n", 0, found.start()) + 1
        raise _rejected(f"line {number} of the unit has the character {found.group()!r}: end lines with \\n alone")
    begun = ""
    for raw in text.split("\n"):
        line = raw.lstrip(BLANKS)
        if line.startswith(("#", ";")):
            continue
        begun += line
        if _goes_on(begun):
            begun = f"{begun[:-1]} "
            continue
        if whole := begun.strip(BLANKS):
            yield whole
        begun = ""
    if begun:
        # What is appended to the unit's text would become a part of it.
        raise _rejected(
            f"the unit's last line {begun.strip(BLANKS)[-_SHOWN:]!r} ends in a backslash, and does not go on"
        )


def _goes_on(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _rejected(detail: str) -> CannotInstall:
    return CannotInstall(Cause(Reason.REJECTED, detail))
