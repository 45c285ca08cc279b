"""The two shapes of a decision: to enter another phase, or to act within the one a revision is in."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil

from backstay.core.actions import Action, Alert, Decision, RingReport, Watch
from backstay.core.alerts import standing_alerts
from backstay.core.gates import timed_out
from backstay.core.observed import Observed
from backstay.core.reasons import Because
from backstay.core.revision import Phase, RevisionState


def move(observed: Observed, state: RevisionState, now: datetime, phase: Phase, because: Because) -> Decision:
    """Enter a phase and do nothing else; the tallies of the one before are of no further use."""
    entered = replace(state, phase=phase, since=now, tallies=())
    alerts = standing_alerts(observed.plan, entered)
    return Decision(
        entered,
        (),
        now,
        (because,),
        ring_reports(observed, now),
        alerts,
        watch_of(observed, entered),
        verdicts=tuple(observed.verdicts.values()),
    )


def stay(
    observed: Observed,
    state: RevisionState,
    now: datetime,
    *,
    actions: tuple[Action, ...] = (),
    because: tuple[Because, ...],
    wakes: Iterable[datetime | None] = (),
    alerts: tuple[Alert, ...] = (),
) -> Decision:
    """Act within the present phase, and say when to look again."""
    holds_end = [hold.until for hold in observed.holds if hold.until is not None and hold.until > now]
    wake_at = min((wake for wake in (*wakes, *holds_end) if wake is not None), default=None)
    return Decision(
        state,
        actions,
        wake_at,
        because,
        ring_reports(observed, now),
        (*standing_alerts(observed.plan, state), *alerts),
        watch_of(observed, state),
        verdicts=tuple(observed.verdicts.values()),
    )


def ring_reports(observed: Observed, now: datetime) -> tuple[RingReport, ...]:
    """The rings as the status shows them."""
    return tuple(
        RingReport(ring.name, observed.fleet.counts(index), len(timed_out(observed, index, now)))
        for index, ring in enumerate(observed.plan.rings)
    )


def watch_of(observed: Observed, state: RevisionState) -> Watch | None:
    """Whose health the next decision needs."""
    match state.phase:
        case Phase.SOAKING:
            ring = observed.plan.rings[state.ring]
            return Watch(state.revision, ring.name, _looks(observed, ring.soak), state.since)
        case Phase.STABILIZING:
            return Watch(state.revision, None, _looks(observed, observed.plan.stability), state.since)
        case Phase.ROLLING_BACK | Phase.VERIFYING:
            return Watch(state.revision, None, _looks(observed, observed.plan.rollback.verify), state.since)
        case _:
            return None


def _looks(observed: Observed, window: timedelta) -> int:
    shortest = min((signal.interval for signal in observed.plan.signals), default=None)
    return max(1, ceil(window / shortest)) if shortest else 1
