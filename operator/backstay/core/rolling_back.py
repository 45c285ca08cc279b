"""Going back: one plane at a time, the likeliest culprit first, until health has returned."""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from backstay.core.actions import Action, Decision, Dispatch, Freeze
from backstay.core.alerts import provider_alerts
from backstay.core.dispatch import Orders, orders_back
from backstay.core.gates import FailedGate, Passed, Waiting, ring_health
from backstay.core.holds import Conviction
from backstay.core.observed import Observed
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState
from backstay.core.steps import frozen_versions
from backstay.core.transition import move, stay
from backstay.core.verification import recovery_gate


def turn_back(observed: Observed, state: RevisionState, now: datetime, failed: FailedGate) -> Decision:
    """Stop going forward: keep the evidence, and return the likeliest culprit, or halt where the plan forbids it."""
    state = replace(state, cause=failed.because)
    if not observed.plan.rollback.automatic or not failed.suspects:
        return move(observed, state, now, Phase.HALTED, failed.because)
    suspects = failed.suspects
    return move(
        observed, replace(state, plane=suspects[0], suspects=suspects[1:]), now, Phase.ROLLING_BACK, failed.because
    )


def rolling_back(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Order devices back until no reachable one runs the suspect any more."""
    plane = _plane(state)
    orders = orders_back(observed, plane, now)
    because = (Because(Reason.RETURNING, f"devices return to their previous {plane}: {_cause(state)}"), *orders.because)
    if orders.is_complete and not orders.actions:
        return move(observed, state, now, Phase.VERIFYING, because[0])
    state = replace(state, beside=_beside(state, orders))
    wakes = [ring_health(observed, ring, now).next_deadline for ring in range(len(observed.plan.rings))]
    return stay(observed, state, now, actions=orders.actions, because=because, wakes=wakes)


def verifying(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Wait whether health returns; then freeze and end, or go on to the next suspect."""
    plane = _plane(state)
    late = orders_back(observed, plane, now)
    match recovery_gate(observed, state, now):
        case Waiting(waits, until):
            alerts = provider_alerts(observed.plan, waits)
            return stay(observed, state, now, actions=late.actions, because=waits, wakes=[until], alerts=alerts)
        case FailedGate(because, _) if state.suspects:
            following = replace(state, plane=state.suspects[0], suspects=state.suspects[1:], reverted=_reverted(state))
            return move(observed, following, now, Phase.ROLLING_BACK, because)
        case FailedGate(because, _):
            return move(observed, replace(state, reverted=_reverted(state)), now, Phase.UNRESOLVED, because)
        case Passed(because):
            return _freeze_or_end(observed, state, late, because, now)
        case gate:
            assert_never(gate)


def _freeze_or_end(observed: Observed, state: RevisionState, late: Orders, because: Because, now: datetime) -> Decision:
    """Freeze before the rollback ends: once it has ended, a missing hold means that a person lifted it."""
    frozen = frozen_versions(observed.holds, now)
    missing = tuple(freeze for freeze in _freezes(observed, state) if (freeze.plane, freeze.content) not in frozen)
    if missing:
        names = ", ".join(f"{freeze.plane} {freeze.version}" for freeze in missing)
        words = Because(Reason.FREEZING, f"{because.message}; freezing {names}")
        return stay(observed, state, now, actions=missing, because=(words,))
    if late.because:
        return move(observed, state, now, Phase.UNRESOLVED, late.because[0])
    return move(observed, replace(state, reverted=_reverted(state)), now, Phase.ROLLED_BACK, because)


def _freezes(observed: Observed, state: RevisionState) -> tuple[Freeze, ...]:
    """The version whose return restored health is convicted; those returned before or beside it are suspect."""
    return tuple(
        Freeze(
            plane,
            release.content,
            release.version,
            Conviction.CONVICTED if plane is state.plane else Conviction.SUSPECT,
            _cause(state),
        )
        for plane in dict.fromkeys((*_reverted(state), *state.beside))
        for release in (observed.plan.target[plane],)
    )


def after_rollback(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Return the devices that come back late; tell the person what is over, or that it is not."""
    actions: dict[str, Action] = {}
    for plane in state.reverted:
        for action in orders_back(observed, plane, now).actions:
            actions.setdefault(getattr(action, "device", ""), action)
    planes = ", ".join(state.reverted)
    if state.phase is Phase.ROLLED_BACK:
        because = Because(Reason.ROLLED_BACK, f"the {planes} went back and health returned: {_cause(state)}")
    else:
        because = Because(Reason.UNRESOLVED, f"the {planes} went back and health did not return: {_cause(state)}")
    return stay(observed, state, now, actions=tuple(actions.values()), because=(because,))


def _plane(state: RevisionState) -> Plane:
    if state.plane is None:
        message = f"revision {state.revision} is {state.phase} without a plane"
        raise ValueError(message)
    return state.plane


def _reverted(state: RevisionState) -> tuple[Plane, ...]:
    plane = _plane(state)
    return state.reverted if plane in state.reverted else (*state.reverted, plane)


def _beside(state: RevisionState, orders: Orders) -> tuple[Plane, ...]:
    planes = (action.release.plane for action in orders.actions if isinstance(action, Dispatch))
    return tuple(dict.fromkeys((*state.beside, *(plane for plane in planes if plane is not state.plane))))


def _cause(state: RevisionState) -> str:
    return state.cause.message if state.cause else "no cause is on record"
