"""What a device does not try again, because it failed on this device: by the digest of its content.

It holds what it saw itself. Whether a version is bad for others too is the operator's to judge, by its holds.

- Only what was switched to and did not prove itself is frozen: not what never arrived, and nothing that was withdrawn.
- Whether home was reached is the network's doing as easily as the version's, and here nobody can tell which: a version
  that failed in nothing else goes back, and may be tried again.
- A rehearsal says nothing of a version, and a return is never refused: what a device came from must stay within reach.
- A person undoes it: `backstay recover` forgets all of it, and a step that a person asked to have tried again is tried.
- Content that runs already is not refused: nothing would be changed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from backstay.core.device import Cause, Order, Progress, Reason, probes_named, shortened
from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import ContentDigest, Plane

MOST_FROZEN: Final = 32
"""The oldest is forgotten then, so that the record stays small."""
LONGEST_WHY: Final = 160
_SEEN_TO_FAIL: Final = frozenset({Reason.PROBE_FAILED, Reason.CONFIRM_TIMEOUT, Reason.WATCHDOG, Reason.BOOT_FAILED})
_REACHES_HOME: Final = "AgentConnected"
_ENDED: Final = frozenset({PlaneState.ROLLED_BACK, PlaneState.FAILED})


@dataclass(frozen=True, slots=True)
class Frozen:
    """One content that failed here, and how."""

    plane: Plane
    content: ContentDigest
    version: str
    why: str


def frozen_by(progress: Progress) -> Frozen | None:
    """What the end of a step freezes; None for all but an install that failed by itself after it was switched to."""
    order, cause = progress.order, progress.cause
    if order is None or cause is None or progress.state not in _ENDED or not progress.changed:
        return None
    if order.type is not StepType.INSTALL or order.rehearsal or cause.reason not in _SEEN_TO_FAIL:
        return None
    if cause.reason is Reason.PROBE_FAILED and _only_home_was_missed(order, cause):
        return None
    return Frozen(order.plane, order.content, order.version, shortened(str(cause), LONGEST_WHY))


def _only_home_was_missed(order: Order, cause: Cause) -> bool:
    reaching = {probe.name for probe in order.probes if probe.kind == _REACHES_HOME}
    return reaching.issuperset(probes_named(cause.detail))


def with_frozen(known: Iterable[Frozen], found: Frozen) -> tuple[Frozen, ...]:
    """All that is frozen, the newest last."""
    others = (one for one in known if (one.plane, one.content) != (found.plane, found.content))
    return (*others, found)[-MOST_FROZEN:]


def without(known: Iterable[Frozen], order: Order) -> tuple[Frozen, ...]:
    """What stays frozen when an order's content is to be tried again."""
    return tuple(one for one in known if (one.plane, one.content) != (order.plane, order.content))


def refusal(known: Iterable[Frozen], order: Order) -> Cause | None:
    """Why an order is refused; None where nothing that is frozen is to be installed."""
    if order.type is not StepType.INSTALL or order.again:
        return None
    one = next((one for one in known if (one.plane, one.content) == (order.plane, order.content)), None)
    return None if one is None else Cause(Reason.FROZEN, f"it failed on this device before, {one.why}")
