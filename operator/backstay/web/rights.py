"""What each reader may see, namespace by namespace and kind by kind, by the API server's word of some seconds ago."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from backstay.ports.access import Access, Kind, Person
from backstay.ports.clock import Clock
from backstay.web.remembered import Remembered
from backstay.web.together import together

RIGHT_SECONDS: Final = 20.0
"""A right that was taken away is used no longer than this."""
REFUSAL_SECONDS: Final = 300.0
"""While somebody's namespaces are looked for, a refusal stands so long: most namespaces are not theirs."""
MOST_ANSWERS: Final = 50_000
AT_ONCE: Final = 16
SHOWN: Final = (Kind.PLANS, Kind.DEVICES, Kind.HOLDS)
"""Whoever may list one of these in a namespace sees that it exists."""

_Asked = tuple[tuple[object, ...], Kind, str | None]


class Rights:
    """Everybody's rights, as far as they were asked for."""

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access = access
        self._answers: Remembered[_Asked, bool] = Remembered(clock, seconds=RIGHT_SECONDS, most=MOST_ANSWERS)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def may_list(self, person: Person, kind: Kind, namespace: str, *, refusal_seconds: float = 0.0) -> bool:
        """Whether somebody may list a kind in a namespace.

        Raises:
            Unavailable: the API server does not say.
        """
        if await self.may_list_everywhere(person, kind):
            return True
        return await self._may(person, kind, namespace, refusal_seconds)

    async def may_list_everywhere(self, person: Person, kind: Kind) -> bool:
        """Whether somebody may list a kind in every namespace.

        Raises:
            Unavailable: the API server does not say.
        """
        return await self._may(person, kind, None, 0.0)

    async def _may(self, person: Person, kind: Kind, namespace: str | None, refusal_seconds: float) -> bool:
        async def ask() -> bool:
            async with self._turns:
                return await self._access.may_list(person, kind, namespace)

        key = (person.identity, kind, namespace)
        stands = refusal_seconds if self._answers.last(key) is False else 0.0
        return await self._answers.answer(key, ask, seconds=max(stands, RIGHT_SECONDS))


def _shown(kinds: Iterable[Kind]) -> frozenset[Kind]:
    found = frozenset(kinds)
    return found if found.intersection(SHOWN) else frozenset()


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who looks, with what they may see."""

    person: Person
    rights: Rights

    async def may_list(self, kind: Kind, namespace: str) -> bool:
        """Whether they may list a kind in a namespace.

        Raises:
            Unavailable: the API server does not say.
        """
        return await self.rights.may_list(self.person, kind, namespace)

    async def kinds(self, namespace: str) -> frozenset[Kind]:
        """What they may list in a namespace; nothing where it is not theirs to know of."""
        allowed = await together(self.may_list(kind, namespace) for kind in Kind)
        return _shown(kind for kind, is_allowed in zip(Kind, allowed, strict=True) if is_allowed)

    async def everywhere(self) -> frozenset[Kind]:
        """What they may list in every namespace."""
        allowed = await together(self.rights.may_list_everywhere(self.person, kind) for kind in Kind)
        return frozenset(kind for kind, is_allowed in zip(Kind, allowed, strict=True) if is_allowed)

    async def namespaces(self, known: Iterable[str]) -> dict[str, frozenset[Kind]]:
        """Those of some namespaces that they may see anything of, and what."""
        names, everywhere = tuple(known), await self.everywhere()
        if everywhere == frozenset(Kind):
            return dict.fromkeys(names, everywhere)
        seen = names if everywhere.intersection(SHOWN) else await self._seen(names)
        kinds = await together(map(self.kinds, seen))
        return {name: found for name, found in zip(seen, kinds, strict=True) if found}

    async def _seen(self, names: tuple[str, ...]) -> tuple[str, ...]:
        seen = await together(map(self._sees, names))
        return tuple(name for name, is_seen in zip(names, seen, strict=True) if is_seen)

    async def _sees(self, namespace: str) -> bool:
        for kind in SHOWN:
            if await self.rights.may_list(self.person, kind, namespace, refusal_seconds=REFUSAL_SECONDS):
                return True
        return False
