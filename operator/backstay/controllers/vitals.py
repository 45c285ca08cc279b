"""Whether the operator could do its work now, in words for whoever asks."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, assert_never

from backstay.controllers.store import Store

STALE_SECONDS = 150.0
"""Two bookmarks of a quiet watch have not come: what the operator sees may be anybody's past."""


class Stage(StrEnum):
    """Where an operator process is."""

    STARTING = "starting"
    STANDBY = "standby"
    SYNCING = "syncing"
    LEADING = "leading"
    ENDING = "ending"


class Readiness(NamedTuple):
    """Whether it is ready, for what, and why not."""

    is_ready: bool
    words: str


class Vitals:
    """Follows one operator process from its start to its end."""

    def __init__(self) -> None:
        self.stage = Stage.STARTING
        self._seen_holder: Callable[[], str | None] = lambda: None
        self._ready: Callable[[], Readiness] = lambda: Readiness(is_ready=False, words="the Lease has not been read")

    @property
    def is_leading(self) -> bool:
        """Whether it has won the Lease and not given it back."""
        return self.stage in {Stage.SYNCING, Stage.LEADING}

    def readiness(self) -> Readiness:
        """How it is now."""
        found = self._ready()
        return Readiness(found.is_ready, f"{self.stage}: {found.words}")

    def who_leads(self) -> str:
        """Who leads, in words, by what this process has seen already."""
        match self.stage:
            case Stage.STARTING | Stage.STANDBY:
                return _led_by(self._seen_holder())
            case Stage.SYNCING:
                return "This replica leads, and has not seen everything yet."
            case Stage.LEADING:
                return "This replica leads."
            case Stage.ENDING:
                return "This replica was told to stop."
        assert_never(self.stage)

    def waits(self, seen_holder: Callable[[], str | None]) -> None:
        """It waits for the Lease, and is ready to take over while it can read it: then there is a holder, or nobody."""
        self.stage = Stage.STANDBY
        self._seen_holder = seen_holder
        self._ready = lambda: _of_standby(seen_holder())

    def syncs(self) -> None:
        """It leads, and does not see everything yet."""
        self.stage = Stage.SYNCING
        self._ready = lambda: Readiness(is_ready=False, words="the first complete list is not there yet")

    def leads(self, store: Store, age_seconds: Callable[[], float]) -> None:
        """It leads and decides; `age_seconds` tells how old its view of the devices is."""
        self.stage = Stage.LEADING
        self._ready = lambda: _of_leader(store, age_seconds())

    def ends(self) -> None:
        """It was told to stop."""
        self.stage = Stage.ENDING
        self._ready = lambda: Readiness(is_ready=False, words="told to stop")


def _led_by(holder: str | None) -> str:
    if holder is None:
        return "Who leads is not known: the Lease was not read yet, or cannot be."
    return f"{holder} leads." if holder else "Nobody leads yet."


def _of_standby(holder: str | None) -> Readiness:
    if holder is None:
        return Readiness(is_ready=False, words="the Lease cannot be read, so it could not take over")
    return Readiness(is_ready=True, words=f"ready to take over from {holder or 'nobody'}")


def _of_leader(store: Store, age_seconds: float) -> Readiness:
    seen = f"{len(store.plans.all())} plans, {store.fleets.total} devices, view {age_seconds:.0f} s old"
    return Readiness(age_seconds < STALE_SECONDS, seen)
