"""All that a decision may look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backstay.core.devices import RevisionName
from backstay.core.fleet import FleetView
from backstay.core.holds import Hold
from backstay.core.plan import Plan
from backstay.core.planes import ContentDigest, Release
from backstay.core.reasons import Because
from backstay.core.revision import Phase, RevisionState
from backstay.core.signals import Verdict


@dataclass(frozen=True, slots=True)
class Observed:
    """One plan and its devices at one moment, however old that view is."""

    plan: Plan
    """As snapshotted when the revision started; as the person wrote it before that."""
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
    outcomes: Mapping[RevisionName, Phase] = field(default_factory=dict)
    """How the plan's earlier revisions ended."""
    paused_groups: frozenset[str] = frozenset()
