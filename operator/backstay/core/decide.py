"""The decision: what a plan's next state is, what to do now, and why.

A decision either moves the revision to another phase or acts within the one it is in, never both: the
shell persists the state before it acts, so whatever was done is always explained by a phase on record.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil
from typing import assert_never

from backstay.core.actions import Action, Alert, Decision, Dispatch, Freeze, RingReport, Watch
from backstay.core.admission import refusals
from backstay.core.alerts import blocked_alert, provider_alerts, refusal_alert, standing_alerts
from backstay.core.dispatch import Orders, orders_back, orders_for_ring
from backstay.core.gates import (
    FailedGate,
    Passed,
    RingHealth,
    Waiting,
    confirmation_gate,
    counted,
    devices_gate,
    ring_health,
    signals_gate,
)
from backstay.core.holds import Conviction
from backstay.core.observed import Observed
from backstay.core.plan import revision_hash
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import (
    ENDS,
    FINISHES_FIRST,
    TRANSITIONS,
    Outcome,
    Phase,
    RevisionState,
)
from backstay.core.steps import frozen_versions
from backstay.core.verification import recovery_gate


def decide(observed: Observed, now: datetime) -> Decision:
    """Say what happens next; the same observations at the same time always give the same decision."""
    state = observed.state
    if observed.refusal is not None and (state is None or state.phase not in FINISHES_FIRST):
        return _refused(observed, observed.refusal, now)
    if state is None or state.revision != observed.fleet.revision:
        return _begin(observed, now)
    decision = _within_phase(observed, counted(observed, state), now)
    if decision.phase is not state.phase and decision.phase not in TRANSITIONS[state.phase]:
        message = f"{state.phase} may not become {decision.phase}"
        raise AssertionError(message)
    return decision


def _within_phase(  # noqa: PLR0911 - one answer for each phase
    observed: Observed, state: RevisionState, now: datetime
) -> Decision:
    match state.phase:
        case Phase.PENDING:
            return _pending(observed, state, now)
        case Phase.ROLLING:
            return _rolling(observed, state, now)
        case Phase.SOAKING:
            return _soaking(observed, state, now)
        case Phase.STABILIZING:
            return _stabilizing(observed, state, now)
        case Phase.SUCCEEDED:
            return _succeeded(observed, state, now)
        case Phase.ROLLING_BACK:
            return _rolling_back(observed, state, now)
        case Phase.VERIFYING:
            return _verifying(observed, state, now)
        case Phase.ROLLED_BACK | Phase.UNRESOLVED:
            return _after_rollback(observed, state, now)
        case Phase.HALTED | Phase.SUPERSEDED:
            because = (state.cause,) if state.cause else ()
            return _stay(observed, state, now, because=because)
        case _:
            assert_never(state.phase)


def _refused(observed: Observed, refusal: Because, now: datetime) -> Decision:
    """Start nothing; what is in flight finishes, what was decided stays on record."""
    state = observed.state or RevisionState(observed.fleet.revision, 0, "", Phase.PENDING, now)
    alerts = (refusal_alert(observed.plan, refusal), *standing_alerts(observed.plan, state))
    return Decision(state, (), None, (refusal,), _reports(observed, now), alerts)


def _begin(observed: Observed, now: datetime) -> Decision:
    """Open the revision that the plan now asks for; the one before ends as it stood."""
    before, plan = observed.state, observed.plan
    counter = before.counter + 1 if before else 1
    state = RevisionState(observed.fleet.revision, counter, revision_hash(plan.target), Phase.PENDING, now)
    versions = ", ".join(str(plan.target[plane]) for plane in sorted(plan.target))
    because = Because(Reason.REVISION_STARTED, f"revision {state.revision}: {versions}")
    return Decision(state, (), now, (because,), ended=_outcome(before, now))


def _outcome(before: RevisionState | None, now: datetime) -> Outcome | None:
    if before is None or not before.revision or before.counter == 0:
        return None
    phase = before.phase if before.phase in ENDS else Phase.SUPERSEDED
    return Outcome(before.revision, phase, now, before.cause.message if before.cause else "")


def _pending(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    if because := refusals(observed, now):
        return _stay(observed, state, now, because=because, alerts=(refusal_alert(observed.plan, because[0]),))
    first = observed.plan.rings[0].name
    return _move(observed, state, now, Phase.ROLLING, Because(Reason.RING_STARTED, f"ring {first} starts"))


def _rolling(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    health = [ring_health(observed, ring, now) for ring in range(state.ring + 1)]
    if failed := _first_failure(observed, health):
        return _fail(observed, state, now, failed)
    orders = [orders_for_ring(observed, ring, now) for ring in range(state.ring + 1)]
    because = tuple(reason for order in orders for reason in order.because)
    wakes = [one.next_deadline for one in health]
    if not orders[-1].is_complete or any(order.actions for order in orders):
        actions = tuple(action for order in orders for action in order.actions)
        because = because or (_progress(observed, state.ring, health[-1], actions),)
        return _stay(observed, state, now, actions=actions, because=because, wakes=wakes)
    match confirmation_gate(observed, state.ring, health[-1]):
        case FailedGate() as failed:
            return _fail(observed, state, now, failed)
        case Waiting(waits):
            return _stay(
                observed,
                state,
                now,
                because=(*waits, *because),
                wakes=wakes,
                alerts=(blocked_alert(observed.plan, waits),),
            )
        case Passed(confirmed):
            return _move(observed, state, now, Phase.SOAKING, confirmed)
        case gate:
            assert_never(gate)


def _soaking(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    rules = observed.plan.rings[state.ring]
    is_last = state.ring + 1 == len(observed.plan.rings)
    following = Phase.STABILIZING if is_last else Phase.ROLLING
    return _watching(observed, state, now, rules.soak, following)


def _stabilizing(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    return _watching(observed, state, now, observed.plan.stability, Phase.SUCCEEDED)


def _watching(observed: Observed, state: RevisionState, now: datetime, window: timedelta, following: Phase) -> Decision:
    """Let time pass under the eyes of the signals; a device that fails meanwhile counts as it did before."""
    health = [ring_health(observed, ring, now) for ring in range(state.ring + 1)]
    if failed := _first_failure(observed, health):
        return _fail(observed, state, now, failed)
    actions: tuple[Action, ...] = ()
    if state.phase is Phase.STABILIZING:
        actions = _catch_up(observed, now)
    match signals_gate(observed, state, window, now):
        case FailedGate() as failed:
            return _fail(observed, state, now, failed)
        case Waiting(waits, until):
            wakes = [until, *(one.next_deadline for one in health)]
            alerts = provider_alerts(observed.plan, waits)
            return _stay(observed, state, now, actions=actions, because=waits, wakes=wakes, alerts=alerts)
        case Passed() if observed.plan.paused:
            return _stay(observed, state, now, because=(Because(Reason.PAUSED, "the plan is paused"),))
        case Passed(because):
            ring = state.ring + 1 if following is Phase.ROLLING else state.ring
            return _move(observed, replace(state, ring=ring), now, following, because)
        case gate:
            assert_never(gate)


def _succeeded(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    because = Because(Reason.SUCCEEDED, f"revision {state.revision} passed its stability window")
    wakes = [ring_health(observed, ring, now).next_deadline for ring in range(len(observed.plan.rings))]
    return _stay(observed, state, now, actions=_catch_up(observed, now), because=(because,), wakes=wakes)


def _rolling_back(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    plane = _plane(state)
    orders = orders_back(observed, plane, now)
    because = (Because(Reason.RETURNING, f"devices return to their previous {plane}: {_cause(state)}"), *orders.because)
    if orders.is_complete and not orders.actions:
        return _move(observed, state, now, Phase.VERIFYING, because[0])
    state = replace(state, beside=_beside(state, orders))
    wakes = [ring_health(observed, ring, now).next_deadline for ring in range(len(observed.plan.rings))]
    return _stay(observed, state, now, actions=orders.actions, because=because, wakes=wakes)


def _verifying(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    plane = _plane(state)
    late = orders_back(observed, plane, now)
    match recovery_gate(observed, state, now):
        case Waiting(waits, until):
            alerts = provider_alerts(observed.plan, waits)
            return _stay(observed, state, now, actions=late.actions, because=waits, wakes=[until], alerts=alerts)
        case FailedGate(because, _) if state.suspects:
            following = replace(state, plane=state.suspects[0], suspects=state.suspects[1:], reverted=_reverted(state))
            return _move(observed, following, now, Phase.ROLLING_BACK, because)
        case FailedGate(because, _):
            return _move(observed, replace(state, reverted=_reverted(state)), now, Phase.UNRESOLVED, because)
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
        return _stay(observed, state, now, actions=missing, because=(words,))
    if late.because:
        return _move(observed, state, now, Phase.UNRESOLVED, late.because[0])
    return _move(observed, replace(state, reverted=_reverted(state)), now, Phase.ROLLED_BACK, because)


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


def _after_rollback(observed: Observed, state: RevisionState, now: datetime) -> Decision:
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
    return _stay(observed, state, now, actions=tuple(actions.values()), because=(because,))


def _fail(observed: Observed, state: RevisionState, now: datetime, failed: FailedGate) -> Decision:
    state = replace(state, cause=failed.because)
    if not observed.plan.rollback.automatic or not failed.suspects:
        return _move(observed, state, now, Phase.HALTED, failed.because)
    suspects = failed.suspects
    return _move(
        observed, replace(state, plane=suspects[0], suspects=suspects[1:]), now, Phase.ROLLING_BACK, failed.because
    )


def _move(observed: Observed, state: RevisionState, now: datetime, phase: Phase, because: Because) -> Decision:
    """Enter a phase and do nothing else; the tallies of the one before are of no further use."""
    entered = replace(state, phase=phase, since=now, tallies=())
    alerts = standing_alerts(observed.plan, entered)
    return Decision(entered, (), now, (because,), _reports(observed, now), alerts, _watch(observed, entered))


def _stay(
    observed: Observed,
    state: RevisionState,
    now: datetime,
    *,
    actions: tuple[Action, ...] = (),
    because: tuple[Because, ...],
    wakes: list[datetime | None] | None = None,
    alerts: tuple[Alert, ...] = (),
) -> Decision:
    holds_end = [hold.until for hold in observed.holds if hold.until is not None and hold.until > now]
    wake_at = min((wake for wake in (*(wakes or ()), *holds_end) if wake is not None), default=None)
    alerts = (*standing_alerts(observed.plan, state), *alerts)
    return Decision(state, actions, wake_at, because, _reports(observed, now), alerts, _watch(observed, state))


def _watch(observed: Observed, state: RevisionState) -> Watch | None:
    """Whose health the next decision needs."""
    match state.phase:
        case Phase.SOAKING:
            ring = observed.plan.rings[state.ring]
            return Watch(state.revision, ring.name, _looks(observed, ring.soak))
        case Phase.STABILIZING:
            return Watch(state.revision, None, _looks(observed, observed.plan.stability))
        case Phase.VERIFYING:
            return Watch(state.revision, None, _looks(observed, observed.plan.rollback.verify))
        case _:
            return None


def _looks(observed: Observed, window: timedelta) -> int:
    shortest = min((signal.interval for signal in observed.plan.signals), default=window)
    return max(1, ceil(window / shortest)) if shortest else 1


def _catch_up(observed: Observed, now: datetime) -> tuple[Action, ...]:
    """Serve devices that were offline or joined late, each within its own ring's budget."""
    return tuple(
        action for ring in range(len(observed.plan.rings)) for action in orders_for_ring(observed, ring, now).actions
    )


def _first_failure(observed: Observed, health: list[RingHealth]) -> FailedGate | None:
    return next(
        (failed for ring, one in enumerate(health) if (failed := devices_gate(observed, ring, one)) is not None), None
    )


def _reports(observed: Observed, now: datetime) -> tuple[RingReport, ...]:
    reports = []
    for index, ring in enumerate(observed.plan.rings):
        health = ring_health(observed, index, now)
        reports.append(RingReport(ring.name, health.counts, health.timed_out))
    return tuple(reports)


def _progress(observed: Observed, ring: int, health: RingHealth, actions: tuple[Action, ...]) -> Because:
    name, counts = observed.plan.rings[ring].name, health.counts
    words = f"ring {name}: {counts.confirmed} of {counts.target} confirmed, {counts.in_flight} in flight"
    return Because(Reason.DISPATCHING if actions else Reason.WAITING_FOR_DEVICES, words)


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
