"""How far a device has come, and what its next order depends on, one device at a time."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from backstay.core.devices import Device, Drill, PlaneState, StepType, answered_well
from backstay.core.failures import RetryPolicy
from backstay.core.fleet import FleetView, Ordered, Progress, RingCounts, was_pardoned
from backstay.core.plan import Count, Least, Share, least
from backstay.core.planes import Plane
from tests.core.cameras import EVERYONE, MINUTE, START, cameras, seen, told
from tests.laws.release_world import FACTORY, TARGETS, plan_of

MODEL, OLD = TARGETS["model"][Plane.MODEL], FACTORY[Plane.MODEL]
V1 = seen([], "v1").fleet.revision


def view(*devices: Device, target: str = "model", retried_at: object = None, **plan: object) -> FleetView:
    named = seen([], target).fleet.revision
    rules = plan_of(target, rings=EVERYONE, **plan)
    return FleetView(rules, named, devices, retried_at=retried_at)  # type: ignore[arg-type]


def progress(device: Device, **changes: object) -> Progress:
    kind = view(device, **changes).kind_of(device.name)  # type: ignore[arg-type]
    assert kind is not None
    return kind.progress


(CAMERA,) = cameras(1)
ARRIVED = told(CAMERA, MODEL, PlaneState.CONFIRMED)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (CAMERA, Progress.UNTOUCHED),
        (told(CAMERA, MODEL), Progress.IN_FLIGHT),
        (told(CAMERA, MODEL, PlaneState.DOWNLOADING), Progress.IN_FLIGHT),
        (told(CAMERA, MODEL, withdrawn=True), Progress.UNTOUCHED),
        (told(CAMERA, MODEL, PlaneState.DOWNLOADING, withdrawn=True), Progress.IN_FLIGHT),
        (told(CAMERA, MODEL, PlaneState.CONFIRMED, withdrawn=True), Progress.CONFIRMED),
        (replace(told(CAMERA, MODEL), step=None), Progress.UNTOUCHED),
        (ARRIVED, Progress.CONFIRMED),
        (told(CAMERA, MODEL, PlaneState.CONFIRMED, runs=OLD), Progress.FAILED),
        (told(CAMERA, MODEL, PlaneState.ROLLED_BACK, reason="ProbeFailed: x"), Progress.FAILED),
        (told(CAMERA, MODEL, PlaneState.INSTALLED_UNVERIFIED), Progress.UNVERIFIED),
        (told(CAMERA, MODEL, PlaneState.FAILED, reason="DownloadFailed: 503"), Progress.RETRYING),
        (told(CAMERA, MODEL, PlaneState.FAILED, reason="DownloadFailed: 503", attempt=3), Progress.FAILED),
        (told(ARRIVED, MODEL, PlaneState.CONFIRMED, runs=OLD, number=8), Progress.FAILED),
        (told(ARRIVED, OLD, step_type=StepType.RETURN, number=8, drill=Drill.ROUND_TRIP), Progress.DRILLED),
        (
            told(ARRIVED, OLD, PlaneState.CONFIRMED, step_type=StepType.RETURN, number=8, drill=Drill.ROUND_TRIP),
            Progress.DRILLED,
        ),
        (told(ARRIVED, MODEL, PlaneState.CONFIRMED, number=9, drill=Drill.ROUND_TRIP), Progress.CONFIRMED),
    ],
)
def test_progress_is_what_the_device_itself_says(device: Device, expected: Progress) -> None:
    assert progress(device, retries=RetryPolicy(3, MINUTE)) is expected


def test_device_that_ran_the_target_before_is_confirmed_only_while_it_is_healthy() -> None:
    status = replace(CAMERA.status(Plane.MODEL), running=MODEL.content)
    there = replace(CAMERA, planes={**CAMERA.planes, Plane.MODEL: status})
    assert progress(there) is Progress.CONFIRMED
    assert progress(replace(there, failing=("camera",))) is Progress.UNTOUCHED


def half_way(**changes: object) -> Device:
    """Its firmware was changed and confirmed, and the next order, for its model, was taken back unbegun."""
    first = told(CAMERA, TARGETS["v1"][Plane.FIRMWARE], PlaneState.CONFIRMED, revision=V1)
    return told(first, TARGETS["v1"][Plane.MODEL], number=8, revision=V1, withdrawn=True, **changes)  # type: ignore[arg-type]


def test_device_whose_next_order_was_taken_back_stays_under_way_by_what_this_revision_changed() -> None:
    assert progress(half_way(), target="v1") is Progress.UNDER_WAY
    other = told(CAMERA, TARGETS["v1"][Plane.FIRMWARE], PlaneState.CONFIRMED, revision="0123456789-3")
    taken_back = told(other, TARGETS["v1"][Plane.MODEL], number=8, revision=V1, withdrawn=True)
    assert progress(taken_back, target="v1") is Progress.UNTOUCHED
    failed = told(
        CAMERA, TARGETS["v1"][Plane.FIRMWARE], PlaneState.CONFIRMED, revision=V1, runs=FACTORY[Plane.FIRMWARE]
    )
    lost = told(failed, TARGETS["v1"][Plane.MODEL], number=8, revision=V1, withdrawn=True)
    assert progress(lost, target="v1") is Progress.UNTOUCHED


def test_device_that_fell_back_in_another_plane_has_failed_whatever_its_last_step_said() -> None:
    first = told(CAMERA, TARGETS["v1"][Plane.FIRMWARE], PlaneState.CONFIRMED, revision=V1)
    back = replace(first.status(Plane.FIRMWARE), running=FACTORY[Plane.FIRMWARE].content)
    first = replace(first, planes={**first.planes, Plane.FIRMWARE: back})
    second = told(first, TARGETS["v1"][Plane.MODEL], PlaneState.CONFIRMED, number=8, revision=V1)
    assert progress(second, target="v1") is Progress.FAILED


@pytest.mark.parametrize(("seconds", "is_pardoned"), [(-1, False), (0, False), (1, True)])
def test_pardon_is_for_what_was_ordered_before_it(seconds: int, is_pardoned: bool) -> None:
    device = told(CAMERA, MODEL, PlaneState.ROLLED_BACK, reason="ProbeFailed: x")
    at = START + timedelta(seconds=seconds)
    assert was_pardoned(device, at) is is_pardoned
    assert progress(device, retried_at=at) is (Progress.RETRYING if is_pardoned else Progress.FAILED)
    assert not was_pardoned(device, None)
    assert not was_pardoned(CAMERA, at)


@pytest.mark.parametrize(
    ("device", "has_refused"),
    [
        (told(ARRIVED, OLD, PlaneState.FAILED, step_type=StepType.RETURN, reason="Rejected: slot"), True),
        (told(ARRIVED, OLD, PlaneState.DOWNLOADING, step_type=StepType.RETURN), False),
        (told(ARRIVED, OLD, PlaneState.CONFIRMED, step_type=StepType.RETURN), False),
        (told(ARRIVED, MODEL, PlaneState.FAILED, reason="Rejected: slot"), False),
        (told(ARRIVED, OLD, PlaneState.FAILED, step_type=StepType.RETURN, reason="DownloadFailed", attempt=2), False),
        (told(ARRIVED, OLD, PlaneState.FAILED, step_type=StepType.RETURN, reason="DownloadFailed", attempt=3), True),
    ],
)
def test_return_counts_as_refused_only_when_the_device_answered_and_is_not_back(
    device: Device, has_refused: bool
) -> None:
    kind = view(device, retries=RetryPolicy(3, MINUTE)).kind_of(device.name)
    assert kind is not None
    assert kind.has_refused_return is has_refused


@pytest.mark.parametrize("drill", [None, Drill.BREAK])
def test_order_of_a_device_in_flight_is_part_of_its_kind(drill: Drill | None) -> None:
    device = told(CAMERA, MODEL, PlaneState.DOWNLOADING, drill=drill)
    kind = view(device).kind_of(device.name)
    assert kind is not None
    assert kind.order == Ordered(
        StepType.INSTALL, Plane.MODEL, MODEL.content, is_begun=True, is_drill=drill is not None
    )


def test_counts_tell_each_progress_apart() -> None:
    names = iter(cameras(9))
    devices = [
        next(names),
        told(next(names), MODEL),
        told(next(names), MODEL, PlaneState.CONFIRMED),
        told(next(names), MODEL, PlaneState.ROLLED_BACK, reason="ProbeFailed: x"),
        told(next(names), MODEL, PlaneState.ROLLED_BACK, reason="Watchdog"),
        told(next(names), MODEL, PlaneState.FAILED, reason="DownloadFailed: 503"),
        replace(next(names), reachable=False),
        replace(next(names), revoked=True),
        told(
            told(next(names), MODEL, PlaneState.CONFIRMED),
            OLD,
            step_type=StepType.RETURN,
            number=8,
            drill=Drill.ROUND_TRIP,
        ),
    ]
    counts = view(*devices, retries=RetryPolicy(3, MINUTE)).counts(0)
    assert counts == RingCounts(
        target=9, started=6, in_flight=1, confirmed=1, failed=2, offline=2, retrying=1, drilled=1
    )


def test_sets_that_run_are_counted_over_all_kinds() -> None:
    devices = [*cameras(2), replace(cameras(1, "us")[0], device_class="rk3566"), told(cameras(1, "apac")[0], MODEL)]
    there = told(cameras(1, "latam")[0], MODEL, PlaneState.CONFIRMED)
    assert [count for _, count in view(*devices, there).running()] == [4, 1]


def test_sets_with_and_without_a_content_are_told_in_one_order() -> None:
    bare = replace(CAMERA, planes={})
    assert [count for _, count in view(bare, *cameras(3, "us")).running()] in ([1, 3], [3, 1])


def test_device_that_is_gone_leaves_its_place_in_the_ring_to_the_next() -> None:
    devices = cameras(5)
    rings = (replace(EVERYONE[0], name="first", size=Count(2)), EVERYONE[0])
    fleet = FleetView(plan_of("model", rings=rings), seen([]).fleet.revision, devices)
    first = fleet.members(0)
    others = [one for one in fleet if one not in first]
    fleet.remove(first[0].name)
    assert fleet.members(0) == [first[1], others[0]]
    assert [one.name for one in fleet] == [one.name for one in [first[1], *others]]
    assert fleet.counts(1).target == 2


def test_claim_without_the_bytes_is_no_good_answer() -> None:
    assert answered_well(ARRIVED)
    assert not answered_well(CAMERA)
    assert not answered_well(told(CAMERA, MODEL, PlaneState.DOWNLOADING))
    assert not answered_well(told(CAMERA, MODEL, PlaneState.CONFIRMED, runs=OLD))


def test_sizes_round_up_when_they_choose_and_down_when_they_tolerate() -> None:
    tenth = Share(Fraction(1, 10))
    assert (tenth.of(25), tenth.tolerated(25)) == (3, 2)
    strictest = least(Share(Fraction(1)), Count(3), Share(Fraction(1)))
    assert strictest == Least((Share(Fraction(1)), Count(3)))
    assert (strictest.of(2), strictest.of(9), strictest.tolerated(2), strictest.tolerated(9)) == (2, 3, 2, 3)
    assert least(Count(4), Count(4)) == Count(4)
    assert least(strictest, Count(3)) == strictest
