"""Requests as the decision answers them; the stories tell what becomes of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from backstay.core.actions import Decision
from backstay.core.asking import answer
from backstay.core.devices import DeviceName, Drill
from backstay.core.observed import Observed
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.requests import parse_request
from backstay.core.revision import DrillState, Outcome, Phase, RevisionState, Segment
from backstay.core.signals import Result, Verdict
from tests.laws.release_world import START, world_of

LATER = START + timedelta(hours=1)
CAUSE = Because(Reason.STEP_FAILED, "two cameras went dark")
EVIDENCE = (Verdict("accuracy", Result.FAIL, START, "q"),)


def seen(**changes: object) -> tuple[Observed, RevisionState]:
    """A revision whose canaries have confirmed, with its state changed."""
    world = world_of()
    while world.state is None or world.state.phase is not Phase.SOAKING:
        world.run(5)
    observed = world.observe()
    return observed, replace(world.state, **changes)  # type: ignore[arg-type]


def asked(observed: Observed, state: RevisionState, verb: str, ring: str = "-", by: str = "ada") -> Decision:
    text = f"{verb}@{state.revision}/{ring}/1"
    found = answer(replace(observed, request=parse_request(text, by)), state, LATER)
    assert found is not None
    assert found.answer is not None
    assert found.because == (found.answer,)
    assert found.state.handled == text
    assert found.wake_at == LATER
    return found


def test_nothing_is_answered_when_nothing_is_asked_or_it_was_answered_before() -> None:
    observed, state = seen()
    assert answer(observed, state, LATER) is None
    again = replace(observed, request=parse_request(f"resume@{state.revision}/-/1"))
    assert answer(again, replace(state, handled=f"resume@{state.revision}/-/1"), LATER) is None


def test_approval_is_for_the_next_ring_and_for_no_further_one() -> None:
    observed, state = seen()
    rings = tuple(replace(ring, needs_approval=True) for ring in observed.plan.rings)
    observed = replace(observed, plan=replace(observed.plan, rings=rings))
    found = asked(observed, state, "approve", "tenth")
    assert found.answer == Because(Reason.APPROVED, "ada approved ring tenth")
    assert found.state.approved == 2
    assert asked(observed, state, "approve", "eu").answer == Because(
        Reason.REQUEST_REFUSED, "ring eu does not wait for approval now"
    )


def test_approval_of_the_first_ring_is_asked_before_anything_ships() -> None:
    observed, state = seen(phase=Phase.PENDING)
    rings = tuple(replace(ring, needs_approval=True) for ring in observed.plan.rings)
    observed = replace(observed, plan=replace(observed.plan, rings=rings))
    assert asked(observed, state, "approve", "canary").state.approved == 1
    assert asked(observed, state, "approve", "tenth").state.approved == 0


def test_request_of_nobody_in_particular_is_somebodys() -> None:
    observed, state = seen(phase=Phase.HALTED, halted_from=Phase.SOAKING)
    assert asked(observed, state, "resume", by="").answer == Because(
        Reason.RESUMED, "somebody resumes, and accepts that 0 devices failed"
    )


@pytest.mark.parametrize("phase", [Phase.ROLLED_BACK, Phase.UNRESOLVED])
def test_retry_after_a_rollback_starts_the_versions_as_the_next_revision(phase: Phase) -> None:
    observed, state = seen(phase=phase, cause=CAUSE, approved=3, evidence=EVIDENCE)
    found = asked(observed, state, "retry")
    assert found.state == RevisionState(
        f"{state.hash}-{state.counter + 1}",  # type: ignore[arg-type]
        state.counter + 1,
        state.hash,
        Phase.PENDING,
        LATER,
        handled=found.state.handled,
        retried_at=LATER,
    )
    assert found.ended == Outcome(state.revision, phase, LATER, CAUSE.message)


@pytest.mark.parametrize(
    ("halted_from", "phase"),
    [
        (Phase.ROLLING, Phase.ROLLING),
        (Phase.SOAKING, Phase.ROLLING),
        (Phase.REHEARSING, Phase.ROLLING),
        (Phase.STABILIZING, Phase.STABILIZING),
    ],
)
def test_retry_of_a_halted_rollout_goes_on_where_devices_can_be_ordered(halted_from: Phase, phase: Phase) -> None:
    observed, state = seen(phase=Phase.HALTED, halted_from=halted_from, cause=CAUSE, evidence=EVIDENCE)
    found = asked(observed, state, "retry").state
    assert (found.phase, found.since, found.retried_at) == (phase, LATER, LATER)
    assert (found.halted_from, found.cause, found.evidence) == (None, None, ())


def test_retry_of_a_running_rollout_stays_where_it_is() -> None:
    observed, state = seen(cause=CAUSE, evidence=EVIDENCE)
    found = asked(observed, state, "retry").state
    assert (found.phase, found.since, found.retried_at) == (Phase.SOAKING, state.since, LATER)
    assert (found.cause, found.evidence) == (None, ())


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.ROLLING_BACK, Phase.VERIFYING, Phase.REHEARSING])
def test_retry_is_refused_while_nothing_can_be_tried_again(phase: Phase) -> None:
    observed, state = seen(phase=phase, plane=Plane.MODEL)
    found = asked(observed, state, "retry")
    assert found.answer == Because(
        Reason.REQUEST_REFUSED, f"there is nothing to try again while the revision is {phase}"
    )
    assert found.phase is phase


def test_rollback_takes_everything_back_and_forgets_what_was_confined_before() -> None:
    observed, state = seen(
        phase=Phase.HALTED,
        evidence=EVIDENCE,
        reverted=(Plane.MODEL,),
        beside=(Plane.MODEL,),
        segment=Segment("region", "eu"),
        confined_to_ring=True,
    )
    found = asked(observed, state, "rollback").state
    assert (found.phase, found.since, found.asked_by) == (Phase.ROLLING_BACK, LATER, "ada")
    assert (found.plane, found.suspects) == (Plane.CONFIG, (Plane.MODEL, Plane.FIRMWARE))
    assert found.cause == Because(Reason.ROLLBACK_ASKED, "ada asked for a rollback")
    assert (found.reverted, found.beside, found.evidence) == ((), (), ())
    assert (found.segment, found.confined_to_ring) == (None, False)


def test_rollback_leaves_out_what_cannot_be_taken_back() -> None:
    observed, state = seen()
    only_firmware = replace(observed.plan, irreversible=frozenset({Plane.CONFIG, Plane.MODEL}))
    found = asked(replace(observed, plan=only_firmware), state, "rollback").state
    assert (found.plane, found.suspects) == (Plane.FIRMWARE, ())
    nothing = replace(observed.plan, irreversible=frozenset(Plane))
    assert asked(replace(observed, plan=nothing), state, "rollback").answer == Because(
        Reason.REQUEST_REFUSED, "this revision has changed nothing that could go back"
    )


def test_resume_accepts_the_failures_of_the_rings_so_far_and_begins_its_phase_anew() -> None:
    drills = (DrillState(DeviceName("cam-01"), Drill.BREAK),)
    observed, state = seen(
        phase=Phase.HALTED, halted_from=Phase.STABILIZING, ring=1, cause=CAUSE, evidence=EVIDENCE, drills=drills
    )
    found = asked(observed, state, "resume").state
    assert (found.phase, found.since, found.pardoned) == (Phase.STABILIZING, LATER, (0, 0))
    assert (found.cause, found.evidence, found.halted_from, found.drills) == (None, (), None, ())


def test_resume_goes_on_rolling_when_nobody_knows_where_it_halted() -> None:
    observed, state = seen(phase=Phase.HALTED)
    assert asked(observed, state, "resume").phase is Phase.ROLLING


@pytest.mark.parametrize("verb", ["approve", "retry", "resume"])
def test_nothing_goes_forward_on_request_while_the_plan_asks_for_what_is_refused(verb: str) -> None:
    observed, state = seen()
    refusal = Because(Reason.UNRESOLVED_ARTIFACT, "model 1.1.0: no such artifact")
    assert asked(replace(observed, refusal=refusal), state, verb).answer == Because(
        Reason.REQUEST_REFUSED, "the plan starts nothing until it is mended: model 1.1.0: no such artifact"
    )
