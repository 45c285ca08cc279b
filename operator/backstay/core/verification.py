"""Whether health came back after a plane was returned."""

from datetime import datetime
from enum import Enum, auto
from math import ceil

from backstay.core.gates import UNCLEAR, FailedGate, Gate, Passed, Waiting, is_excused, unclear_for_too_long
from backstay.core.observed import Observed
from backstay.core.reasons import Because, Reason
from backstay.core.revision import RevisionState
from backstay.core.signals import Result


def recovery_gate(observed: Observed, state: RevisionState, now: datetime) -> Gate:
    """Judge every signal once, on the first verdict from after the whole verification window.

    A plan without signals has only its devices' word, and that was given when they returned.
    """
    end = state.since + observed.plan.rollback.verify
    if now < end:
        seconds = ceil((end - now).total_seconds())
        return Waiting((Because(Reason.VERIFYING, f"verifying that health returns, {seconds} s left"),), end)
    if too_long := unclear_for_too_long(observed, state, now):
        return too_long
    found: dict[_Says, list[Because]] = {says: [] for says in _Says}
    for signal in observed.plan.signals:
        if not signal.dry_run:
            says, because = _look(observed, state, signal.name, end)
            found[says].append(because)
    if bad := found[_Says.BAD]:
        words = "; ".join(because.message for because in bad)
        return FailedGate(Because(Reason.HEALTH_STILL_BAD, f"health has not returned: {words}"), ())
    if waits := found[_Says.NOTHING_YET]:
        return Waiting(tuple(waits))
    words = "; ".join(because.message for because in found[_Says.GOOD])
    told = f"health has returned: {words}" if words else "every reachable device returned"
    return Passed(Because(Reason.HEALTH_RETURNED, told))


class _Says(Enum):
    """What one signal says of a recovery."""

    GOOD = auto()
    BAD = auto()
    NOTHING_YET = auto()


def _look(observed: Observed, state: RevisionState, signal: str, end: datetime) -> tuple[_Says, Because]:
    """What a signal says at the end of the window; a comparison for which the release left no baseline is excused."""
    verdict = observed.verdicts.get(signal)
    if verdict is None or verdict.at < end:
        return _Says.NOTHING_YET, Because(Reason.VERIFYING, f"waiting for a fresh verdict of {signal}")
    words = f"{signal}: {verdict.message}"
    if verdict.result is Result.FAIL:
        return _Says.BAD, Because(Reason.HEALTH_STILL_BAD, words)
    if verdict.result is Result.PASS or is_excused(observed, state, verdict):
        return _Says.GOOD, Because(Reason.HEALTH_RETURNED, words)
    return _Says.NOTHING_YET, Because(UNCLEAR[verdict.result], words)
