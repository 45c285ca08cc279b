"""Going back: one plane at a time, the likeliest culprit first, until health has returned."""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from backstay.core.actions import Decision, Dispatch, Freeze
from backstay.core.alerts import provider_alerts
from backstay.core.devices import DeviceName
from backstay.core.dispatch import Orders, orders_back
from backstay.core.fleet import Progress
from backstay.core.gates import FailedGate, Passed, Waiting
from backstay.core.holds import Conviction
from backstay.core.observed import Observed
from backstay.core.plan import Scope
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState, Segment
from backstay.core.segments import concentration
from backstay.core.signals import Result
from backstay.core.steps import frozen_versions
from backstay.core.transition import move, stay
from backstay.core.verification import recovery_gate


def turn_back(observed: Observed, state: RevisionState, now: datetime, failed: FailedGate) -> Decision:
    """Stop going forward: keep the evidence, and return the likeliest culprit, or halt where that may not be."""
    state = replace(state, evidence=failed.evidence)
    if not observed.plan.rollback.automatic or not failed.suspects:
        because = failed.because
        if observed.plan.irreversible and not failed.suspects and because.reason in _SPEAK_AGAINST_A_VERSION:
            planes = ", ".join(sorted(observed.plan.irreversible))
            because = Because(Reason.IRREVERSIBLE, f"{because.message}; the {planes} cannot be taken back")
        halted = replace(state, cause=because, halted_from=state.phase)
        return move(observed, halted, now, Phase.HALTED, because)
    suspects = failed.suspects
    confined = replace(
        state,
        plane=suspects[0],
        suspects=suspects[1:],
        recovered_unaided=False,
        asked_by=None,
        confined_to_ring=observed.plan.rollback.scope is Scope.RING,
        segment=_segment(observed, now) if observed.plan.rollback.scope is Scope.SEGMENT else None,
    )
    where = f", in {confined.segment}" if confined.segment else ""
    because = Because(failed.because.reason, f"{failed.because.message}{where}")
    return move(observed, replace(confined, cause=because), now, Phase.ROLLING_BACK, because)


_SPEAK_AGAINST_A_VERSION = frozenset({Reason.STEP_FAILED, Reason.TOO_FEW_CONFIRMED, Reason.SIGNAL_FAILED})


def _segment(observed: Observed, now: datetime) -> Segment | None:
    """Where the failing devices concentrate: those whose step failed, fell silent, or whose probes fail now."""
    changed = observed.fleet.participants()
    late = {device.name for device in observed.fleet.late(now)}
    failing = [
        device
        for device in changed
        if device.failing
        or device.name in late
        or ((kind := observed.fleet.kind_of(device.name)) is not None and kind.progress is Progress.FAILED)
    ]
    return concentration(failing, changed)


