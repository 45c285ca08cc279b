"""What happened to one object, as the cluster remembers it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from backstay.api import EdgeDevice


@dataclass(frozen=True, slots=True)
class Happening:
    """One Event about an object."""

    at: datetime
    reason: str
    message: str
    warns: bool = False
    count: int = 1
    """How often it was said."""
    last: datetime | None = None
    """When it was said last, where it was said more than once."""


class Chronicle(Protocol):
    """Reads what is too much to be kept in memory."""

    async def events(self, kind: str, namespace: str, name: str) -> tuple[Happening, ...]:
        """The last Events about an object, the latest first.

        Raises:
            Unavailable, Forbidden
        """
        ...

    async def device(self, namespace: str, name: str) -> EdgeDevice | None:
        """A device with all that it says of itself; None where it is gone.

        Raises:
            Unavailable, Forbidden
            Refused: this version cannot read it.
        """
        ...
