"""Going forward: from a pending revision, ring by ring, to one that has succeeded."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from backstay.core.actions import Action, Alert, Decision
from backstay.core.admission import refusals
from backstay.core.alerts import blocked_alert, provider_alerts, refusal_alert
from backstay.core.dispatch import Desk, Orders, orders_for_ring
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
    if waits := _approval(observed, state, 0):
        return stay(observed, state, now, because=(waits,))
    words = f"ring {observed.plan.rings[0].name} starts"
    return _start_ring(observed, state, now, 0, Because(Reason.RING_STARTED, words))


def _start_ring(observed: Observed, state: RevisionState, now: datetime, ring: int, because: Because) -> Decision:
    """Enter a ring; what was remembered of the ring before is of no further use."""
    started = replace(state, ring=ring, ring_since=now, drills=())
    return move(observed, started, now, Phase.ROLLING, because)


def rolling(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Order devices of the rings so far, and ask the gate once nothing is left to order."""
    health = _health(observed, state, now)
    if failed := first_failure(observed, state, health):
        return turn_back(observed, state, now, failed)
    desk = Desk(observed, now)
    orders = [orders_for_ring(desk, ring) for ring in range(state.ring + 1)]
    because = _because(orders)
    wakes = _wakes(orders, health)
    actions = tuple(action for order in orders for action in order.actions)
    if not orders[-1].is_complete or actions:
        stuck = _stuck(observed, because)
        because = because or (_progress(observed, state.ring, health[-1], actions),)
        return stay(observed, state, now, actions=actions, because=because, wakes=wakes, alerts=stuck)
    match confirmation_gate(observed, state, health[-1], orders[-1].held, now):
        case FailedGate() as failed:
            return turn_back(observed, state, now, failed)
        case Waiting(waits, until):
            alerts = (blocked_alert(observed.plan, waits),) if waits[0].reason is Reason.BLOCKED else ()
            told = tuple(one for one in because if one.reason is not waits[0].reason)
            return stay(observed, state, now, because=(*waits, *told), wakes=(*wakes, until), alerts=alerts)
        case Passed(confirmed):
            return move(observed, state, now, Phase.SOAKING, confirmed)
        case gate:
            assert_never(gate)


def _stuck(observed: Observed, because: Iterable[Because]) -> tuple[Alert, ...]:
    """The page for a ring that stands still although nobody stopped it."""
    waits = [one for one in because if one.reason is Reason.BUDGET_SPENT]
    return (blocked_alert(observed.plan, waits),) if waits else ()


