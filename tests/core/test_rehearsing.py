"""Each row that a rehearsing device walks, and each way in which it may leave it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from backstay.core.actions import AlertKind, Decision, Dispatch
from backstay.core.devices import Device, Drill, PlaneState, StepType
from backstay.core.failures import RetryPolicy
from backstay.core.holds import Hold
from backstay.core.observed import GroupRules, Observed
from backstay.core.plan import Count, Rehearsal, Ring
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.rehearsing import MAY_BREAK, rehearsing
from backstay.core.revision import DrillStage, DrillState, Phase
from tests.core.cameras import MINUTE, START, at, cameras, seen, told
from tests.laws.release_world import FACTORY, TARGETS

MODEL, OLD = TARGETS["model"][Plane.MODEL], FACTORY[Plane.MODEL]
FAILED_AS_TOLD = "ProbeFailed: rehearsal"


def ring(devices: int = 1, *, break_one: bool = False) -> tuple[Ring, ...]:
    """A ring that never fails for its devices, so that only the rehearsal can."""
    return (Ring("lab", rehearsal=Rehearsal(devices, break_one), max_failed=Count(99)),)


def confirmed(count: int = 1, **labels: str) -> list[Device]:
    return [told(one, MODEL, PlaneState.CONFIRMED, ring="lab") for one in cameras(count, **labels)]


def drilled(
    device: Device, says: PlaneState | None, drill: Drill = Drill.ROUND_TRIP, *, back: bool = False, **changes: object
) -> Device:
    """The device, with its second order, which is one of a rehearsal."""
    release, step_type = (OLD, StepType.RETURN) if back else (MODEL, StepType.INSTALL)
    return told(device, release, says, step_type=step_type, number=8, drill=drill, ring="lab", **changes)  # type: ignore[arg-type]


def walk(
    device: Device | None,
    kind: Drill,
    stage: DrillStage,
    now: timedelta = timedelta(0),
    observed: Observed | None = None,
    **plan: object,
) -> Decision:
    """One decision about one drill of one device."""
    found = observed or seen([] if device is None else [device], rings=ring(), **plan)
    name = cameras(1)[0].name
    state = at(found, Phase.REHEARSING, drills=(DrillState(name, kind, stage),))
    return rehearsing(found, state, START + now)


def home() -> Device:
    """A device that a drill has brought back."""
    return drilled(confirmed()[0], PlaneState.CONFIRMED, back=True)


def order_of(decision: Decision) -> tuple[StepType, str, Drill | None]:
    (order,) = decision.actions
    assert isinstance(order, Dispatch)
    assert order.ring == "lab"
    return order.type, order.release.version, order.drill


# --- the way back and forward


@pytest.mark.parametrize("kind", Drill)
def test_every_drill_begins_with_the_way_back(kind: Drill) -> None:
    decision = walk(confirmed()[0], kind, DrillStage.RETURNING)
    assert order_of(decision) == (StepType.RETURN, "0.9.0", Drill.ROUND_TRIP)
    assert decision.state.drills[0].stage is DrillStage.RETURNING


def test_round_trip_goes_forward_once_it_is_back_and_is_done_when_it_is_there() -> None:
    decision = walk(home(), Drill.ROUND_TRIP, DrillStage.RETURNING)
    assert order_of(decision) == (StepType.INSTALL, "1.0.0", Drill.ROUND_TRIP)
    assert decision.state.drills[0].stage is DrillStage.REINSTALLING
    assert decision.because == (Because(Reason.REHEARSING, "ring lab rehearses recovery: eu-0000 goes forward again"),)
    there = told(home(), MODEL, PlaneState.CONFIRMED, number=9, drill=Drill.ROUND_TRIP, ring="lab")
    ended = walk(there, Drill.ROUND_TRIP, DrillStage.REINSTALLING)
    assert ended.phase is Phase.STABILIZING
    assert ended.state.rehearsed == ("lab",)
    assert "recovery is proven in ring lab: eu-0000 went back and forward again" in ended.because[0].message


def test_break_is_told_to_fail_then_mended_then_done() -> None:
    told_to_fail = walk(home(), Drill.BREAK, DrillStage.RETURNING)
    assert order_of(told_to_fail) == (StepType.INSTALL, "1.0.0", Drill.BREAK)
    assert told_to_fail.state.drills[0].stage is DrillStage.BREAKING
    broke = told(home(), MODEL, PlaneState.ROLLED_BACK, number=9, drill=Drill.BREAK, ring="lab", reason=FAILED_AS_TOLD)
    mending = walk(broke, Drill.BREAK, DrillStage.BREAKING)
    assert order_of(mending) == (StepType.INSTALL, "1.0.0", Drill.ROUND_TRIP)
    assert mending.state.drills[0].stage is DrillStage.MENDING
    again = walk(broke, Drill.BREAK, DrillStage.MENDING)
    assert order_of(again) == (StepType.INSTALL, "1.0.0", Drill.ROUND_TRIP)
    there = told(broke, MODEL, PlaneState.CONFIRMED, number=10, drill=Drill.ROUND_TRIP, ring="lab")
    assert walk(there, Drill.BREAK, DrillStage.MENDING).phase is Phase.STABILIZING


def test_open_step_is_waited_for_until_its_deadline() -> None:
    flying = drilled(confirmed()[0], PlaneState.DOWNLOADING, back=True)
    waits = walk(flying, Drill.ROUND_TRIP, DrillStage.RETURNING, 4 * MINUTE)
    assert (waits.actions, waits.wake_at, waits.phase) == ((), START + 5 * MINUTE, Phase.REHEARSING)
    assert [because.reason for because in waits.because] == [Reason.REHEARSING]
    late = walk(flying, Drill.ROUND_TRIP, DrillStage.RETURNING, 5 * MINUTE)
    assert late.phase is Phase.HALTED
    assert late.because[0].message == (
        "ring lab has not proved that recovery works: eu-0000 (RoundTrip):"
        " it fell silent during step 8 (return of its model)"
    )


def test_drill_that_is_done_asks_for_no_more_and_wakes_nobody() -> None:
    first, second = confirmed(2)
    there = told(
        drilled(first, PlaneState.CONFIRMED, back=True), MODEL, PlaneState.CONFIRMED, number=9, drill=Drill.ROUND_TRIP
    )
    flying = drilled(second, PlaneState.DOWNLOADING, back=True, at=START + MINUTE)
    observed = seen([there, flying], rings=ring(2))
    drills = (
        DrillState(first.name, Drill.ROUND_TRIP, DrillStage.DONE),
        DrillState(second.name, Drill.ROUND_TRIP, DrillStage.RETURNING),
    )
    decision = rehearsing(observed, at(observed, Phase.REHEARSING, drills=drills), START + MINUTE)
    assert (decision.actions, decision.wake_at) == ((), START + 6 * MINUTE)


# --- how it fails


@pytest.mark.parametrize(
    ("device", "kind", "stage", "why"),
    [
        (None, Drill.ROUND_TRIP, DrillStage.RETURNING, "it is gone"),
        (
            drilled(confirmed()[0], PlaneState.FAILED, back=True, reason="Rejected: slot"),
            Drill.ROUND_TRIP,
            DrillStage.RETURNING,
            "step 8 (return of its model) ended Failed Rejected: slot",
        ),
        (
            drilled(confirmed()[0], PlaneState.FAILED, back=True),
            Drill.ROUND_TRIP,
            DrillStage.RETURNING,
            "step 8 (return of its model) ended Failed",
        ),
        (
            told(home(), MODEL, PlaneState.CONFIRMED, number=9, drill=Drill.BREAK, ring="lab"),
            Drill.BREAK,
            DrillStage.BREAKING,
            "it confirmed step 9 (install of its model), although it was told to fail a probe",
        ),
        (
            told(home(), MODEL, PlaneState.ROLLED_BACK, number=9, drill=Drill.BREAK, ring="lab", reason="Watchdog"),
            Drill.BREAK,
            DrillStage.BREAKING,
            "step 9 (install of its model) ended RolledBack Watchdog",
        ),
        (
            told(home(), MODEL, PlaneState.FAILED, number=9, drill=Drill.BREAK, ring="lab", reason=FAILED_AS_TOLD),
            Drill.BREAK,
            DrillStage.BREAKING,
            "step 9 (install of its model) ended Failed ProbeFailed: rehearsal",
        ),
        (
            told(
                home(),
                MODEL,
                PlaneState.ROLLED_BACK,
                number=9,
                drill=Drill.BREAK,
                ring="lab",
                reason=FAILED_AS_TOLD,
                runs=MODEL,
            ),
            Drill.BREAK,
            DrillStage.BREAKING,
            "step 9 (install of its model) ended RolledBack ProbeFailed: rehearsal",
        ),
        (
            told(home(), MODEL, number=9, drill=Drill.BREAK, ring="lab", runs=MODEL, withdrawn=True),
            Drill.BREAK,
            DrillStage.BREAKING,
            "it confirmed although it was told to fail a probe",
        ),
        (
            told(
                home(), MODEL, PlaneState.ROLLED_BACK, number=9, drill=Drill.ROUND_TRIP, ring="lab", reason="Watchdog"
            ),
            Drill.ROUND_TRIP,
            DrillStage.REINSTALLING,
            "step 9 (install of its model) ended RolledBack Watchdog",
        ),
        (
            replace(
                confirmed()[0],
                planes={
                    **confirmed()[0].planes,
                    Plane.MODEL: replace(confirmed()[0].status(Plane.MODEL), fallback=None),
                },
            ),
            Drill.ROUND_TRIP,
            DrillStage.RETURNING,
            "it has no way back: there is nothing to go back to",
        ),
    ],
    ids=[
        "gone",
        "refused",
        "refused without a word",
        "confirmed what it should fail",
        "fell back for another reason",
        "failed before it changed",
        "says it fell back and did not",
        "is there without having been broken",
        "did not come forward",
        "keeps nothing",
    ],
)
def test_rehearsal_stops_for_a_person_and_says_which_step_went_wrong(
    device: Device | None, kind: Drill, stage: DrillStage, why: str
) -> None:
    decision = walk(device, kind, stage)
    assert decision.phase is Phase.HALTED
    assert decision.because[0].message == f"ring lab has not proved that recovery works: eu-0000 ({kind}): {why}"
    assert [alert.kind for alert in decision.alerts] == [AlertKind.HALTED]


@pytest.mark.parametrize(("attempt", "is_ordered_again"), [(1, True), (2, True), (3, False)])
def test_drill_that_could_not_be_delivered_is_ordered_again_as_often_as_any_change(
    attempt: int, is_ordered_again: bool
) -> None:
    undelivered = told(
        home(),
        MODEL,
        PlaneState.FAILED,
        number=9,
        drill=Drill.ROUND_TRIP,
        ring="lab",
        reason="DownloadFailed: 503",
        attempt=attempt,
    )
    decision = walk(undelivered, Drill.ROUND_TRIP, DrillStage.REINSTALLING, retries=RetryPolicy(3, MINUTE))
    assert (decision.phase is Phase.REHEARSING) is is_ordered_again
    assert bool(decision.actions) is is_ordered_again


# --- what keeps it back


@pytest.mark.parametrize(
    "keeps",
    [
        {"holds": (Hold("stop"),)},
        {"groups": {"cameras": GroupRules(paused=True)}},
    ],
    ids=["held", "group paused"],
)
def test_drill_that_is_kept_back_says_so_and_asks_nothing(keeps: dict[str, object]) -> None:
    observed = replace(seen([home()], rings=ring()), **keeps)  # type: ignore[arg-type]
    decision = walk(None, Drill.ROUND_TRIP, DrillStage.REINSTALLING, observed=observed)
    assert decision.actions == ()
    assert decision.because[0] == Because(Reason.HELD, "held or paused in ring lab: eu-0000")


def test_all_that_are_kept_back_are_named() -> None:
    first, second = (told(one, OLD, PlaneState.CONFIRMED, step_type=StepType.RETURN, number=8) for one in confirmed(2))
    observed = replace(seen([first, second], rings=ring(2)), holds=(Hold("stop"),))
    drills = tuple(DrillState(one.name, Drill.ROUND_TRIP, DrillStage.REINSTALLING) for one in (first, second))
    decision = rehearsing(observed, at(observed, Phase.REHEARSING, drills=drills), START)
    assert decision.because[0].message == "held or paused in ring lab: eu-0000, eu-0001"


def test_drill_is_kept_back_by_a_pause_of_the_plan_and_its_way_back_by_no_hold() -> None:
    assert walk(home(), Drill.ROUND_TRIP, DrillStage.REINSTALLING, paused=True).actions == ()
    observed = replace(seen(confirmed(), rings=ring()), holds=(Hold("stop"),))
    decision = walk(None, Drill.ROUND_TRIP, DrillStage.RETURNING, observed=observed)
    assert order_of(decision) == (StepType.RETURN, "0.9.0", Drill.ROUND_TRIP)


# --- who is chosen


def chosen(devices: list[Device], rehearsal: tuple[Ring, ...], **changes: object) -> tuple[Decision, list[str]]:
    observed = replace(seen(devices, rings=rehearsal), **changes)  # type: ignore[arg-type]
    decision = rehearsing(observed, at(observed, Phase.REHEARSING), START)
    return decision, [f"{drill.device} {drill.kind}" for drill in decision.state.drills]


def test_devices_are_put_on_record_before_any_of_them_is_ordered_anything() -> None:
    decision, drills = chosen(confirmed(3), ring(2))
    assert len(drills) == 2
    assert (decision.actions, decision.wake_at) == ((), START)
    assert decision.because[0].message.startswith("ring lab rehearses recovery: eu-")


def test_nobody_is_broken_where_nobody_shall_be() -> None:
    _, drills = chosen(confirmed(3, **{MAY_BREAK: "true"}), ring(2))
    assert len(drills) == 2
    assert all(drill.endswith("RoundTrip") for drill in drills)
    _, drills = chosen(confirmed(3, **{MAY_BREAK: "true"}), ring(2, break_one=True))
    assert sorted(drill.split()[1] for drill in drills) == ["Break", "RoundTrip", "RoundTrip"]


@pytest.mark.parametrize(
    ("changes", "spoils"),
    [
        ({}, {"reachable": False}),
        ({}, {"revoked": True}),
        ({}, {"assigned": {}}),
        ({"holds": (Hold("stop"),)}, {}),
    ],
    ids=["out of reach", "revoked", "changed nothing", "held"],
)
def test_device_that_cannot_rehearse_is_not_chosen_and_its_ring_waits_with_a_page(
    changes: dict[str, object], spoils: dict[str, object]
) -> None:
    devices = [replace(one, **spoils) for one in confirmed(2)]  # type: ignore[arg-type]
    decision, drills = chosen(devices, ring(), **changes)
    assert drills == []
    assert decision.because[0].reason is Reason.BLOCKED
    assert decision.because[0].message == (
        "ring lab cannot rehearse: 0 of 1 devices can go back and forward again;"
        " a device must be reachable, free and reversible"
    )
    assert AlertKind.BLOCKED in [alert.kind for alert in decision.alerts]


def test_device_that_has_not_confirmed_or_keeps_nothing_is_not_chosen() -> None:
    failed = told(cameras(1)[0], MODEL, PlaneState.ROLLED_BACK, reason="ProbeFailed: x", ring="lab")
    (there,) = confirmed()
    bare = replace(there, planes={**there.planes, Plane.MODEL: replace(there.status(Plane.MODEL), fallback=None)})
    assert chosen([failed], ring())[1] == []
    assert chosen([bare], ring())[1] == []


def test_device_that_is_still_half_way_is_not_chosen() -> None:
    revision = seen([], "v1").fleet.revision
    half_way = told(cameras(1)[0], MODEL, PlaneState.CONFIRMED, ring="lab", revision=revision)
    observed = seen([half_way], "v1", rings=ring())
    assert rehearsing(observed, at(observed, Phase.REHEARSING), START).state.drills == ()


def test_device_that_cannot_fall_back_alone_or_was_not_labelled_is_not_broken() -> None:
    willing = confirmed(2, **{MAY_BREAK: "true"})
    assert len(chosen(willing, ring(break_one=True))[1]) == 2
    assert chosen([replace(one, rollback_capable=False) for one in willing], ring(break_one=True))[1] == []
    decision, drills = chosen(confirmed(2, **{MAY_BREAK: "false"}), ring(break_one=True))
    assert drills == []
    assert "1 of 1 devices can go back and forward again, and 0 of 1 labelled" in decision.because[0].message
