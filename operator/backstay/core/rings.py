"""Who belongs to which ring: stable, without anything stored but the assignment on the device."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from typing import Protocol

from backstay.core.devices import DeviceName
from backstay.core.plan import Ring

RankKey = tuple[bytes, DeviceName]
"""Where a device stands in a plan's order; the name decides between two of one rank."""


class Candidate(Protocol):
    """What membership depends on, and nothing else of a device."""

    @property
    def labels(self) -> Mapping[str, str]:
        """The device's labels."""

    @property
    def standing(self) -> int | None:
        """The index of the ring that the device was already assigned to in this revision."""


def rank(plan_key: str, device: DeviceName) -> bytes:
    """Where a device stands in a plan's order: fixed for ever by the two names, and even over the fleet."""
    return sha256(f"{plan_key}\n{device}".encode()).digest()[:8]


def labels_that_matter(rings: Iterable[Ring]) -> frozenset[str]:
    """The keys on which membership depends; a change of any other label moves nobody."""
    return frozenset(
        key
        for ring in rings
        for keys in (
            ring.spread_by,
            () if ring.selector is None else (expression.key for expression in ring.selector.expressions),
        )
        for key in keys
    )


def rings_of(ordered: Sequence[Candidate], rings: tuple[Ring, ...]) -> list[int | None]:
    """Give each candidate the index of its ring, None where no ring takes it.

    Candidates come in order of rank, and are answered in the same. A standing assignment is kept whatever the fleet
    looks like now: promotion never reshuffles who was tested.
    """
    taken = [candidate.standing for candidate in ordered]
    for index, ring in enumerate(rings):
        pool = _pool(ring, ordered)
        wanted = _wanted(ring, index, pool, taken)
        spread = _one_of_each(ring, index, pool, ordered, taken)
        chosen: Iterable[int] = (at for at in pool if taken[at] is None)
        if spread:
            chosen = dict.fromkeys((*spread, *islice(chosen, wanted)))
        for at in islice(chosen, max(wanted, len(spread))):
            taken[at] = index
    return taken


def _pool(ring: Ring, ordered: Sequence[Candidate]) -> Sequence[int]:
    """Where in the order those stand that a ring may take."""
    if ring.selector is None:
        return range(len(ordered))
    matches = ring.selector.for_many()
    return [at for at, candidate in enumerate(ordered) if matches(candidate.labels)]


def _wanted(ring: Ring, index: int, pool: Sequence[int], taken: Sequence[int | None]) -> int:
    """How many devices the ring still takes: its size counts those of earlier rings, its minimum does not."""
    if ring.size is None:
        return len(pool)
    so_far = Counter([taken[at] for at in pool])
    earlier = sum(so_far[one] for one in range(index + 1))
    return max(0, ring.size.of(len(pool)) - earlier, ring.minimum - so_far[index])


def _one_of_each(
    ring: Ring, index: int, pool: Sequence[int], ordered: Sequence[Candidate], taken: Sequence[int | None]
) -> list[int]:
    """The free devices that stand for a value of the spreading labels: of each value the first by rank.

    Who stands for a value follows from the ranks alone, so that whoever was ordered already changes nothing for the
    others. A value that only earlier rings have is not missed, and a device without the label stands for nothing.
    """
    chosen: set[int] = set()
    found: dict[str, set[str | None]] = {key: {None} for key in ring.spread_by}
    if not found:
        return []
    for at in pool:
        if taken[at] is not None and taken[at] != index:
            continue
        labels = ordered[at].labels
        for key, values in found.items():
            if (value := labels.get(key)) not in values:
                values.add(value)
                chosen.add(at)
    return sorted(at for at in chosen if taken[at] is None)
