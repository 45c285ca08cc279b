"""What kstatus and a person read of a plan."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from backstay.controllers.plan_conditions import Standing, plan_conditions
from backstay.controllers.resolution import Refusal, Refused
from backstay.core.actions import Decision, RingReport
from backstay.core.devices import RevisionName
from backstay.core.fleet import RingCounts
from backstay.core.plan import Rehearsal, Ring
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState
from tests.api.test_conversion import written_plan

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def said(phase: Phase, *because: Because, standing: Standing | None = None) -> dict[str, tuple[bool | None, str]]:
    state = RevisionState(RevisionName("abc-1"), 1, "abc", phase, NOON)
    decision = Decision(state, (), None, because)
    found = plan_conditions(written_plan(), (), decision, standing or Standing())
    return {one.type: (one.status, one.reason) for one in found}


def test_plan_is_reconciling_while_it_moves() -> None:
    found = said(Phase.ROLLING, Because(Reason.DISPATCHING, "2 of 6"))
    assert found["Ready"] == (False, "Dispatching")
    assert found["Reconciling"] == (True, "Dispatching")
    assert found["Stalled"] == (False, "Rolling")
    assert found["Succeeded"] == (None, "Rolling")


def test_plan_is_ready_when_it_has_succeeded() -> None:
    found = said(Phase.SUCCEEDED, Because(Reason.SUCCEEDED, "it passed"))
    assert found["Ready"] == (True, "Succeeded")
    assert found["Reconciling"] == (False, "Succeeded")
    assert found["Succeeded"] == (True, "Succeeded")


@pytest.mark.parametrize("phase", [Phase.ROLLED_BACK, Phase.UNRESOLVED, Phase.HALTED])
def test_plan_is_stalled_when_it_ended_elsewhere(phase: Phase) -> None:
    found = said(phase, Because(Reason.ROLLED_BACK, "the model went back"))
    assert found["Stalled"] == (True, phase.value)
    assert found["Reconciling"] == (False, phase.value)
    assert found["Succeeded"] == (False, phase.value)


@pytest.mark.parametrize(
    "reason",
    [
        Reason.NO_DATA,
        Reason.PROVIDER_ERROR,
        Reason.BLOCKED,
        Reason.EMPTY_RING,
        Reason.WAITING_FOR_APPROVAL,
        Reason.GROUP_BUSY,
        Reason.BUDGET_SPENT,
        Reason.CATCH_UP_STOPPED,
    ],
)
def test_plan_is_stalled_by_every_wait_that_nobody_could_see_otherwise(reason: Reason) -> None:
    found = said(Phase.SOAKING, Because(Reason.SOAKING, "watching"), Because(reason, "nothing"))
    assert found["Stalled"] == (True, reason.value)


def test_plan_is_not_accepted_when_it_asks_for_what_does_not_exist_yet() -> None:
    refused = Refused(Refusal.NOT_YET_SUPPORTED, "spec.pullSecretRef: it is not supported yet; leave it out")
    found = said(Phase.PENDING, refused.because, standing=Standing(refused))
    assert found["Accepted"] == (False, "NotYetSupported")
    assert found["Stalled"][0] is True


def test_plan_says_that_nobody_was_paged() -> None:
    assert said(Phase.ROLLING, standing=Standing(paging_problem="no answer"))["Paging"] == (
        False,
        "AlertmanagerUnavailable",
    )


@pytest.mark.parametrize(
    ("counts", "is_stalled"),
    [(RingCounts(in_flight=1), False), (RingCounts(in_flight=0), True)],
    ids=["some change", "nobody changes"],
)
def test_plan_is_stalled_by_a_busy_group_when_none_of_its_own_devices_change(
    counts: RingCounts, is_stalled: bool
) -> None:
    state = RevisionState(RevisionName("abc-1"), 1, "abc", Phase.ROLLING, NOON)
    busy = Because(Reason.GROUP_BUSY, "4 devices wait because maxUnavailable of group cameras is reached")
    decision = Decision(state, (), None, (busy,), (RingReport("canary", counts),))
    found = {one.type: one.status for one in plan_conditions(written_plan(), (), decision, Standing())}
    assert found["Stalled"] is is_stalled


@pytest.mark.parametrize(("handled", "said"), [("approve@abc-1/canary/1", []), ("", [(None, "Waiting")])])
def test_plan_says_of_a_request_that_it_waits_when_it_cannot_be_answered_yet(
    handled: str, said: list[tuple[bool | None, str]]
) -> None:
    plan = written_plan()
    plan.metadata.annotations["backstay.dev/request"] = "approve@abc-1/canary/1"
    state = RevisionState(RevisionName("abc-1"), 1, "abc", Phase.PENDING, NOON, handled=handled)
    decision = Decision(state, (), None, (Because(Reason.BLOCKED, "a group is missing"),))
    found = plan_conditions(plan, (), decision, Standing())
    assert [(one.status, one.reason) for one in found if one.type == "RequestHandled"] == said


REHEARSING = (
    Ring("canary", rehearsal=Rehearsal()),
    Ring("tenth"),
    Ring("half", rehearsal=Rehearsal()),
    Ring("everyone"),
)


def proven(rings: tuple[Ring, ...] = (), **state: object) -> tuple[bool | None, str]:
    found = RevisionState(RevisionName("abc-1"), 1, "abc", Phase.ROLLING, NOON)
    decision = Decision(replace(found, **state), (), None, (Because(Reason.DISPATCHING, "2 of 6"),))  # type: ignore[arg-type]
    (said,) = [
        one for one in plan_conditions(written_plan(), rings, decision, Standing()) if one.type == "RecoveryProven"
    ]
    return said.status, said.reason


def test_recovery_is_unknown_when_no_ring_asks_for_it() -> None:
    assert proven() == (None, "NotAsked")


def test_recovery_is_unknown_until_a_ring_has_rehearsed_it() -> None:
    assert proven(REHEARSING) == (None, "NotYet")


def test_recovery_is_proven_when_a_ring_has_rehearsed_it() -> None:
    assert proven(REHEARSING, rehearsed=("canary",)) == (True, "Rehearsed")
    assert proven(REHEARSING, ring=1, rehearsed=("canary",)) == (True, "Rehearsed")


def test_recovery_is_unknown_again_when_the_present_ring_has_still_to_rehearse_it() -> None:
    assert proven(REHEARSING, ring=2, rehearsed=("canary",)) == (None, "NotYet")
    assert proven(REHEARSING, ring=3, rehearsed=("canary", "half")) == (True, "Rehearsed")


def test_recovery_is_disproved_when_a_rehearsal_has_failed() -> None:
    cause = Because(Reason.REHEARSAL_FAILED, "cam-1 fell silent")
    assert proven(REHEARSING, cause=cause) == (False, "RehearsalFailed")
