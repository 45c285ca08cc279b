"""The cluster's chronicle, asked no more often than anybody can read."""

from typing import Final

from backstay.api import EdgeDevice
from backstay.ports.chronicle import Chronicle, Happening
from backstay.ports.clock import Clock
from backstay.web.remembered import Remembered

FRESH_SECONDS: Final = 15.0
"""Events of one object are found by looking through all of its namespace."""
KEPT_SECONDS: Final = 300.0
"""A version of a device never changes."""
MOST: Final = 500


class Told:
    """A chronicle that remembers what it said some seconds ago."""

    def __init__(self, chronicle: Chronicle, clock: Clock) -> None:
        self._chronicle = chronicle
        self._events: Remembered[tuple[str, str, str], tuple[Happening, ...]] = Remembered(
            clock, seconds=FRESH_SECONDS, most=MOST
        )
        self._devices: Remembered[tuple[str, str, str], EdgeDevice | None] = Remembered(
            clock, seconds=KEPT_SECONDS, most=MOST
        )

    async def events(self, kind: str, namespace: str, name: str) -> tuple[Happening, ...]:
        """The last Events about an object, the latest first.

        Raises:
            Unavailable, Forbidden
        """
        return await self._events.answer((kind, namespace, name), lambda: self._chronicle.events(kind, namespace, name))

    async def device(self, namespace: str, name: str, version: str) -> EdgeDevice | None:
        """A device with all that it said of itself at one resourceVersion or later; None where it is gone.

        Raises:
            Unavailable, Forbidden
            Refused: this version cannot read it.
        """
        return await self._devices.answer((namespace, name, version), lambda: self._chronicle.device(namespace, name))