def soaking(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Watch a ring before the next one starts."""
    return _watching(observed, state, now, observed.plan.rings[state.ring].soak)


def stabilizing(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Watch the whole fleet before the revision counts as succeeded."""
    return _watching(observed, state, now, observed.plan.stability)


def _watching(observed: Observed, state: RevisionState, now: datetime, window: timedelta) -> Decision:
    """Let time pass under the eyes of the signals; a device that fails meanwhile counts as it did before."""
    health = _health(observed, state, now)
    if failed := first_failure(observed, state, health):
        return turn_back(observed, state, now, failed)
    orders = _catch_up(observed, now) if state.phase is Phase.STABILIZING else []
    actions = tuple(action for order in orders for action in order.actions)
    wakes = _wakes(orders, health)
    if not any(observed.fleet.was_changed(ring) for ring in _watched_rings(state)):
        words = "every device ran these versions already: nothing was changed, so there is no health to judge"
        return _promote(observed, state, now, Because(Reason.RING_PROMOTED, words))
    match signals_gate(observed, state, window, now):
        case FailedGate() as failed:
            return turn_back(observed, state, now, failed)
        case Waiting(waits, until):
            alerts = provider_alerts(observed.plan, waits)
            return stay(observed, state, now, actions=actions, because=waits, wakes=(*wakes, until), alerts=alerts)
        case Passed(because):
            return _promote(observed, state, now, because)
        case gate:
            assert_never(gate)


def _watched_rings(state: RevisionState) -> range:
    """The ring that soaks, or all of them once the last has soaked."""
    return range(state.ring if state.phase is Phase.SOAKING else 0, state.ring + 1)


def _promote(observed: Observed, state: RevisionState, now: datetime, because: Because) -> Decision:
    """Go on with what follows a watch that passed."""
    if observed.plan.paused:
        return _paused(observed, state, now)
    if state.phase is Phase.STABILIZING:
        words = f"the stability window is over: {because.message}"
        return move(observed, state, now, Phase.SUCCEEDED, Because(because.reason, words))
    ring = observed.plan.rings[state.ring]
    was_changed = observed.fleet.was_changed(state.ring)
    if ring.rehearsal is not None and was_changed and ring.name not in state.rehearsed:
        words = f"{because.message}; now recovery is rehearsed in ring {ring.name}"
        return move(observed, state, now, Phase.REHEARSING, Because(Reason.REHEARSING, words))
    return leave_ring(observed, state, now, because)


def _paused(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    return stay(observed, state, now, because=(Because(Reason.PAUSED, "the plan is paused"),))


def leave_ring(observed: Observed, state: RevisionState, now: datetime, because: Because) -> Decision:
    """Start the next ring, or watch the whole fleet after the last, unless a person is waited for."""
    if observed.plan.paused:
        return _paused(observed, state, now)
    following = state.ring + 1
    if following == len(observed.plan.rings):
        words = f"the last ring has passed: {because.message}"
        return move(observed, state, now, Phase.STABILIZING, Because(because.reason, words))
    if waits := _approval(observed, state, following):
        return stay(observed, state, now, because=(waits, because))
    words = f"ring {observed.plan.rings[following].name} starts: {because.message}"
    return _start_ring(observed, state, now, following, Because(because.reason, words))


def _approval(observed: Observed, state: RevisionState, ring: int) -> Because | None:
    """What a ring waits for that a person has to approve, with the words that do it."""
    rules = observed.plan.rings[ring]
    if not rules.needs_approval or state.approved > ring:
        return None
    words = f"ring {rules.name} waits for approval: backstay approve {observed.plan.name} {rules.name}"
    return Because(Reason.WAITING_FOR_APPROVAL, words)


def succeeded(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Serve late joiners; a ring in which they fail is served no more until a person has looked."""
    because = [Because(Reason.SUCCEEDED, f"revision {state.revision} passed its stability window")]
    desk = Desk(observed, now)
    orders: list[Orders] = []
    health = [ring_health(observed, ring, now) for ring in range(len(observed.plan.rings))]
    stopped = []
    for ring, one in enumerate(health):
        if failed := devices_gate(observed, state, ring, one):
            words = f"devices that came late are changed no more: {failed.because.message}"
            stopped.append(Because(Reason.CATCH_UP_STOPPED, words))
        else:
            orders.append(orders_for_ring(desk, ring))
    actions = tuple(action for order in orders for action in order.actions)
    alerts = (blocked_alert(observed.plan, stopped),) if stopped else ()
    because = [*stopped, *because]
    return stay(
        observed, state, now, actions=actions, because=tuple(because), wakes=_wakes(orders, health), alerts=alerts
    )


def _catch_up(observed: Observed, now: datetime) -> list[Orders]:
    """Serve devices that were offline or joined late, each within its own ring's budget."""
    desk = Desk(observed, now)
    return [orders_for_ring(desk, ring) for ring in range(len(observed.plan.rings))]


def _health(observed: Observed, state: RevisionState, now: datetime) -> list[RingHealth]:
    return [ring_health(observed, ring, now) for ring in range(state.ring + 1)]


def first_failure(observed: Observed, state: RevisionState, health: list[RingHealth]) -> FailedGate | None:
    """The first ring, of those so far, in which too many devices failed."""
    failures = (devices_gate(observed, state, ring, one) for ring, one in enumerate(health))
    return next((failed for failed in failures if failed is not None), None)


def _because(orders: Iterable[Orders]) -> tuple[Because, ...]:
    return tuple(reason for order in orders for reason in order.because)


def _wakes(orders: Iterable[Orders], health: Iterable[RingHealth]) -> tuple[datetime | None, ...]:
    return (*(wake for order in orders for wake in order.wakes), *(one.next_deadline for one in health))


def _progress(observed: Observed, ring: int, health: RingHealth, actions: tuple[Action, ...]) -> Because:
    name, counts = observed.plan.rings[ring].name, health.counts
    words = f"ring {name}: {counts.confirmed} of {counts.target} confirmed, {counts.in_flight} in flight"
    if counts.retrying:
        return Because(Reason.RETRYING, f"{words}, {counts.retrying} to be tried again")
    return Because(Reason.DISPATCHING if actions else Reason.WAITING_FOR_DEVICES, words)