def rolling_back(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Order devices back until no reachable one runs the suspect any more."""
    plane = _plane(state)
    orders = orders_back(observed, state, plane, now)
    because = (Because(Reason.RETURNING, f"devices return to their previous {plane}: {_cause(state)}"), *orders.because)
    if orders.is_complete and not orders.actions:
        stuck = "; ".join(because.message for because in orders.because)
        words = f"{stuck or f'every reachable device runs its previous {plane} again'}: {_cause(state)}"
        return move(observed, state, now, Phase.VERIFYING, Because(Reason.RETURNING, words))
    state = replace(
        state,
        beside=_beside(state, orders),
        recovered_unaided=state.recovered_unaided or _has_recovered_unaided(observed, state),
    )
    return stay(observed, state, now, actions=orders.actions, because=because, wakes=orders.wakes)


def _has_recovered_unaided(observed: Observed, state: RevisionState) -> bool:
    """Tell whether the signals that failed pass again although nobody has even begun to go back."""
    bad = observed.plan.target[_plane(state)].content
    taking_part = [bucket.kind for bucket in observed.fleet.all_buckets() if bucket.kind.takes_part]
    has_begun = any(kind.order is not None and kind.order.is_begun for kind in taking_part)
    if state.reverted or not state.evidence or has_begun:
        return False
    if not all(bad in dict(kind.running) for kind in taking_part):
        return False
    found = (observed.verdicts.get(verdict.signal) for verdict in state.evidence)
    return all(verdict is not None and verdict.result is Result.PASS for verdict in found)


def verifying(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Wait whether health returns; then freeze and end, or go on to the next suspect."""
    plane = _plane(state)
    late = orders_back(observed, state, plane, now)
    if state.asked_by is not None:
        return _go_on_as_asked(observed, state, late, now)
    match recovery_gate(observed, state, now):
        case Waiting(waits, until):
            alerts = provider_alerts(observed.plan, waits)
            return stay(observed, state, now, actions=late.actions, because=waits, wakes=[until], alerts=alerts)
        case FailedGate(because, _) if state.suspects and because.reason is Reason.HEALTH_STILL_BAD:
            return move(observed, _next_suspect(state), now, Phase.ROLLING_BACK, because)
        case FailedGate(because, _):
            return _unresolved(observed, state, now, because)
        case Passed(because):
            return _freeze_or_end(observed, state, late, because, now)
        case gate:
            assert_never(gate)


def _go_on_as_asked(observed: Observed, state: RevisionState, late: Orders, now: datetime) -> Decision:
    """A person wants all of it back: whether health has returned is for them to see."""
    if state.suspects:
        words = f"the {state.plane} is back; {state.asked_by} asked for all of it"
        return move(observed, _next_suspect(state), now, Phase.ROLLING_BACK, Because(Reason.ROLLBACK_ASKED, words))
    ended = replace(state, reverted=_reverted(state))
    if late.because:
        return _unresolved(observed, state, now, late.because[0])
    words = f"the {', '.join(ended.reverted)} went back because {state.asked_by} asked for it"
    return move(observed, ended, now, Phase.ROLLED_BACK, Because(Reason.ROLLBACK_ASKED, words))


def _unresolved(observed: Observed, state: RevisionState, now: datetime, why: Because) -> Decision:
    """Give up, and keep on record both what is wrong now and how it began."""
    cause = Because(why.reason, f"{why.message}; it began with: {_cause(state)}")
    return move(observed, replace(state, reverted=_reverted(state), cause=cause), now, Phase.UNRESOLVED, why)


def _next_suspect(state: RevisionState) -> RevisionState:
    return replace(state, plane=state.suspects[0], suspects=state.suspects[1:], reverted=_reverted(state))


def _freeze_or_end(observed: Observed, state: RevisionState, late: Orders, because: Because, now: datetime) -> Decision:
    """Freeze before the rollback ends: once it has ended, a missing hold means that a person lifted it."""
    missing = tuple(freeze for freeze in _freezes(observed, state) if not _stands(observed, freeze, now))
    if missing:
        names = ", ".join(f"{freeze.plane} {freeze.version}" for freeze in missing)
        words = Because(Reason.FREEZING, f"{because.message}; freezing {names}")
        return stay(observed, state, now, actions=missing, because=(words,))
    if late.because:
        return _unresolved(observed, state, now, late.because[0])
    return move(observed, replace(state, reverted=_reverted(state)), now, Phase.ROLLED_BACK, because)


def _stands(observed: Observed, freeze: Freeze, now: datetime) -> bool:
    """Tell whether a hold in force does what a freeze would do."""
    if (freeze.plane, freeze.content) in frozen_versions(observed.holds, now):
        return True
    return any(hold.name == freeze.hold_name and hold.is_in_force(now) for hold in observed.holds)


def _freezes(observed: Observed, state: RevisionState) -> tuple[Freeze, ...]:
    """The version whose return restored health is convicted; those returned before or beside it are suspect.

    Where health had returned everywhere before anybody had gone back, nothing is proved, and all are suspect.
    """
    return tuple(
        Freeze(
            plane,
            release.content,
            release.version,
            Conviction.CONVICTED if plane is state.plane and not state.recovered_unaided else Conviction.SUSPECT,
            _cause(state),
            state.segment,
        )
        for plane in dict.fromkeys((*_reverted(state), *state.beside))
        for release in (observed.plan.target[plane],)
    )


def after_rollback(observed: Observed, state: RevisionState, now: datetime) -> Decision:
    """Return the devices that come back late; tell the person what is over, or that it is not."""
    actions: dict[DeviceName, Dispatch] = {}
    wakes: list[datetime | None] = []
    for plane in state.reverted:
        orders = orders_back(observed, state, plane, now)
        wakes.extend(orders.wakes)
        for action in orders.actions:
            if isinstance(action, Dispatch):
                actions.setdefault(action.device, action)
    planes = ", ".join(state.reverted)
    if state.asked_by is not None:
        because = Because(Reason.ROLLBACK_ASKED, f"the {planes} went back: {_cause(state)}")
    elif state.phase is Phase.ROLLED_BACK:
        because = Because(Reason.ROLLED_BACK, f"the {planes} went back and health returned: {_cause(state)}")
    else:
        because = Because(Reason.UNRESOLVED, f"the {planes} went back, and a person is needed: {_cause(state)}")
    return stay(observed, state, now, actions=tuple(actions.values()), because=(because,), wakes=wakes)


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
