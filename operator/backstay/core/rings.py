"""Who belongs to which ring: stable, without anything stored but the assignment on the device."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

from backstay.core.devices import DeviceName
from backstay.core.plan import Ring

RankKey = tuple[bytes, DeviceName]
"""Where a device stands in a plan's order; the name decides between two of one rank."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What membership depends on, and nothing else of a device."""

    name: DeviceName
    labels: Mapping[str, str]
    standing: str | None = None
    """The ring that the device was already assigned to in this revision."""


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


def members_of_rings(ordered: Sequence[Candidate], rings: tuple[Ring, ...]) -> dict[DeviceName, int]:
    """Give each device the index of its ring; a device that no ring takes is left out.

    Candidates come in order of rank. A standing assignment is kept whatever the fleet looks like now: promotion never
    reshuffles who was tested.
    """
    index_of = {ring.name: index for index, ring in enumerate(rings)}
    taken = {candidate.name: index_of[candidate.standing] for candidate in ordered if candidate.standing in index_of}
    for index, ring in enumerate(rings):
        selector = ring.selector
        pool = ordered if selector is None else [c for c in ordered if selector.matches(c.labels)]
        wanted = _wanted(ring, index, pool, taken)
        free = [candidate for candidate in pool if candidate.name not in taken]
        spread = _one_of_each(ring, index, pool, free, taken)
        chosen = dict.fromkeys((*(c.name for c in spread), *(c.name for c in islice(free, wanted))))
        for name in islice(chosen, max(wanted, len(spread))):
            taken[name] = index
    return taken


def _wanted(ring: Ring, index: int, pool: Sequence[Candidate], taken: Mapping[DeviceName, int]) -> int:
    """How many devices the ring still takes: its size counts those of earlier rings, its minimum does not."""
    if ring.size is None:
        return len(pool)
    so_far = sum(1 for candidate in pool if taken.get(candidate.name, index + 1) <= index)
    own = sum(1 for candidate in pool if taken.get(candidate.name) == index)
    return max(0, ring.size.of(len(pool)) - so_far, ring.minimum - own)


def _one_of_each(
    ring: Ring, index: int, pool: Sequence[Candidate], free: Sequence[Candidate], taken: Mapping[DeviceName, int]
) -> list[Candidate]:
    """The first free device for each value of the spreading labels that the ring does not have yet.

    A device that brings several values that are missing serves them all. A value that only earlier rings have is not
    missed, and a device without the label stands for nothing.
    """
    if not ring.spread_by:
        return []
    there = {
        (key, candidate.labels[key])
        for candidate in pool
        if taken.get(candidate.name) == index
        for key in ring.spread_by
        if key in candidate.labels
    }
    chosen = []
    for candidate in free:
        brings = {(key, candidate.labels[key]) for key in ring.spread_by if key in candidate.labels} - there
        if brings:
            there |= brings
            chosen.append(candidate)
    return chosen
