"""The order of single-plane changes from what a device runs to what it shall run.

Every set on the way must be compatible, because a device stays on any of them for as long as its
next step takes, or for good if that step fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Final

from backstay.core.planes import Plane, Release, Unmet, VersionSet, unmet_requirements

FORWARD: Final = (Plane.FIRMWARE, Plane.MODEL, Plane.CONFIG)
"""Lower layers first: what a higher layer needs is usually new in the lower one."""


@dataclass(frozen=True, slots=True)
class Path:
    """Releases in the order in which a device takes them; empty when it is there already."""

    steps: tuple[Release, ...]


@dataclass(frozen=True, slots=True)
class NoPath:
    """Why no order works: what stops the order that gets furthest; empty where there is no place to go."""

    unmet: tuple[Unmet, ...]

    def __str__(self) -> str:
        return "; ".join(str(unmet) for unmet in self.unmet) or "there is nothing to go back to"


def path_between(
    running: VersionSet,
    target: Mapping[Plane, Release],
    prefer: tuple[Plane, ...] = FORWARD,
) -> Path | NoPath:
    """Find the first order, by preference, in which every set after a change is compatible.

    The running set itself is not judged: a device that is already broken may be mended.
    """
    changes = [
        target[plane]
        for plane in sorted(target, key=prefer.index)
        if (now := running.get(plane)) is None or now.content != target[plane].content
    ]
    furthest: tuple[int, tuple[Unmet, ...]] = (-1, ())
    for order in permutations(changes):
        taken, unmet = _walk(running, order)
        if not unmet:
            return Path(order)
        furthest = max(furthest, (taken, unmet), key=lambda reached: reached[0])
    final = unmet_requirements(VersionSet.of({**{release.plane: release for release in running}, **target}))
    return NoPath(final or furthest[1])


def path_back(running: VersionSet, earlier: VersionSet, prefer: tuple[Plane, ...]) -> Path | NoPath:
    """The same search towards an earlier set; a plane that was empty then keeps what it has."""
    return path_between(running, {release.plane: release for release in earlier}, prefer)


def _walk(running: VersionSet, order: tuple[Release, ...]) -> tuple[int, tuple[Unmet, ...]]:
    """How many changes can be made in this order, and what stops the next."""
    reached = running
    for taken, release in enumerate(order):
        reached = reached.changed(release)
        if unmet := unmet_requirements(reached):
            return taken, unmet
    return len(order), ()
