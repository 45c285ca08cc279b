"""The API server's time of day, on a machine whose own may be wrong.

A box at the edge wakes up in 1970, or drifts for months. What it writes is compared with what others write, so what
counts is not who is right but that all go by one clock: the API server's, which comes with each of its answers.

Source: RFC 9110, section 6.6.1 (Date)
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from backstay.ports.clock import Clock

TOLERATED: Final = timedelta(seconds=5)
"""Less than this is the way that an answer takes, and whole seconds; the machine's own clock is finer then."""
STEADY: Final = timedelta(seconds=2)
"""A correction is kept as long as it is right to within this, so that the time does not jump with every answer."""
NONE: Final = timedelta(0)

log = logging.getLogger(__name__)


class ServerClock:
    """The machine's clock, put right where it is off; fulfils `backstay.ports.clock.Clock`."""

    def __init__(self, machine: Clock, changed: Callable[[float], None] = lambda _: None) -> None:
        """Correct `machine`; `changed` is told the correction in seconds whenever it is another."""
        self._machine = machine
        self._changed = changed
        self._correction = NONE

    def heard(self, date: str | None) -> None:
        """Take in the header of an answer; one that cannot be read changes nothing."""
        try:
            server = parsedate_to_datetime(date or "")
        except ValueError:
            return
        if server.tzinfo is None:
            return
        off = server - self._machine.now()
        if abs(off) <= TOLERATED:
            off = NONE
        if abs(off - self._correction) <= (STEADY if off else NONE):
            return
        self._correction = off
        self._changed(off.total_seconds())
        if off:
            log.warning("this machine's clock is off by %s; the API server's counts. Let it be set by NTP", -off)
        else:
            log.info("this machine's clock is right again")

    def now(self) -> datetime:
        """The time of day by the API server, in UTC."""
        return self._machine.now() + self._correction

    def monotonic(self) -> float:
        """The machine's own seconds."""
        return self._machine.monotonic()
