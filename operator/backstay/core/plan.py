"""A release plan as decisions see it: parsed, resolved, and without defaults left to guess."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from hashlib import sha256
from math import ceil, floor
from types import MappingProxyType
from typing import Final

from backstay.core.failures import RetryPolicy
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.selectors import Selector
from backstay.core.signals import Signal
from backstay.core.windows import Window

HASH_LENGTH: Final = 10


@dataclass(frozen=True, slots=True)
class Count:
    """A number of devices."""

    devices: int

    def of(self, total: int) -> int:
        """That number, at most all."""
        return min(self.devices, total)

    def tolerated(self, total: int) -> int:
        """The same number: a count means what it says."""
        return self.of(total)


@dataclass(frozen=True, slots=True)
class Share:
    """A part of some devices; it rounds up, so that a small fleet is never served by nobody."""

    part: Fraction

    def of(self, total: int) -> int:
        """So many of `total`."""
        return ceil(self.part * total)

    def tolerated(self, total: int) -> int:
        """So many failures of `total` at most; this rounds down, so that 2 % of three devices tolerates none."""
        return floor(self.part * total)


@dataclass(frozen=True, slots=True)
class Least:
    """The smallest of several sizes, whichever that is for the devices at hand: the strictest rule wins."""

    sizes: tuple[Count | Share, ...]

    def of(self, total: int) -> int:
        """The smallest of them for so many devices."""
        return min(size.of(total) for size in self.sizes)

    def tolerated(self, total: int) -> int:
        """The fewest failures that any of them tolerates."""
        return min(size.tolerated(total) for size in self.sizes)


Size = Count | Share | Least


def least(*sizes: Size) -> Size:
    """The strictest of some sizes."""
    parts = tuple(
        dict.fromkeys(part for size in sizes for part in (size.sizes if isinstance(size, Least) else (size,)))
    )
    return parts[0] if len(parts) == 1 else Least(parts)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Recovery to be proved on a ring before it passes."""

    devices: int = 1
    """So many healthy devices go back and forward again."""
    break_one: bool = False
    """One more device, which opted in, is told to fail and must fall back by itself."""


@dataclass(frozen=True, slots=True)
class Ring:
    """A step of a rollout: whom it takes, how fast, and how long it is watched."""

    name: str
    selector: Selector | None = None
    size: Size | None = None
    """Cumulative over the rings, of the devices that the selector picks; None takes all of them."""
    minimum: int = 0
    """At least so many devices that no earlier ring took; as many must confirm before the ring passes."""
    soak: timedelta = timedelta(0)
    in_flight: Size = Share(Fraction(1, 5))
    max_failed: Size = Count(0)
    min_samples: int = 1
    spread_by: tuple[str, ...] = ()
    """Labels of which the ring takes at least one device for each value that occurs."""
    rehearsal: Rehearsal | None = None
    needs_approval: bool = False
    windows: tuple[Window, ...] = ()
    """A device of the ring starts a change only while all of them are open."""


class Denominator(StrEnum):
    """Of which devices the share that must confirm is taken."""

    STARTED = "Started"
    TARGET = "Target"


OFFLINE_GRACE: Final = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class Success:
    """When the devices of a ring have taken a revision well enough to go on."""

    confirmed: Fraction = Fraction(98, 100)
    min_confirmed: int = 1
    of: Denominator = Denominator.STARTED
    offline_grace: timedelta = OFFLINE_GRACE
    """How long a ring waits, from its start, for devices that were offline before anything was ordered."""


class Scope(StrEnum):
    """How far a rollback reaches."""

    PLAN = "Plan"
    RING = "Ring"
    SEGMENT = "Segment"
    """The devices of the one label on which the failing ones concentrate; all of them where there is none."""


@dataclass(frozen=True, slots=True)
class RollbackPolicy:
    """What happens when a gate fails."""

    automatic: bool = True
    order: tuple[Plane, ...] = (Plane.CONFIG, Plane.MODEL, Plane.FIRMWARE)
    """Which plane is suspected first where votes are even: the cheapest to revert."""
    verify: timedelta = timedelta(minutes=10)
    scope: Scope = Scope.PLAN


DEADLINES: Final[Mapping[Plane, timedelta]] = MappingProxyType(
    {
        Plane.FIRMWARE: timedelta(minutes=40),
        Plane.MODEL: timedelta(hours=2),
        Plane.CONFIG: timedelta(minutes=15),
    }
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One release plan with its target resolved to content."""

    namespace: str
    name: str
    target: Mapping[Plane, Release]
    rings: tuple[Ring, ...]
    success: Success = field(default_factory=Success)
    deadlines: Mapping[Plane, timedelta] = field(default_factory=lambda: DEADLINES)
    signals: tuple[Signal, ...] = ()
    rollback: RollbackPolicy = field(default_factory=RollbackPolicy)
    stability: timedelta = timedelta(hours=24)
    paused: bool = False
    irreversible: frozenset[Plane] = frozenset()
    """Planes whose target cannot be taken back once it runs: no rollback touches them."""
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    retain: timedelta = timedelta(0)
    """How long after success the versions before are kept for a return."""
    resource_probes: frozenset[str] = frozenset()
    """The probes that look at storage, memory or temperature; what fails them is an anomaly of resources."""

    @property
    def key(self) -> str:
        """What ranks are drawn from: stable over every revision of the plan."""
        return f"{self.namespace}/{self.name}"


def revision_hash(target: Mapping[Plane, Release]) -> str:
    """Name a set of versions by its content alone, so that repackaging the same bytes changes nothing."""
    return hash_of({plane: release.content for plane, release in target.items()})


def hash_of(contents: Mapping[Plane, ContentDigest]) -> str:
    """The hash of sorted (plane, content digest) pairs."""
    text = "\n".join(f"{plane}={contents[plane]}" for plane in sorted(contents))
    return sha256(text.encode()).hexdigest()[:HASH_LENGTH]
