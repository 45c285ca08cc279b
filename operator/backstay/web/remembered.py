"""Answers that stand for a while, so that a page that many look at asks nobody many times."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from backstay.ports.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """The last answers, by what was asked; the longest unused go first. What failed is not remembered."""

    def __init__(self, clock: Clock, *, seconds: float, most: int) -> None:
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._answers: OrderedDict[K, tuple[float, V]] = OrderedDict()

    async def answer(self, key: K, ask: Callable[[], Awaitable[V]], *, seconds: float | None = None) -> V:
        """The answer, no older than so many seconds from when it was asked for."""
        asked = self._clock.monotonic()
        known = self._answers.get(key)
        if known is not None and asked - known[0] < (self._seconds if seconds is None else seconds):
            self._answers.move_to_end(key)
            return known[1]
        found = await ask()
        self._answers[key] = (asked, found)
        self._answers.move_to_end(key)
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)
        return found

    def last(self, key: K) -> V | None:
        """What was answered last, however long ago that is."""
        known = self._answers.get(key)
        return None if known is None else known[1]

    def forget(self, key: K) -> None:
        """Ask anew the next time."""
        self._answers.pop(key, None)
