"""What a rollback remembers and says: whom it suspects, what it convicts, and when it gives up."""

from dataclasses import replace
from datetime import timedelta

import pytest

from backstay.core.actions import Dispatch, Freeze
from backstay.core.devices import Device, PlaneState, StepType
from backstay.core.gates import FailedGate
from backstay.core.holds import Conviction, Hold
from backstay.core.observed import Observed
from backstay.core.plan import RollbackPolicy, Scope
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState, Segment
from backstay.core.rolling_back import after_rollback, rolling_back, turn_back, verifying
from backstay.core.signals import Result, Verdict
from tests.core.cameras import MINUTE, START, at, cameras, seen, told
from tests.laws.release_world import FACTORY, TARGETS

MODEL, OLD = TARGETS["model"][Plane.MODEL], FACTORY[Plane.MODEL]
CAUSE = Because(Reason.SIGNAL_FAILED, "accuracy fell")
BAD = Verdict("accuracy", Result.FAIL, START, "q")
GOOD = replace(BAD, result=Result.PASS)
POLICY = RollbackPolicy(verify=timedelta(seconds=20))


def arrived(count: int, region: str = "eu", **labels: str) -> list[Device]:
    return [told(one, MODEL, PlaneState.CONFIRMED) for one in cameras(count, region, **labels)]


def went_home(device: Device, says: PlaneState = PlaneState.CONFIRMED, **changes: object) -> Device:
    return told(device, OLD, says, step_type=StepType.RETURN, number=8, **changes)  # type: ignore[arg-type]


def back(observed: Observed, phase: Phase = Phase.ROLLING_BACK, **changes: object) -> RevisionState:
    state = at(observed, phase, plane=Plane.MODEL, cause=CAUSE, evidence=(BAD,))
    return replace(state, **changes)  # type: ignore[arg-type]


# --- turning back


def test_rollback_starts_afresh_whatever_an_earlier_one_left() -> None:
    observed = seen(arrived(2))
    left = at(
        observed,
        Phase.SOAKING,
        recovered_unaided=True,
        asked_by="ada",
        confined_to_ring=True,
        segment=Segment("a", "b"),
    )
    decision = turn_back(observed, left, START, FailedGate(CAUSE, (Plane.MODEL, Plane.CONFIG), (BAD,)))
    state = decision.state
    assert (state.phase, state.plane, state.suspects) == (Phase.ROLLING_BACK, Plane.MODEL, (Plane.CONFIG,))
    assert (state.recovered_unaided, state.asked_by, state.confined_to_ring, state.segment) == (
        False,
        None,
        False,
        None,
    )
    assert (state.cause, state.evidence, decision.because) == (CAUSE, (BAD,), (CAUSE,))


def test_rollback_of_a_ring_is_confined_to_it() -> None:
    observed = seen(arrived(2), rollback=replace(POLICY, scope=Scope.RING))
    state = turn_back(observed, at(observed, Phase.SOAKING), START, FailedGate(CAUSE, (Plane.MODEL,))).state
    assert state.confined_to_ring
    assert state.segment is None


@pytest.mark.parametrize("scope", [Scope.PLAN, Scope.SEGMENT])
@pytest.mark.parametrize("how", ["fell back", "fails a probe", "fell silent"])
def test_rollback_of_a_segment_goes_where_the_failing_devices_are(how: str, scope: Scope) -> None:
    well = arrived(9, "eu", hardware="rev-a")
    bad = cameras(3, "us", hardware="rev-b")
    match how:
        case "fell back":
            bad = [told(one, MODEL, PlaneState.ROLLED_BACK, reason="ProbeFailed: x") for one in bad]
        case "fails a probe":
            bad = [replace(told(one, MODEL, PlaneState.CONFIRMED), failing=("camera",)) for one in bad]
        case _:
            bad = [told(one, MODEL, PlaneState.DOWNLOADING) for one in bad]
    observed = seen([*well, *bad], rollback=replace(POLICY, scope=scope))
    decision = turn_back(observed, at(observed, Phase.ROLLING), START + 5 * MINUTE, FailedGate(CAUSE, (Plane.MODEL,)))
    segment = decision.state.segment
    assert (segment is not None) is (scope is Scope.SEGMENT)
    if segment is not None:
        assert str(segment) in {"hardware=rev-b", "region=us"}
        assert decision.because[0].message == f"accuracy fell, in {segment}"


