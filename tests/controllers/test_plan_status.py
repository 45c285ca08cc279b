"""A status that the API server would not take is a plan that never moves: whatever people name, it must fit."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from backstay.api import DeviceGroup
from backstay.api.releaseplan_status import ReleasePlanStatus
from backstay.controllers.fleets import GroupCounts
from backstay.controllers.plan_conditions import Standing
from backstay.controllers.plan_status import Picture, plan_status
from backstay.controllers.reports import group_status
from backstay.core.actions import Decision, Freeze, RingReport
from backstay.core.devices import RevisionName
from backstay.core.fleet import RingCounts
from backstay.core.holds import Conviction
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Outcome, Phase, RevisionState, Segment
from backstay.core.signals import Result, Verdict
from tests.api.test_conversion import converted, written_plan

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
MODEL = Release(Plane.MODEL, "7.2.0", ContentDigest(f"sha256:{'c' * 64}"))
LONG_RING = "warehouse-cameras-of-europe"
LONG_SIGNAL = "latency-at-the-ninety-fifth-percentile"


def picture(decision: Decision | None = None) -> Picture:
    written = written_plan(rings=[{"name": LONG_RING, "size": "100%"}])
    verdict = Verdict(LONG_SIGNAL, Result.FAIL, NOON, "q", 0.5, "too slow")
    state = RevisionState(RevisionName("abcdef0123-1"), 1, "abcdef0123", Phase.SOAKING, NOON)
    watching = Decision(
        state,
        (),
        None,
        (Because(Reason.SOAKING, "watching"),),
        (RingReport(LONG_RING, RingCounts(target=100_000)),),
        verdicts=(verdict,),
    )
    return Picture(written, converted(written), decision or watching, Standing(), 100_000, NOON, {"model": "7.1.0"})


def test_status_fits_the_columns_when_rings_and_signals_have_long_names() -> None:
    status = plan_status(picture(), {})
    assert status["ring"] == LONG_RING
    assert len(status["summary"]["ring"]) <= 10
    assert len(status["summary"]["health"]) <= 22
    ReleasePlanStatus.from_document(status)


def test_status_remembers_what_the_revision_before_shipped() -> None:
    ended = Outcome(RevisionName("0123456789-1"), Phase.ROLLED_BACK, NOON, "accuracy fell")
    decision = picture().decision
    begun = Decision(decision.state, (), None, decision.because, decision.rings, ended=ended)
    (past,) = plan_status(picture(decision=begun), {})["history"]
    assert past == {
        "revision": "0123456789-1",
        "versions": {"model": "7.1.0"},
        "phase": "RolledBack",
        "ended": "2026-01-05T12:00:00.000000Z",
        "reason": "accuracy fell",
    }


def test_status_tells_how_a_request_was_answered_until_the_next_one_is() -> None:
    watching = picture().decision
    answer = Because(Reason.REQUEST_REFUSED, "ring canary does not wait for approval now")
    answered = replace(watching, state=replace(watching.state, handled="approve@abcdef0123-1/canary/1"), answer=answer)
    status = plan_status(picture(answered), {})
    assert status["lastHandledRequest"] == "approve@abcdef0123-1/canary/1"
    assert status["requestAnswer"] == {"reason": "RequestRefused", "message": answer.message}
    assert plan_status(picture(), status)["requestAnswer"] == status["requestAnswer"]
    ReleasePlanStatus.from_document(status)


def test_status_keeps_the_verdicts_that_failed_the_gate_when_health_is_good_again() -> None:
    good = replace(picture().decision.verdicts[0], result=Result.PASS)
    state = replace(picture().decision.state, phase=Phase.VERIFYING, evidence=picture().decision.verdicts)
    status = plan_status(picture(replace(picture().decision, state=state, verdicts=(good,))), {})
    (kept,) = status["evidence"]
    assert (kept["signal"], kept["result"], kept["message"]) == (LONG_SIGNAL, "Fail", "too slow")
    assert status["progress"]["verdicts"][0]["result"] == "Pass"


def rolled_back(**state: object) -> dict[str, object] | None:
    """The culprit in the status of a plan whose model went back."""
    shown = picture()
    cause = Because(Reason.SIGNAL_FAILED, "accuracy fell")
    ended = replace(shown.decision.state, phase=Phase.ROLLED_BACK, plane=Plane.MODEL, cause=cause, **state)  # type: ignore[arg-type]
    decision = replace(shown.decision, state=ended, verdicts=())
    ruling = replace(shown.ruling, target={Plane.MODEL: MODEL})
    status = plan_status(replace(shown, decision=decision, ruling=ruling), {})
    ReleasePlanStatus.from_document(status)
    found: dict[str, object] | None = status["culprit"]
    return found


def test_status_names_the_culprit_and_its_hold_when_health_returned_without_it() -> None:
    found = rolled_back()
    assert found is not None
    assert (found["plane"], found["verdict"], found["hold"]) == ("model", "Convicted", f"frozen-model-{'c' * 12}")


def test_status_names_no_culprit_when_a_person_asked_for_the_rollback() -> None:
    assert rolled_back(asked_by="ada") is None


def test_status_calls_a_version_suspect_when_health_had_returned_before_anybody_went_back() -> None:
    found = rolled_back(recovered_unaided=True)
    assert found is not None
    assert found["verdict"] == "Suspect"


def test_status_names_the_hold_of_the_segment_when_a_version_is_frozen_there_alone() -> None:
    segment = Segment("region", "eu")
    freeze = Freeze(Plane.MODEL, MODEL.content, MODEL.version, Conviction.CONVICTED, "", segment)
    found = rolled_back(segment=segment)
    assert found is not None
    assert found["hold"] == freeze.hold_name


def test_group_status_fits_the_columns_when_a_version_is_long() -> None:
    group = DeviceGroup.from_document(
        {"kind": "DeviceGroup", "metadata": {"name": "g", "namespace": "acme"}, "spec": {"selector": {}}}
    )
    running = Counter({(Plane.MODEL, "7.2.0-rc.1+build.20260105", ContentDigest("sha256:" + "a" * 64)): 100_000})
    summary = group_status(group, GroupCounts(100_000, 100_000, running=running), {}, NOON)["summary"]
    assert all(len(cell) <= 16 for cell in summary.values())
    assert len(summary["model"]) <= 11
