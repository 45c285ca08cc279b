"""Who is to look again: changes come in by the thousand, and each plan looks once for all of them."""

import asyncio
from collections.abc import Iterable

Key = tuple[str, str]
"""Namespace and name of a plan."""


class Wakes:
    """One flag for each plan that somebody waits for."""

    def __init__(self) -> None:
        self._events: dict[Key, asyncio.Event] = {}

    def flag(self, key: Key) -> asyncio.Event:
        """The flag of a plan, set whenever something that it depends on has changed."""
        return self._events.setdefault(key, asyncio.Event())

    def forget(self, key: Key) -> None:
        """Drop the flag of a plan that is gone."""
        self._events.pop(key, None)

    def wake(self, keys: Iterable[Key]) -> None:
        """Let plans look again."""
        for key in keys:
            if event := self._events.get(key):
                event.set()

    def wake_namespace(self, namespace: str) -> None:
        """Let every plan of a namespace look again."""
        self.wake([key for key in self._events if key[0] == namespace])
