"""How a person's request is answered: at once, once, and with the reason where it cannot be done."""

from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from backstay.core.actions import Decision
from backstay.core.fleet import Progress
from backstay.core.gates import ring_health
from backstay.core.observed import Observed
from backstay.core.plan import revision_hash
from backstay.core.reasons import Because, Reason, devices
from backstay.core.requests import Request, Unreadable, Verb
from backstay.core.revision import ENDS, Phase, RevisionState, ending_of, next_revision
from backstay.core.transition import move, stay

_GOES_BACK: Final = frozenset(
    {Phase.ROLLING, Phase.SOAKING, Phase.REHEARSING, Phase.STABILIZING, Phase.SUCCEEDED, Phase.HALTED}
)
_TRIES_AGAIN: Final = frozenset({Phase.ROLLING, Phase.SOAKING, Phase.STABILIZING, Phase.SUCCEEDED, Phase.HALTED})


def answer(observed: Observed, state: RevisionState, now: datetime) -> Decision | None:
    """Do what is asked, or say why not; None where nothing is asked that has not been answered."""
    request = observed.request
    if request is None or request.text == state.handled:
        return None
    state = replace(state, handled=request.text)
    if isinstance(request, Unreadable):
        return _refused(observed, state, now, request.why)
    return _answered(observed, state, request, now)


def _answered(observed: Observed, state: RevisionState, request: Request, now: datetime) -> Decision:
    if request.revision != state.revision:
        words = f"{request.text} is about another revision; the plan's present one is {state.revision}"
        return _refused(observed, state, now, words)
    if observed.refusal is not None and request.verb is not Verb.ROLLBACK:
        words = f"the plan starts nothing until it is mended: {observed.refusal.message}"
        return _refused(observed, state, now, words)
    match request.verb:
        case Verb.APPROVE:
            return _approve(observed, state, request, now)
        case Verb.RETRY:
            return _retry(observed, state, request, now)
        case Verb.ROLLBACK:
            return _roll_back(observed, state, request, now)
        case Verb.RESUME:
            return _resume(observed, state, request, now)
        case _:
            assert_never(request.verb)


def _approve(observed: Observed, state: RevisionState, request: Request, now: datetime) -> Decision:
    following = 0 if state.phase is Phase.PENDING else state.ring + 1
    index = {ring.name: index for index, ring in enumerate(observed.plan.rings)}.get(request.ring)
    if index is None:
        return _refused(observed, state, now, f"the plan has no ring {request.ring}")
    is_next = index == following and state.phase in {Phase.PENDING, Phase.SOAKING, Phase.REHEARSING}
    if not is_next or not observed.plan.rings[index].needs_approval:
        return _refused(observed, state, now, f"ring {request.ring} does not wait for approval now")
    because = Because(Reason.APPROVED, f"{_who(request)} approved ring {request.ring}")
    return _stay(observed, replace(state, approved=index + 1), now, because)


def _retry(observed: Observed, state: RevisionState, request: Request, now: datetime) -> Decision:
    if state.phase in ENDS - _TRIES_AGAIN:
        revision = next_revision(state, observed.plan)
        fresh = RevisionState(
            revision,
            state.counter + 1,
            revision_hash(observed.plan.target),
            Phase.PENDING,
            now,
            handled=state.handled,
            # Devices that saw these versions fail try them again, because a person says so.
            retried_at=now,
        )
        because = Because(Reason.RETRIED, f"{_who(request)} lets the versions of {state.revision} start anew")
        return Decision(fresh, (), now, (because,), ended=ending_of(state, now), answer=because)
    if state.phase not in _TRIES_AGAIN:
        return _refused(observed, state, now, f"there is nothing to try again while the revision is {state.phase}")
    failed = sum(len(observed.fleet.members(ring, Progress.FAILED)) for ring in range(len(observed.plan.rings)))
    because = Because(Reason.RETRIED, f"{_who(request)} lets {devices(failed)} that failed try again")
    retried = replace(state, retried_at=now, cause=None, evidence=())
    if state.phase is Phase.HALTED:
        phase = Phase.STABILIZING if state.halted_from is Phase.STABILIZING else Phase.ROLLING
        return replace(move(observed, replace(retried, halted_from=None), now, phase, because), answer=because)
    return _stay(observed, retried, now, because)


def _roll_back(observed: Observed, state: RevisionState, request: Request, now: datetime) -> Decision:
    if state.phase not in _GOES_BACK:
        return _refused(observed, state, now, f"a revision that is {state.phase} cannot be rolled back")
    changed = {plane for bucket in observed.fleet.all_buckets() for plane in bucket.kind.changed}
    suspects = tuple(
        plane
        for plane in observed.plan.rollback.order
        if plane in changed and plane in observed.plan.target and plane not in observed.plan.irreversible
    )
    if not suspects:
        return _refused(observed, state, now, "this revision has changed nothing that could go back")
    because = Because(Reason.ROLLBACK_ASKED, f"{_who(request)} asked for a rollback")
    going = replace(
        state,
        plane=suspects[0],
        suspects=suspects[1:],
        reverted=(),
        beside=(),
        cause=because,
        evidence=(),
        segment=None,
        confined_to_ring=False,
        asked_by=_who(request),
    )
    return replace(move(observed, going, now, Phase.ROLLING_BACK, because), answer=because)


def _resume(observed: Observed, state: RevisionState, request: Request, now: datetime) -> Decision:
    if state.phase is not Phase.HALTED:
        return _refused(observed, state, now, f"only a halted rollout can be resumed, and this one is {state.phase}")
    failures = tuple(len(ring_health(observed, ring, now).failures) for ring in range(state.ring + 1))
    because = Because(Reason.RESUMED, f"{_who(request)} resumes, and accepts that {devices(sum(failures))} failed")
    resumed = replace(state, pardoned=failures, cause=None, evidence=(), halted_from=None, drills=())
    return replace(move(observed, resumed, now, state.halted_from or Phase.ROLLING, because), answer=because)


def _who(request: Request) -> str:
    return request.by or "somebody"


def _refused(observed: Observed, state: RevisionState, now: datetime, why: str) -> Decision:
    return _stay(observed, state, now, Because(Reason.REQUEST_REFUSED, why))


def _stay(observed: Observed, state: RevisionState, now: datetime, because: Because) -> Decision:
    return replace(stay(observed, state, now, because=(because,), wakes=(now,)), answer=because)
