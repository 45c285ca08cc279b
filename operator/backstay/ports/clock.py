"""Time, so that nothing but one adapter asks the machine for it."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time twice: for people and objects, and for measuring."""

    def now(self) -> datetime:
        """The time of day, in UTC; it may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds from some past moment; they never jump, and go on while the process is stopped."""
        ...
