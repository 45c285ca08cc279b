"""Counts as bars: what each part is, how many there are, and how wide it is drawn."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from backstay.api.releaseplan_status import RingStatus
from backstay.core.standing import Standing

_LEAST: Final = 0.8
"""What there is at all is seen, however large the whole."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar; widths and places are in percent."""

    name: str
    tone: str
    count: int
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Bar:
    """Parts side by side, and the whole that they are of."""

    parts: tuple[Part, ...]
    total: int

    @property
    def words(self) -> str:
        """The bar for whoever does not see it."""
        told = ", ".join(f"{part.count} {part.name}" for part in self.parts)
        return f"{told or 'none'} of {self.total}"


TONES: Final = {
    Standing.HEALTHY: "ok",
    Standing.CHANGING: "run",
    Standing.FAILED: "bad",
    Standing.UNHEALTHY: "bad",
    Standing.OFFLINE: "off",
}


def bar(counts: Iterable[tuple[str, str, int]], total: int) -> Bar:
    """Parts given as name, tone and count, in that order; what is bad gets its room first."""
    kept = [(name, tone, count) for name, tone, count in counts if count > 0]
    whole = max(total, sum(count for _, _, count in kept), 1)
    widths = [max(_LEAST, 100 * count / whole) for _, _, count in kept]
    # The least widths may add up to more than there is; the widest part gives way.
    if kept and (over := sum(widths) - 100) > 0:
        widest = widths.index(max(widths))
        widths[widest] -= over
    parts, left = [], 0.0
    for (name, tone, count), width in zip(kept, widths, strict=True):
        parts.append(Part(name, tone, count, round(left, 2), round(width, 2)))
        left += width
    return Bar(tuple(parts), total)


def ring_bar(ring: RingStatus) -> Bar:
    """How far a ring is filled."""
    return bar(
        (
            ("confirmed", "ok", ring.confirmed),
            ("changing", "run", ring.in_flight),
            ("failed", "bad", ring.failed),
            ("offline", "off", ring.offline),
        ),
        ring.target,
    )


def standing_bar(counts: Iterable[tuple[Standing, int]], total: int) -> Bar:
    """How devices stand."""
    by = dict(counts)
    order = (Standing.HEALTHY, Standing.CHANGING, Standing.FAILED, Standing.UNHEALTHY, Standing.OFFLINE)
    return bar(((standing.value.lower(), TONES[standing], by.get(standing, 0)) for standing in order), total)
