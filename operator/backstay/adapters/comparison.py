"""Devices of a ring against devices of the baseline: a permutation test, exact where it can be, and aware of ties.

The values are exchanged between the two sides in every way there is, or in very many drawn ones; how often that makes a
difference at least as bad as the one observed is how likely chance alone makes it. Nothing is assumed of how the values
are distributed, and equal values are no special case.
"""

from collections.abc import Sequence
from math import ceil, comb, isfinite
from typing import TYPE_CHECKING, Final

from backstay.core.signals import (
    FEWEST_COMPARED,
    Broken,
    Compared,
    Comparison,
    Direction,
    TooFew,
    allowed_chance,
)

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    Values = NDArray[float64]

_SEED: Final = 20_231
"""The same values always get the same answer."""

_FIRST_LOOK: Final = 20_000
_BATCH: Final = 1_000
_RESOLVED_OVERRUN: Final = 10
"""So many looks beyond the planned ones can still convict: their limits shrink too fast to draw for all of them."""


def compare(
    comparison: Comparison, ring: Sequence[float], baseline: Sequence[float], looks: int
) -> Compared | TooFew | Broken:
    """Set the ring's values, one for each device, against the baseline's; a positive difference is one for the worse.

    There are too few when a side has fewer than five, and also when so few devices could not convict anything: where
    even the worst of all exchanges is likelier than what one planned look may spend, a pass would mean nothing.

    Blocks for seconds when a thousand devices look bad.
    """
    infinite = sum(not isfinite(value) for value in (*ring, *baseline))
    if infinite:
        return Broken(f"{infinite} devices have no finite value to compare; bound the query with clamp()")
    allowed = allowed_chance(comparison.confidence, 1, looks)
    is_few = min(len(ring), len(baseline)) < FEWEST_COMPARED
    if is_few or not allowed or comb(len(ring) + len(baseline), len(ring)) < 1 / allowed:
        return TooFew(len(ring), len(baseline))
    sign = 1.0 if comparison.direction is Direction.INCREASE else -1.0
    worse = sign * (sum(ring) / len(ring) - sum(baseline) / len(baseline))
    if not isfinite(worse):
        return Broken("the values are too large to compare; bound the query with clamp()")
    chance = _chance(ring, baseline, sign, _FIRST_LOOK)
    if worse >= float(comparison.effect) and chance <= 10 * allowed:
        # Close to a conviction: draw so many exchanges that the answer can be told from the limit.
        least = min(allowed, allowed_chance(comparison.confidence, looks + _RESOLVED_OVERRUN, looks))
        chance = _chance(ring, baseline, sign, max(_FIRST_LOOK, ceil(4 / least)))
    return Compared(worse, chance, len(ring), len(baseline), looks)


def _chance(ring: Sequence[float], baseline: Sequence[float], sign: float, exchanges: int) -> float:
    # Half a second and 60 MB that a process without comparisons never needs.
    import numpy as np  # noqa: PLC0415
    from scipy import stats  # noqa: PLC0415

    def worse(left: "Values", right: "Values", axis: int) -> "Values":
        difference: Values = np.mean(left, axis=axis) - np.mean(right, axis=axis)
        return sign * difference

    found = stats.permutation_test(
        (np.asarray(ring), np.asarray(baseline)),
        worse,
        permutation_type="independent",
        alternative="greater",
        vectorized=True,
        n_resamples=exchanges,
        batch=_BATCH,
        rng=np.random.default_rng(_SEED),
    )
    return float(found.pvalue)
