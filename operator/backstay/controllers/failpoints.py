"""Named places where a test kills the operator, to prove that every one of them may be the last.

`BACKSTAY_FAILPOINT=<name>[:<n>]` ends the process by SIGKILL at the n-th passage, 1 being the first.
"""

import os
import signal
from collections import Counter
from typing import Final

from backstay.errors import Refused

FAILPOINTS: Final = (
    "before-revision",
    "after-revision",
    "before-status-write",
    "after-status-write",
    "before-phase-write",
    "after-phase-write",
    "before-dispatch",
    "after-dispatch",
    "before-freeze",
    "after-freeze",
    "before-page",
    "after-page",
    "before-event",
    "after-event",
)
VARIABLE: Final = "BACKSTAY_FAILPOINT"


class Failpoints:
    """Counts passages and kills at the one that was asked for; without one it does nothing."""

    def __init__(self, wanted: str = "") -> None:
        name, _, number = wanted.partition(":")
        if name and name not in FAILPOINTS:
            raise Refused(f"{VARIABLE} names {name!r}, which is none of {', '.join(FAILPOINTS)}")
        if number and not number.isdecimal():
            raise Refused(f"{VARIABLE} has {number!r} where the number of a passage belongs, as in {name}:3")
        self._name = name
        self._number = int(number or 1)
        self._passages: Counter[str] = Counter()

    @classmethod
    def from_environment(cls) -> "Failpoints":
        """The failpoint that the environment asks for."""
        return cls(os.environ.get(VARIABLE, ""))

    def passing(self, name: str) -> None:
        """Pass a place; the process may end here."""
        if name != self._name:
            return
        self._passages[name] += 1
        if self._passages[name] == self._number:
            os.kill(os.getpid(), signal.SIGKILL)
