"""Going forward: from a pending revision, ring by ring, to one that has succeeded."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from backstay.core.actions import Action, Decision
from backstay.core.admission import refusals
from backstay.core.alerts import blocked_alert, provider_alerts, refusal_alert
from backstay.core.dispatch import orders_for_ring
from backstay.core.gates import (
    FailedGate,
    Passed,
    RingHealth,
    Waiting,
    confirmation_gate,
    devices_gate,
    ring_health,
    signals_gate,
)
from backstay.core.observed import Observed
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState
from backstay.core.rolling_back import turn_back
from backstay.core.transition import move, stay


def pending(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Start the first ring, unless anything refuses the revision."""
    if because := refusals(observed, now):
        return stay(observed, state, now, because=because, alerts=(refusal_alert(observed.plan, because[0]),))
    first = observed.plan.rings[0].name
    return move(observed, state, now, Phase.ROLLING, Because(Reason.RING_STARTED, f"ring {first} starts"))


def rolling(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Order devices of the rings so far, and ask the gate once nothing is left to order."""
    health = [ring_health(observed, ring, now) for ring in range(state.ring + 1)]
    if failed := _first_failure(observed, health):
        return turn_back(observed, state, now, failed)
    orders = [orders_for_ring(observed, ring, now) for ring in range(state.ring + 1)]
    because = tuple(reason for order in orders for reason in order.because)
    wakes = [one.next_deadline for one in health]
    if not orders[-1].is_complete or any(order.actions for order in orders):
        actions = tuple(action for order in orders for action in order.actions)
        because = because or (_progress(observed, state.ring, health[-1], actions),)
        return stay(observed, state, now, actions=actions, because=because, wakes=wakes)
    match confirmation_gate(observed, state.ring, health[-1], orders[-1].held_half_way):
        case FailedGate() as failed:
            return turn_back(observed, state, now, failed)
        case Waiting(waits):
            return stay(
                observed,
                state,
                now,
                because=(*waits, *because),
                wakes=wakes,
                alerts=(blocked_alert(observed.plan, waits),),
            )
        case Passed(confirmed):
            return move(observed, state, now, Phase.SOAKING, confirmed)
        case gate:
            assert_never(gate)


def soaking(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Watch a ring before the next one starts."""
    rules = observed.plan.rings[state.ring]
    is_last = state.ring + 1 == len(observed.plan.rings)
    following = Phase.STABILIZING if is_last else Phase.ROLLING
    return _watching(observed, state, now, rules.soak, following)


def stabilizing(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Watch the whole fleet before the revision counts as succeeded."""
    return _watching(observed, state, now, observed.plan.stability, Phase.SUCCEEDED)


def _watching(observed: Observed, state: RevisionState, now: datetime, window: timedelta, following: Phase) -> Decision:
    """Let time pass under the eyes of the signals; a device that fails meanwhile counts as it did before."""
    health = [ring_health(observed, ring, now) for ring in range(state.ring + 1)]
    if failed := _first_failure(observed, health):
        return turn_back(observed, state, now, failed)
    actions: tuple[Action, ...] = ()
    if state.phase is Phase.STABILIZING:
        actions = _catch_up(observed, now)
    if not any(observed.fleet.was_changed(ring) for ring in _watched_rings(state)):
        words = "every device ran these versions already: nothing was changed, so there is no health to judge"
        return _promote(observed, state, now, following, Because(Reason.RING_PROMOTED, words))
    match signals_gate(observed, state, window, now):
        case FailedGate() as failed:
            return turn_back(observed, state, now, failed)
        case Waiting(waits, until):
            wakes = [until, *(one.next_deadline for one in health)]
            alerts = provider_alerts(observed.plan, waits)
            return stay(observed, state, now, actions=actions, because=waits, wakes=wakes, alerts=alerts)
        case Passed(because):
            return _promote(observed, state, now, following, because)
        case gate:
            assert_never(gate)


def _watched_rings(state: RevisionState) -> range:
    """The ring that soaks, or all of them once the last has soaked."""
    return range(state.ring if state.phase is Phase.SOAKING else 0, state.ring + 1)


def _promote(observed: Observed, state: RevisionState, now: datetime, following: Phase, because: Because) -> Decision:
    """Go on, unless a person has paused the plan."""
    if observed.plan.paused:
        return stay(observed, state, now, because=(Because(Reason.PAUSED, "the plan is paused"),))
    ring = state.ring + 1 if following is Phase.ROLLING else state.ring
    return move(observed, replace(state, ring=ring), now, following, because)


def succeeded(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Serve late joiners; nothing else is left to do."""
    because = Because(Reason.SUCCEEDED, f"revision {state.revision} passed its stability window")
    wakes = [ring_health(observed, ring, now).next_deadline for ring in range(len(observed.plan.rings))]
    return stay(observed, state, now, actions=_catch_up(observed, now), because=(because,), wakes=wakes)


def _catch_up(observed: Observed, now: datetime) -> tuple[Action, ...]:
    """Serve devices that were offline or joined late, each within its own ring's budget."""
    return tuple(
        action for ring in range(len(observed.plan.rings)) for action in orders_for_ring(observed, ring, now).actions
    )


def _first_failure(observed: Observed, health: list[RingHealth]) -> FailedGate | None:
    return next(
        (failed for ring, one in enumerate(health) if (failed := devices_gate(observed, ring, one)) is not None), None
    )


def _progress(observed: Observed, ring: int, health: RingHealth, actions: tuple[Action, ...]) -> Because:
    name, counts = observed.plan.rings[ring].name, health.counts
    words = f"ring {name}: {counts.confirmed} of {counts.target} confirmed, {counts.in_flight} in flight"
    return Because(Reason.DISPATCHING if actions else Reason.WAITING_FOR_DEVICES, words)
