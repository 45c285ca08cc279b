"""The right to write, which one operator has at a time."""

from typing import Protocol


class Leader(Protocol):
    """Knows whether this operator still leads."""

    def assert_held(self) -> None:
        """Make sure, without waiting, that no other operator can lead yet.

        Raises:
            BackstayError: one may; nothing more may be written.
        """
        ...
