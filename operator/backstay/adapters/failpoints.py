"""Named places where a test kills a process of ours, to prove that every one of them may be the last.

`BACKSTAY_FAILPOINT=<name>[:<n>]` ends the process by SIGKILL at the n-th passage, 1 being the first.
"""

import os
import signal
from collections import Counter
from typing import Final

from backstay.errors import Refused

OPERATOR: Final = tuple(
    f"{side}-{place}"
    for place in ("revision", "status-write", "phase-write", "dispatch", "freeze", "page", "event")
    for side in ("before", "after")
)
BRIDGE: Final = tuple(
    f"{side}-{place}"
    for place in ("fetch", "begin-write", "keep", "answer-write", "forget", "health-write")
    for side in ("before", "after")
)
AGENT: Final = tuple(
    f"{side}-{place}"
    for place in ("keep", "stage", "switch", "confirm", "fall-back", "status-write")
    for side in ("before", "after")
)
VARIABLE: Final = "BACKSTAY_FAILPOINT"


class Failpoints:
    """Counts passages and kills at the one that was asked for; without one it does nothing."""

    def __init__(self, wanted: str = "", places: tuple[str, ...] = OPERATOR) -> None:
        """Kill at one of `places`.

        Raises:
            Refused: `wanted` names none of them.
        """
        name, _, number = wanted.partition(":")
        if name and name not in places:
            raise Refused(f"{VARIABLE} names {name!r}, which is none of {', '.join(places)}")
        if number and not number.isdecimal():
            raise Refused(f"{VARIABLE} has {number!r} where the number of a passage belongs, as in {name}:3")
        self._name = name
        self._number = int(number or 1)
        self._passages: Counter[str] = Counter()

    @classmethod
    def from_environment(cls, places: tuple[str, ...]) -> "Failpoints":
        """The failpoint that the environment asks for."""
        return cls(os.environ.get(VARIABLE, ""), places)

    def passing(self, name: str) -> None:
        """Pass a place; the process may end here."""
        if name != self._name:
            return
        self._passages[name] += 1
        if self._passages[name] == self._number:
            os.kill(os.getpid(), signal.SIGKILL)
