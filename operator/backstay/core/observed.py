"""All that a decision may look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backstay.core.fleet import FleetView
from backstay.core.holds import Hold
from backstay.core.plan import Plan
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.reasons import Because
from backstay.core.revision import RevisionState
from backstay.core.signals import Verdict


@dataclass(frozen=True, slots=True)
class Observed:
    """One plan and its devices at one moment, however old that view is."""

    plan: Plan
    """The plan that rules now, as `backstay.core.revision.ruling_plan` chooses it."""
    fleet: FleetView
    state: RevisionState | None = None
    """None before the plan's first revision."""
    refusal: Because | None = None
    """Why the plan's versions cannot be resolved, or ask for what does not exist yet: then nothing may start."""
    holds: tuple[Hold, ...] = ()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    """The latest verdict of each signal for the watch that the last decision asked for."""
    known: Mapping[ContentDigest, Release] = field(default_factory=dict)
    """Every release that was ever resolved here; what only a device knows is not in it."""
    unproven: frozenset[tuple[Plane, ContentDigest]] = frozenset()
    """What earlier revisions of the plan shipped and none of those that succeeded did."""
    paused_groups: frozenset[str] = frozenset()
    rivals: frozenset[str] = frozenset()
    """The other plans that exist in the namespace."""
