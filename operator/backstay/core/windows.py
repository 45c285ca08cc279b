"""Hours of the week in which new work may start, by the wall clock of a time zone, summer time included."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Final

_GRID: Final = timedelta(minutes=15)
"""Every offset from UTC in use is a multiple of this, so a window opens on a mark of this grid or beside it."""
_LONGEST_WAIT: Final = timedelta(days=15)
"""A window opens once a week at the least, or once in two where summer time leaves all of its hours out."""


@dataclass(frozen=True, slots=True)
class Window:
    """Open from `start` to `end` on some days; an `end` that is not after `start` lies on the following day."""

    days: frozenset[int]
    """Days on which the window opens, 0 for Monday to 6 for Sunday."""
    start: time
    end: time
    zone: tzinfo

    def is_open(self, now: datetime) -> bool:
        """Tell whether work may start; `end` itself is outside. An hour that the clock repeats counts both times."""
        local = now.astimezone(self.zone)
        clock, today = local.time(), local.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= clock < self.end
        return (today in self.days and clock >= self.start) or ((today - 1) % 7 in self.days and clock < self.end)

    def opens_after(self, now: datetime) -> datetime:
        """When the window is open next, if it is not open now.

        A start that summer time leaves out opens at the first minute after the gap.

        Raises:
            ValueError: the window has no days.
        """
        if self.is_open(now):
            return now
        hour = now.replace(minute=0, second=0, microsecond=0)
        offsets = sorted({timedelta(0), timedelta(minutes=self.start.minute % 15)})
        for step in range(_LONGEST_WAIT // _GRID):
            for offset in offsets:
                at = hour + step * _GRID + offset
                if at > now and self.is_open(at):
                    return at
        message = f"the window opens on none of the days {sorted(self.days)}"
        raise ValueError(message)


def next_opening(windows: Iterable[Window], now: datetime) -> datetime | None:
    """The earliest time at which every closed window may be open; None when all are.

    Windows that never overlap have no such time: the last to open is looked at again then.
    """
    return max((window.opens_after(now) for window in windows if not window.is_open(now)), default=None)
