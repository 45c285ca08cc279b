"""What a node keeps beside what runs and its fallback, and what goes first when its disk fills.

A content is left when it neither runs nor is what anything falls back to. From then on it is kept for as long as its
plan retains versions, and for `LEAST` anyway, so that an older version is back without a download; then it goes. When
the disk has less room than it should, the content that was left longest ago goes first, retained or not. What failed on
the node is not kept at all.

Time is the time of day, because a node is off for weeks; a clock that was not set yet is known by being before this
program was written, and then nothing is left and nothing goes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from backstay.core.planes import ContentDigest, Plane

LEAST: Final = timedelta(hours=1)
"""A rehearsal leaves a version and comes back to it; a second download would prove nothing."""
CLOCK_IS_SET: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Spare:
    """A content that is kept and neither runs nor is anybody's fallback."""

    plane: Plane
    content: ContentDigest
    retain: timedelta = timedelta(0)
    """How long it is retained after it was left."""
    has_failed: bool = False
    """It failed on this node."""


def left_since(
    known: Mapping[ContentDigest, datetime], spare: Iterable[Spare], now: datetime
) -> Mapping[ContentDigest, datetime]:
    """When each spare content was left, by what is known of them; what was not spare before has been left now."""
    return {one.content: min(known.get(one.content, now), now) for one in spare}


def retained(spare: Iterable[Spare], left: Mapping[ContentDigest, datetime], now: datetime) -> tuple[Spare, ...]:
    """The spare contents that are still to be kept, the one that was left longest ago first."""
    kept = [one for one in spare if not one.has_failed and now < left[one.content] + max(one.retain, LEAST)]
    return tuple(sorted(kept, key=lambda one: (left[one.content], one.content)))
