"""A clock that a test sets."""

from datetime import UTC, datetime


class Hand:
    """Stands still until it is moved; both of its times are the same."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 5, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()
