"""Who a request comes from: a token of the cluster in a header, or a session that was opened with one.

The token of a session stays in this process's memory, where the API server is asked again and again whether it still
holds; the browser has a random number in its place.
"""

import asyncio
import base64
import binascii
import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from backstay.ports.access import Access, Person
from backstay.ports.clock import Clock
from backstay.web.remembered import Remembered

LONGEST: Final = timedelta(hours=12)
REVIEW_SECONDS: Final = 20.0
"""A token that was taken back opens nothing after this."""
MOST_SESSIONS: Final = 1_000
MOST_REVIEWS: Final = 5_000
AT_ONCE: Final = 8
"""Whoever tries tokens by the thousand must not take the operator's own connections to the API server."""
LONGEST_TOKEN: Final = 16_384


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in."""

    token: str = field(repr=False)
    ends: datetime


class Sessions:
    """All open sessions; of too many, the oldest end."""

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access = access
        self._clock = clock
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._reviews: Remembered[bytes, Person | None] = Remembered(clock, seconds=REVIEW_SECONDS, most=MOST_REVIEWS)

    async def person_of(self, token: str) -> Person | None:
        """Whose token this is; None where it is nobody's.

        Raises:
            Unavailable: the API server does not say.
        """
        if not 0 < len(token) <= LONGEST_TOKEN or not token.isascii() or not token.isprintable():
            return None

        async def ask() -> Person | None:
            async with self._turns:
                return await self._access.who(token)

        return await self._reviews.answer(sha256(token.encode()).digest(), ask)

    async def open(self, token: str) -> tuple[str, timedelta] | None:
        """Begin a session with a token; gives its number and how long it lasts, or None where the token is nobody's.

        Raises:
            Unavailable: the API server does not say.
        """
        if await self.person_of(token) is None:
            return None
        now = self._clock.now()
        ends = min(expiry_of(token) or now + LONGEST, now + LONGEST)
        number = secrets.token_urlsafe(32)
        self._open[number] = Session(token, ends)
        while len(self._open) > MOST_SESSIONS:
            self._open.popitem(last=False)
        return number, ends - now

    async def person_in(self, number: str) -> Person | None:
        """Who is signed in under a number; None where nobody is any more.

        Raises:
            Unavailable: the API server does not say.
        """
        session = self._open.get(number)
        if session is None:
            return None
        person = await self.person_of(session.token) if self._clock.now() < session.ends else None
        if person is None:
            self.close(number)
        return person

    def close(self, number: str) -> None:
        """End a session."""
        self._open.pop(number, None)


def expiry_of(token: str) -> datetime | None:
    """When a token expires by its own word, which the API server has checked; None where it does not say.

    Source: RFC 7519, 4.1.4
    """
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, OSError, binascii.Error):
        return None