@pytest.mark.parametrize(
    ("irreversible", "suspects", "reason", "because"),
    [
        ((), (), Reason.SIGNAL_FAILED, CAUSE),
        (
            (Plane.MODEL, Plane.CONFIG),
            (),
            Reason.SIGNAL_FAILED,
            Because(Reason.IRREVERSIBLE, "accuracy fell; the config, model cannot be taken back"),
        ),
        ((Plane.MODEL,), (), Reason.NO_DATA, Because(Reason.NO_DATA, "accuracy fell")),
        ((Plane.MODEL,), (Plane.CONFIG,), Reason.SIGNAL_FAILED, CAUSE),
    ],
    ids=["nobody to blame", "irreversible", "no evidence", "not by itself"],
)
def test_rollout_halts_where_nothing_may_go_back(
    irreversible: tuple[Plane, ...], suspects: tuple[Plane, ...], reason: Reason, because: Because
) -> None:
    policy = replace(POLICY, automatic=not suspects)
    observed = seen(arrived(2), irreversible=frozenset(irreversible), rollback=policy)
    failed = FailedGate(Because(reason, "accuracy fell"), suspects, (BAD,))
    decision = turn_back(observed, at(observed, Phase.SOAKING), START, failed)
    assert decision.because == (because,)
    assert decision.state.cause == because
    assert (decision.phase, decision.state.halted_from) == (Phase.HALTED, Phase.SOAKING)
    assert decision.state.evidence == (BAD,)


# --- going back


def test_rollback_orders_and_looks_again_at_the_first_deadline() -> None:
    devices = [went_home(arrived(1)[0], PlaneState.DOWNLOADING), *arrived(1, "us")]
    observed = seen(devices)
    decision = rolling_back(observed, back(observed), START)
    (order,) = decision.actions
    assert isinstance(order, Dispatch)
    assert (order.device, order.type) == ("us-0000", StepType.RETURN)
    assert decision.wake_at == START + 5 * MINUTE
    assert decision.because == (Because(Reason.RETURNING, "devices return to their previous model: accuracy fell"),)
    assert decision.state.beside == ()


def test_rollback_remembers_the_planes_that_had_to_go_beside_the_suspect() -> None:
    v2 = TARGETS["v2"]
    revision = seen([], "v2").fleet.revision
    device = cameras(1)[0]
    for number, plane in enumerate((Plane.FIRMWARE, Plane.MODEL, Plane.CONFIG), start=1):
        device = told(device, v2[plane], PlaneState.CONFIRMED, number=number, revision=revision)
    observed = seen([device], "v2")
    decision = rolling_back(observed, back(observed, beside=(Plane.FIRMWARE,)), START)
    assert decision.state.beside == (Plane.FIRMWARE, Plane.CONFIG)
    observed = seen(arrived(1))
    assert rolling_back(observed, back(observed), START).state.beside == ()


def test_rollback_that_is_stuck_says_in_which_ways_and_verifies_all_the_same() -> None:
    refused = went_home(arrived(1)[0], PlaneState.FAILED, reason="Rejected: slot")
    bare = arrived(1, "us")[0]
    bare = replace(bare, planes={**bare.planes, Plane.MODEL: replace(bare.status(Plane.MODEL), fallback=None)})
    observed = seen([refused, bare])
    decision = rolling_back(observed, back(observed), START)
    assert decision.phase is Phase.VERIFYING
    assert decision.because[0].message == (
        "1 device could not return to the previous model: there is nothing to go back to; "
        "1 device could not return to the previous model: the order to go back was refused: accuracy fell"
    )
    home = seen([went_home(arrived(1)[0])])
    assert rolling_back(home, back(home, cause=None), START).because[0].message == (
        "every reachable device runs its previous model again: no cause is on record"
    )


