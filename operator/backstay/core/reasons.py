"""Why a decision is as it is: reasons for machines, and sentences for the person who is paged."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """CamelCase, because they become reasons of conditions and Events."""

    # Nothing ships
    NO_PATH = "NoPath"
    NO_WAY_BACK = "NoWayBack"
    FROZEN = "Frozen"
    CONFLICT = "Conflict"
    UNRESOLVED_ARTIFACT = "ArtifactUnresolved"
    EMPTY_RING = "EmptyRing"
    # Moving
    REVISION_STARTED = "RevisionStarted"
    RING_STARTED = "RingStarted"
    RING_CONFIRMED = "RingConfirmed"
    RING_PROMOTED = "RingPromoted"
    DISPATCHING = "Dispatching"
    WAITING_FOR_DEVICES = "WaitingForDevices"
    SOAKING = "Soaking"
    REHEARSING = "Rehearsing"
    RECOVERY_PROVEN = "RecoveryProven"
    RETRYING = "Retrying"
    SUCCEEDED = "Succeeded"
    # Waiting for somebody
    PAUSED = "Paused"
    HELD = "Held"
    BLOCKED = "Blocked"
    WAITING_FOR_APPROVAL = "WaitingForApproval"
    WINDOW_CLOSED = "WindowClosed"
    GROUP_BUSY = "GroupBusy"
    WAITING_FOR_OFFLINE = "WaitingForOffline"
    BUDGET_SPENT = "BudgetSpent"
    CANNOT_FALL_BACK = "CannotFallBack"
    CATCH_UP_STOPPED = "CatchUpStopped"
    NO_DATA = "NoData"
    PROVIDER_ERROR = "ProviderError"
    INCONCLUSIVE = "Inconclusive"
    # A person asked
    APPROVED = "Approved"
    RESUMED = "Resumed"
    RETRIED = "Retried"
    ROLLBACK_ASKED = "RollbackAsked"
    REQUEST_REFUSED = "RequestRefused"
    # Stopping for a person
    UNDELIVERED = "Undelivered"
    IRREVERSIBLE = "Irreversible"
    UNCLEAR_TOO_LONG = "UnclearTooLong"
    REHEARSAL_FAILED = "RehearsalFailed"
    # Going back
    STEP_FAILED = "StepFailed"
    TOO_FEW_CONFIRMED = "TooFewConfirmed"
    SIGNAL_FAILED = "SignalFailed"
    RETURNING = "Returning"
    VERIFYING = "Verifying"
    HEALTH_RETURNED = "HealthReturned"
    HEALTH_STILL_BAD = "HealthStillBad"
    NOT_ALL_RETURNED = "NotAllReturned"
    FREEZING = "Freezing"
    ROLLED_BACK = "RolledBack"
    UNRESOLVED = "Unresolved"


def devices(count: int) -> str:
    """So many devices, in words."""
    return "1 device" if count == 1 else f"{count} devices"


@dataclass(frozen=True, slots=True)
class Because:
    """One reason, in words that name devices, planes and limits."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
