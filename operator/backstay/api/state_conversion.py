"""What is remembered of a revision ⇄ the plan's status, where it survives a crash."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from backstay.api.releaseplan_status import (
    LONGEST_CALLER,
    LONGEST_CAUSE,
    LONGEST_QUERY,
    LONGEST_VERDICT,
    MOST_VERDICTS,
    Cause,
    DrillProgress,
    PastRevision,
    ReleasePlanStatus,
    SegmentLabel,
    SignalProgress,
    SignalVerdict,
)
from backstay.core.devices import DeviceName, RevisionName
from backstay.core.reasons import Because, Reason
from backstay.core.revision import DrillState, Outcome, Phase, RevisionState, Segment, Tally
from backstay.core.signals import Verdict

Json = dict[str, Any]

_NO_RULES: Final[Mapping[str, str]] = MappingProxyType({})


def state_from(status: ReleasePlanStatus) -> RevisionState | None:
    """The state that the status remembers; None before the plan's first revision."""
    progress = status.progress
    since = progress.since or status.phase_since
    if not progress.counter or status.phase is None or since is None:
        return None
    return RevisionState(
        revision=RevisionName(status.revision),
        counter=progress.counter,
        hash=progress.hash,
        phase=Phase(status.phase.value),
        since=since,
        ring=progress.ring_index,
        ring_since=progress.ring_since,
        plane=progress.plane,
        suspects=progress.suspects,
        reverted=progress.reverted,
        beside=progress.beside,
        cause=None if progress.cause is None else _because(progress.cause),
        evidence=tuple(map(_verdict, status.evidence)),
        segment=None if progress.segment is None else _segment(progress.segment),
        confined_to_ring=progress.confined_to_ring,
        recovered_unaided=progress.recovered_unaided,
        asked_by=progress.asked_by,
        approved=progress.approved,
        pardoned=progress.pardoned,
        retried_at=progress.retried_at,
        halted_from=None if progress.halted_from is None else Phase(progress.halted_from.value),
        drills=tuple(map(_drill, progress.drills)),
        rehearsed=progress.rehearsed,
        tallies=tuple(_tally(signal, since) for signal in progress.signals),
        handled=status.last_handled_request,
    )


def progress_of(state: RevisionState) -> Json:
    """The state as `status.progress` keeps it, with a very long text cut short.

    With `evidence_of` as `status.evidence` and `handled` as `status.lastHandledRequest`, `state_from` reads it back.
    """
    cause, segment = state.cause, state.segment
    return {
        "counter": state.counter,
        "hash": state.hash,
        "ringIndex": state.ring,
        "ringSince": _time(state.ring_since),
        "since": _time(state.since),
        "plane": state.plane,
        "suspects": list(state.suspects),
        "reverted": list(state.reverted),
        "beside": list(state.beside),
        # The evidence names every failing signal and has no bound; a status that is too long is refused as a whole.
        "cause": None if cause is None else {"reason": cause.reason, "message": cause.message[:LONGEST_CAUSE]},
        "segment": None if segment is None else {"key": segment.key, "value": segment.value},
        "confinedToRing": state.confined_to_ring,
        "recoveredUnaided": state.recovered_unaided,
        "askedBy": None if state.asked_by is None else state.asked_by[:LONGEST_CALLER],
        "approved": state.approved,
        "pardoned": list(state.pardoned),
        "retriedAt": _time(state.retried_at),
        "haltedFrom": state.halted_from,
        "drills": [{"device": drill.device, "kind": drill.kind, "stage": drill.stage} for drill in state.drills],
        "rehearsed": list(state.rehearsed),
        "signals": [
            {
                "name": tally.signal,
                "failures": tally.failures,
                "total": tally.total,
                "looks": tally.looks,
                "lastAt": _time(tally.at),
                "unclearSince": _time(tally.unclear_since),
            }
            for tally in state.tallies
        ],
    }


def evidence_of(state: RevisionState, rules: Mapping[str, str] = _NO_RULES) -> list[Json]:
    """The verdicts that failed the gate as `status.evidence` keeps them, at most 20; `rules` are those of the signals.

    Of a comparison the words are kept, and not the figures behind them.
    """
    return [
        {
            "signal": verdict.signal,
            "rule": rules.get(verdict.signal, ""),
            "result": verdict.result,
            "value": None if verdict.value is None else repr(verdict.value),
            "query": verdict.query[:LONGEST_QUERY],
            "message": verdict.message[:LONGEST_VERDICT],
            "at": _time(verdict.at),
        }
        for verdict in state.evidence[:MOST_VERDICTS]
    ]


def verdicts_from(status: ReleasePlanStatus) -> dict[str, Verdict]:
    """The verdicts that the operator wrote down last, by signal."""
    return {written.signal: _verdict(written) for written in status.progress.verdicts}


def outcome_from(past: PastRevision) -> Outcome:
    """How an earlier revision ended, as the history has it."""
    return Outcome(RevisionName(past.revision), Phase(past.phase.value), past.ended, past.reason)


def _because(cause: Cause) -> Because:
    return Because(Reason(cause.reason), cause.message)


def _segment(written: SegmentLabel) -> Segment:
    return Segment(written.key, written.value)


def _drill(written: DrillProgress) -> DrillState:
    return DrillState(DeviceName(written.device), written.kind, written.stage)


def _tally(signal: SignalProgress, since: datetime) -> Tally:
    return Tally(
        signal=signal.name,
        failures=signal.failures,
        at=signal.last_at or since,
        total=signal.total,
        looks=signal.looks,
        unclear_since=signal.unclear_since,
    )


def _verdict(written: SignalVerdict) -> Verdict:
    return Verdict(
        signal=written.signal,
        result=written.result,
        at=written.at,
        query=written.query,
        value=None if written.value is None else float(written.value),
        message=written.message,
    )


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