@pytest.mark.parametrize(
    ("devices", "changes", "verdicts", "is_unaided"),
    [
        (arrived(2), {}, (GOOD,), True),
        (arrived(2), {}, (BAD,), False),
        (arrived(2), {}, (), False),
        (arrived(2), {"recovered_unaided": True}, (BAD,), True),
        (arrived(2), {"evidence": ()}, (GOOD,), False),
        (arrived(2), {"reverted": (Plane.CONFIG,)}, (GOOD,), False),
        ([went_home(arrived(1)[0], PlaneState.DOWNLOADING), *arrived(1, "us")], {}, (GOOD,), False),
        ([went_home(arrived(1)[0]), *arrived(1, "us")], {}, (GOOD,), False),
        ([*arrived(1), *cameras(2, "us")], {}, (GOOD,), True),
    ],
    ids=[
        "passes again",
        "still fails",
        "unknown",
        "was remembered",
        "no signal failed",
        "after another plane",
        "somebody has begun",
        "somebody is back",
        "others never had it",
    ],
)
def test_health_returns_unaided_only_while_everybody_still_runs_the_suspect(
    devices: list[Device], changes: dict[str, object], verdicts: tuple[Verdict, ...], is_unaided: bool
) -> None:
    observed = replace(seen(devices), verdicts={verdict.signal: verdict for verdict in verdicts})
    assert rolling_back(observed, back(observed, **changes), START).state.recovered_unaided is is_unaided


def test_rollback_without_a_plane_cannot_be() -> None:
    observed = seen([])
    state = back(observed, plane=None)
    with pytest.raises(ValueError, match=f"revision {state.revision} is RollingBack without a plane"):
        rolling_back(observed, state, START)


# --- verifying


def test_verification_returns_those_that_come_back_late_and_waits_for_its_window() -> None:
    observed = seen([went_home(arrived(1)[0]), *arrived(1, "us")], rollback=POLICY)
    decision = verifying(observed, back(observed, Phase.VERIFYING), START)
    (order,) = decision.actions
    assert isinstance(order, Dispatch)
    assert order.device == "us-0000"
    assert decision.wake_at == START + POLICY.verify


def home_again(**plan: object) -> Observed:
    observed = seen([went_home(one) for one in arrived(2)], rollback=POLICY, **plan)
    late = replace(GOOD, at=START + POLICY.verify)
    return replace(observed, verdicts={"accuracy": late})


@pytest.mark.parametrize(
    ("changes", "convictions"),
    [
        ({}, [(Plane.MODEL, Conviction.CONVICTED)]),
        ({"recovered_unaided": True}, [(Plane.MODEL, Conviction.SUSPECT)]),
    ],
)
def test_version_whose_return_restored_health_is_convicted(
    changes: dict[str, object], convictions: list[tuple[Plane, Conviction]]
) -> None:
    observed = home_again()
    decision = verifying(observed, back(observed, Phase.VERIFYING, **changes), START + POLICY.verify)
    freezes = [action for action in decision.actions if isinstance(action, Freeze)]
    assert [(freeze.plane, freeze.conviction) for freeze in freezes] == convictions
    assert freezes[0].evidence == "accuracy fell"
    assert decision.phase is Phase.VERIFYING


