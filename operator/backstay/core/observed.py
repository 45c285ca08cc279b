"""All that a decision may look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backstay.core.fleet import FleetView
from backstay.core.holds import Hold
from backstay.core.plan import Plan, Size
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.reasons import Because
from backstay.core.requests import Request, Unreadable
from backstay.core.revision import RevisionState
from backstay.core.signals import Verdict
from backstay.core.windows import Window


@dataclass(frozen=True, slots=True)
class GroupRules:
    """What all plans must respect when they change devices of one group, and how the group stands."""

    paused: bool = False
    windows: tuple[Window, ...] = ()
    max_unavailable: Size | None = None
    devices: int = 0
    unavailable: int = 0
    """Devices of the group that are changing or unhealthy, over all plans."""


@dataclass(frozen=True, slots=True)
class Rival:
    """Another plan of the namespace, as far as it may want the same devices."""

    name: str
    planes: frozenset[Plane]
    groups: frozenset[str]
    goes_first: bool
    """It is the older of the two."""


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
    groups: Mapping[str, GroupRules] = field(default_factory=dict)
    """The rules of the namespace's groups; one that has none is left out."""
    rivals: tuple[Rival, ...] = ()
    """The other plans that exist in the namespace."""
    request: Request | Unreadable | None = None
    """What a person asks for, if the plan has not answered it yet."""
