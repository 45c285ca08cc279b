"""What is remembered of a revision ⇄ the plan's status, where it survives a crash."""

from typing import Any

from backstay.api.releaseplan_status import LONGEST_CAUSE, PastRevision, ReleasePlanStatus
from backstay.core.devices import RevisionName
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Outcome, Phase, RevisionState, Tally

Json = dict[str, Any]


def state_from(status: ReleasePlanStatus) -> RevisionState | None:
    """The state that the status remembers; None before the plan's first revision."""
    progress = status.progress
    since = progress.since or status.phase_since
    if not progress.counter or status.phase is None or since is None:
        return None
    cause = progress.cause
    return RevisionState(
        revision=RevisionName(status.revision),
        counter=progress.counter,
        hash=progress.hash,
        phase=Phase(status.phase.value),
        since=since,
        ring=progress.ring_index,
        plane=progress.plane,
        suspects=progress.suspects,
        reverted=progress.reverted,
        beside=progress.beside,
        cause=None if cause is None else Because(Reason(cause.reason), cause.message),
        tallies=tuple(Tally(signal.name, signal.failures, signal.last_at or since) for signal in progress.signals),
    )


def progress_of(state: RevisionState) -> Json:
    """The state as `status.progress` keeps it; `state_from` reads it back, with a very long cause cut short."""
    cause = state.cause
    return {
        "counter": state.counter,
        "hash": state.hash,
        "ringIndex": state.ring,
        "since": state.since.isoformat(),
        "plane": state.plane,
        "suspects": list(state.suspects),
        "reverted": list(state.reverted),
        "beside": list(state.beside),
        # The evidence names every failing signal and has no bound; a status that is too long is refused as a whole.
        "cause": None if cause is None else {"reason": cause.reason, "message": cause.message[:LONGEST_CAUSE]},
        "signals": [
            {"name": tally.signal, "failures": tally.failures, "lastAt": tally.at.isoformat()}
            for tally in state.tallies
        ],
    }


def outcome_from(past: PastRevision) -> Outcome:
    """How an earlier revision ended, as the history has it."""
    return Outcome(RevisionName(past.revision), Phase(past.phase.value), past.ended, past.reason)