def test_version_returned_before_or_beside_the_culprit_is_suspect() -> None:
    observed = replace(home_again(), plan=replace(home_again().plan, target=TARGETS["v1"]))
    state = back(observed, Phase.VERIFYING, reverted=(Plane.CONFIG,), beside=(Plane.FIRMWARE, Plane.MODEL))
    decision = verifying(observed, state, START + POLICY.verify)
    freezes = [action for action in decision.actions if isinstance(action, Freeze)]
    assert [(freeze.plane, freeze.conviction) for freeze in freezes] == [
        (Plane.CONFIG, Conviction.SUSPECT),
        (Plane.MODEL, Conviction.CONVICTED),
        (Plane.FIRMWARE, Conviction.SUSPECT),
    ]


FREEZE = Freeze(Plane.MODEL, MODEL.content, MODEL.version, Conviction.CONVICTED, "accuracy fell")


@pytest.mark.parametrize(
    ("hold", "ends"),
    [
        (Hold("frozen", versions=frozenset({(Plane.MODEL, MODEL.content)})), True),
        (Hold(FREEZE.hold_name), True),
        (Hold(FREEZE.hold_name, until=START), False),
        (Hold("another"), False),
    ],
    ids=["by version", "by name", "no longer in force", "another"],
)
def test_rollback_ends_once_what_it_returned_is_frozen(hold: Hold, ends: bool) -> None:
    observed = replace(home_again(), holds=(hold,))
    decision = verifying(observed, back(observed, Phase.VERIFYING), START + POLICY.verify)
    assert (decision.phase is Phase.ROLLED_BACK) is ends
    if ends:
        assert decision.state.reverted == (Plane.MODEL,)


def test_rollback_reverts_each_plane_once_on_record() -> None:
    observed = replace(home_again(), holds=(Hold("frozen", versions=frozenset({(Plane.MODEL, MODEL.content)})),))
    state = back(observed, Phase.VERIFYING, reverted=(Plane.MODEL,))
    assert verifying(observed, state, START + POLICY.verify).state.reverted == (Plane.MODEL,)


def test_rollback_that_a_person_asked_for_ends_or_says_who_could_not_go_back() -> None:
    observed = home_again()
    asked = back(observed, Phase.VERIFYING, asked_by="ada")
    assert verifying(observed, asked, START).phase is Phase.ROLLED_BACK
    refused = went_home(arrived(1)[0], PlaneState.FAILED, reason="Rejected: slot")
    observed = seen([refused])
    decision = verifying(observed, back(observed, Phase.VERIFYING, asked_by="ada"), START)
    assert decision.phase is Phase.UNRESOLVED
    words = "1 device could not return to the previous model: the order to go back was refused"
    assert decision.because[0].message == words
    assert decision.state.cause == Because(Reason.NOT_ALL_RETURNED, f"{words}; it began with: accuracy fell")


# --- after it


def test_devices_that_come_back_late_are_returned_one_order_each() -> None:
    revision = seen([], "v1").fleet.revision
    first, second = cameras(2)
    for plane in Plane:
        first = told(first, TARGETS["v1"][plane], PlaneState.CONFIRMED, revision=revision)
        second = told(second, TARGETS["v1"][plane], PlaneState.CONFIRMED, revision=revision)
    flying = told(cameras(1, "us")[0], TARGETS["v1"][Plane.MODEL], PlaneState.DOWNLOADING, revision=revision)
    flying = told(flying, OLD, PlaneState.DOWNLOADING, step_type=StepType.RETURN, number=8, revision=revision)
    observed = seen([first, second, flying], "v1")
    state = back(observed, Phase.ROLLED_BACK, reverted=(Plane.CONFIG, Plane.MODEL))
    decision = after_rollback(observed, state, START)
    orders = [action for action in decision.actions if isinstance(action, Dispatch)]
    assert sorted((order.device, order.release.plane) for order in orders) == [
        (first.name, Plane.CONFIG),
        (second.name, Plane.CONFIG),
    ]
    assert decision.wake_at == START + 5 * MINUTE
    words = "the config, model went back and health returned: accuracy fell"
    assert decision.because == (Because(Reason.ROLLED_BACK, words),)
