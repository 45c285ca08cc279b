"""What a decision asks the shell to do."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from backstay.core.devices import DeviceName, Drill, RevisionName, StepType
from backstay.core.fleet import RingCounts
from backstay.core.holds import Conviction
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.reasons import Because
from backstay.core.revision import Outcome, Phase, RevisionState, Segment
from backstay.core.signals import Verdict


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Order one device to make one change; only if it is still as it was seen."""

    device: DeviceName
    resource_version: str
    number: int
    type: StepType
    release: Release
    ring: str
    expires: datetime
    attempt: int = 1
    drill: Drill | None = None
    again: bool = False
    """A person asked for it to be tried again, whatever the device has seen of it."""


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Take an order back that the device has not begun, because a hold now covers it."""

    device: DeviceName
    resource_version: str
    number: int


@dataclass(frozen=True, slots=True)
class Freeze:
    """Stop a version everywhere, by content, until a person lifts it."""

    plane: Plane
    content: ContentDigest
    version: str
    conviction: Conviction
    evidence: str
    segment: Segment | None = None
    """The devices for which it is frozen; None for all."""

    @property
    def hold_name(self) -> str:
        """The same freeze always has the same name, so that a crash never makes two."""
        digest = self.content.removeprefix("sha256:")[:12]
        part = "" if self.segment is None else f"-{sha256(str(self.segment).encode()).hexdigest()[:8]}"
        return f"frozen-{self.plane}-{digest}{part}"


Action = Dispatch | Withdraw | Freeze


class AlertKind(StrEnum):
    """What a person is paged for."""

    ROLLING_BACK = "BackstayRollingBack"
    ROLLED_BACK = "BackstayRolledBack"
    UNRESOLVED = "BackstayUnresolved"
    HALTED = "BackstayHalted"
    BLOCKED = "BackstayBlocked"
    FROZEN = "BackstayFrozenVersionRequested"
    PROVIDER_ERROR = "BackstayProviderError"


@dataclass(frozen=True, slots=True)
class Alert:
    """A page that is due for as long as decisions name it."""

    kind: AlertKind
    summary: str
    plane: Plane | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Whose health is to be looked at next; no ring means all that took part in the revision."""

    revision: RevisionName
    ring: str | None
    looks: int
    """How many evaluations of each signal the whole watch makes."""
    since: datetime | None = None
    """When the watch began: what has to be fresh must be from after it."""


@dataclass(frozen=True, slots=True)
class RingReport:
    """A ring as the status shows it."""

    name: str
    counts: RingCounts
    timed_out: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, what to do now, and why; a decision that changes the phase does nothing else.

    The shell persists the state before it acts, so that nothing is ever done in a phase that a crash forgets.
    """

    state: RevisionState
    actions: tuple[Action, ...]
    wake_at: datetime | None
    because: tuple[Because, ...]
    rings: tuple[RingReport, ...] = ()
    alerts: tuple[Alert, ...] = ()
    watch: Watch | None = None
    ended: Outcome | None = None
    """The revision that this decision superseded."""
    verdicts: tuple[Verdict, ...] = ()
    """The verdicts as the decision judged them."""
    answer: Because | None = None
    """How a person's request was answered, in the decision that answers it."""

    @property
    def phase(self) -> Phase:
        """The phase after this decision."""
        return self.state.phase
