"""Whether health came back after a plane was returned."""

from datetime import datetime

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
        seconds = int((end - now).total_seconds()) + 1
        return Waiting((Because(Reason.VERIFYING, f"verifying that health returns, {seconds} s left"),), end)
    if too_long := unclear_for_too_long(observed, state, now):
        return too_long
    waits, failed, passed = [], [], []
    for signal in observed.plan.signals:
        if signal.dry_run:
            continue
        verdict = observed.verdicts.get(signal.name)
        if verdict is None or verdict.at < end:
            waits.append(Because(Reason.VERIFYING, f"waiting for a fresh verdict of {signal.name}"))
            continue
        words = f"{signal.name}: {verdict.message}"
        if is_excused(observed, state, verdict):
            passed.append(words)
        elif reason := UNCLEAR.get(verdict.result):
            waits.append(Because(reason, words))
        elif verdict.result is Result.FAIL:
            failed.append(words)
        else:
            passed.append(words)
    if failed:
        return FailedGate(Because(Reason.HEALTH_STILL_BAD, "; ".join(failed)), ())
    if waits:
        return Waiting(tuple(waits))
    return Passed(Because(Reason.HEALTH_RETURNED, "; ".join(passed) or "every reachable device returned"))
