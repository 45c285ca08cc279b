"""Who is to look again: changes come in by the thousand, and each plan looks once for all of them."""

import asyncio
import time
from collections.abc import Callable, Iterable

Key = tuple[str, str]
"""Namespace and name of a plan."""


class Flag(asyncio.Event):
    """Set while a plan is to look again, and knows since when it has been."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._monotonic = monotonic
        self.since: float | None = None
        """When it was set, on the clock that it was made with; None while it is not."""

    def set(self) -> None:
        """Somebody is to look again; whoever asks a second time waits no shorter."""
        if self.since is None:
            self.since = self._monotonic()
        super().set()

    def clear(self) -> None:
        """Somebody looks now."""
        self.since = None
        super().clear()


class Wakes:
    """One flag for each plan that somebody waits for."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._flags: dict[Key, Flag] = {}

    def flag(self, key: Key) -> Flag:
        """The flag of a plan, set whenever something that it depends on has changed."""
        return self._flags.setdefault(key, Flag(self._monotonic))

    def forget(self, key: Key) -> None:
        """Drop the flag of a plan that is gone."""
        self._flags.pop(key, None)

    def wake(self, keys: Iterable[Key]) -> None:
        """Let plans look again."""
        for key in keys:
            if flag := self._flags.get(key):
                flag.set()

    def wake_namespace(self, namespace: str) -> None:
        """Let every plan of a namespace look again."""
        self.wake([key for key in self._flags if key[0] == namespace])

    def waiting_seconds(self) -> tuple[float, ...]:
        """For how long each plan has waited that is to look again and has not begun to."""
        now = self._monotonic()
        return tuple(now - flag.since for flag in self._flags.values() if flag.since is not None)
