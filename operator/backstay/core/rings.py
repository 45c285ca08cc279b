"""Who belongs to which ring: stable, without anything stored but the assignment on the device."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from backstay.core.devices import DeviceName
from backstay.core.plan import Ring


@dataclass(frozen=True, slots=True)
class Candidate:
    """What membership depends on, and nothing else of a device."""

    name: DeviceName
    labels: Mapping[str, str]
    standing: str | None = None
    """The ring that the device was already assigned to in this revision."""


def rank(plan_key: str, device: DeviceName) -> bytes:
    """Where a device stands in a plan's order: fixed for ever by the two names, and even over the fleet."""
    return sha256(f"{plan_key}\n{device}".encode()).digest()


def members_of_rings(candidates: Iterable[Candidate], rings: tuple[Ring, ...], plan_key: str) -> dict[DeviceName, int]:
    """Give each device the index of its ring; a device that no ring takes is left out.

    A standing assignment is kept whatever the fleet looks like now: promotion never reshuffles who was tested.
    """
    ordered = sorted(candidates, key=lambda candidate: rank(plan_key, candidate.name))
    index_of = {ring.name: index for index, ring in enumerate(rings)}
    taken = {candidate.name: index_of[candidate.standing] for candidate in ordered if candidate.standing in index_of}
    for index, ring in enumerate(rings):
        pool = [c for c in ordered if ring.selector is None or ring.selector.matches(c.labels)]
        free = [candidate for candidate in pool if candidate.name not in taken]
        for candidate in free[: _wanted(ring, index, pool, taken)]:
            taken[candidate.name] = index
    return taken


def _wanted(ring: Ring, index: int, pool: list[Candidate], taken: Mapping[DeviceName, int]) -> int:
    """How many devices the ring still takes: its size counts those of earlier rings, its minimum does not."""
    if ring.size is None:
        return len(pool)
    so_far = sum(1 for candidate in pool if taken.get(candidate.name, index + 1) <= index)
    own = sum(1 for candidate in pool if taken.get(candidate.name) == index)
    return max(0, ring.size.of(len(pool)) - so_far, ring.minimum - own)
