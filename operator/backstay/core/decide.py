"""The decision: what a plan's next state is, what to do now, and why.

A decision either moves the revision to another phase or acts within the one it is in, never both: the
shell persists the state before it acts, so whatever was done is always explained by a phase on record.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from backstay.core.actions import Action, Decision, Dispatch, Freeze, Withdraw
from backstay.core.alerts import refusal_alert, standing_alerts
from backstay.core.asking import answer
from backstay.core.devices import StepType
from backstay.core.gates import counted, judged
from backstay.core.observed import Observed
from backstay.core.plan import revision_hash
from backstay.core.reasons import Because, Reason
from backstay.core.rehearsing import rehearsing
from backstay.core.revision import (
    FINISHES_FIRST,
    TRANSITIONS,
    Phase,
    RevisionState,
    counter_of,
    ending_of,
)
from backstay.core.rolling_back import after_rollback, rolling_back, verifying
from backstay.core.rolling_out import pending, rolling, soaking, stabilizing, succeeded
from backstay.core.transition import ring_reports, stay


def decide(observed: Observed, now: datetime) -> Decision:
    """Say what happens next; the same observations at the same time always give the same decision."""
    state = observed.state
    observed.fleet.cover(tuple(hold for hold in observed.holds if hold.is_in_force(now)))
    observed.fleet.confine(None if state is None else state.segment)
    if observed.refusal is not None and (state is None or state.phase is Phase.PENDING or not observed.plan.target):
        return _refused(observed, observed.refusal, now)
    if state is None or state.revision != observed.fleet.revision:
        return _begin(observed, now)
    decision = _within_revision(observed, state, now)
    same = decision.state.revision == state.revision
    if same and decision.phase is not state.phase and decision.phase not in TRANSITIONS[state.phase]:
        message = f"{state.phase} may not become {decision.phase}"
        raise AssertionError(message)
    return decision


def _within_revision(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    observed = replace(observed, verdicts=judged(observed, state))
    state = counted(observed, state)
    found = answer(observed, state, now) or _within_phase(observed, state, now)
    if observed.refusal is None or state.phase in FINISHES_FIRST:
        return found
    return _only_back(observed, state, found, observed.refusal, now)


def _within_phase(  # noqa: C901, PLR0911 - one answer for each phase
    observed: Observed, state: RevisionState, now: datetime
) -> Decision:
    match state.phase:
        case Phase.PENDING:
            return pending(observed, state, now)
        case Phase.ROLLING:
            return rolling(observed, state, now)
        case Phase.SOAKING:
            return soaking(observed, state, now)
        case Phase.REHEARSING:
            return rehearsing(observed, state, now)
        case Phase.STABILIZING:
            return stabilizing(observed, state, now)
        case Phase.SUCCEEDED:
            return succeeded(observed, state, now)
        case Phase.ROLLING_BACK:
            return rolling_back(observed, state, now)
        case Phase.VERIFYING:
            return verifying(observed, state, now)
        case Phase.ROLLED_BACK | Phase.UNRESOLVED:
            return after_rollback(observed, state, now)
        case Phase.HALTED | Phase.SUPERSEDED:
            because = (state.cause,) if state.cause else ()
            return stay(observed, state, now, because=because)
        case _:
            assert_never(state.phase)


def _refused(observed: Observed, refusal: Because, now: datetime) -> Decision:
    """Nothing has started that could fail or go back: say what is wrong, and wait until it is mended."""
    state = observed.state or RevisionState(observed.fleet.revision, 0, "", Phase.PENDING, now)
    if answered := answer(observed, state, now):
        return answered
    alerts = (refusal_alert(observed.plan, refusal), *standing_alerts(observed.plan, state))
    return Decision(state, (), None, (refusal,), ring_reports(observed, now), alerts)


def _only_back(observed: Observed, state: RevisionState, found: Decision, refusal: Because, now: datetime) -> Decision:
    """What a revision still does whose plan asks for something else that is refused: it fails and goes back as ever.

    Nothing new starts and nothing is promoted, because nobody wants these versions any more.
    """
    alerts = (refusal_alert(observed.plan, refusal),)
    if found.answer is not None or found.phase in _TURNS_BACK:
        return replace(found, alerts=(*alerts, *found.alerts))
    actions = tuple(action for action in found.actions if _takes_back(action))
    wakes = [observed.fleet.next_deadline(ring, now) for ring in range(len(observed.plan.rings))]
    return stay(observed, state, now, actions=actions, because=(refusal,), wakes=wakes, alerts=alerts)


_TURNS_BACK: Final = frozenset({Phase.ROLLING_BACK, Phase.HALTED})


def _takes_back(action: Action) -> bool:
    match action:
        case Dispatch():
            return action.type is StepType.RETURN and action.drill is None
        case Withdraw() | Freeze():
            return True
        case _:
            assert_never(action)


def _begin(observed: Observed, now: datetime) -> Decision:
    """Open the revision that the plan now asks for; the one before ends as it stood."""
    before, plan = observed.state, observed.plan
    counter = counter_of(observed.fleet.revision)
    handled = before.handled if before else ""
    state = RevisionState(
        observed.fleet.revision, counter, revision_hash(plan.target), Phase.PENDING, now, handled=handled
    )
    versions = ", ".join(str(plan.target[plane]) for plane in sorted(plan.target))
    because = Because(Reason.REVISION_STARTED, f"revision {state.revision}: {versions}")
    return Decision(state, (), now, (because,), ended=ending_of(before, now))
