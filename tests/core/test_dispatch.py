"""Whom to order what: each reason counts all the devices that it stops, and a rollback takes no more than its share."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import time, timedelta
from zoneinfo import ZoneInfo

import pytest

from backstay.core.actions import Dispatch, Withdraw
from backstay.core.devices import Device, Drill, PlaneState, StepType
from backstay.core.dispatch import (
    MOST_AT_ONCE,
    RETURNS_IN_FLIGHT,
    Desk,
    Orders,
    can_undo,
    dispatch,
    orders_back,
    orders_for_ring,
)
from backstay.core.failures import RetryPolicy
from backstay.core.holds import Hold, InFlight
from backstay.core.observed import GroupRules, Observed
from backstay.core.plan import Count, Ring
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, Segment
from backstay.core.selectors import Selector
from backstay.core.steps import Order, search_once
from backstay.core.windows import Window
from tests.core.cameras import MINUTE, START, at, cameras, seen, told
from tests.laws.release_world import FACTORY, TARGETS, release

MODEL, OLD = TARGETS["model"][Plane.MODEL], FACTORY[Plane.MODEL]
ALL = (Ring("everyone", in_flight=Count(9999)),)


def forward(observed: Observed, now: timedelta = timedelta(0)) -> Orders:
    return orders_for_ring(Desk(observed, START + now), 0)


def ordered(orders: Orders) -> list[str]:
    return [action.device for action in orders.actions if isinstance(action, Dispatch)]


def mixed() -> list[Device]:
    """Devices of three kinds: two classes, and some that keep nothing."""
    first, second = cameras(3, "eu"), [replace(one, device_class="rk3566") for one in cameras(2, "us")]
    return [*first, *second]


# --- forward


@pytest.mark.parametrize(("asked", "again"), [(None, False), (MINUTE, True)])
def test_order_says_that_a_person_asked_when_a_device_is_to_try_again(asked: timedelta | None, again: bool) -> None:
    failed = told(cameras(1)[0], MODEL, PlaneState.ROLLED_BACK, reason="ProbeFailed: x")
    observed = seen([failed], rings=ALL)
    state = at(observed, Phase.ROLLING, retried_at=None if asked is None else START + asked)
    (order,) = (search_once(observed, START)(failed),)
    assert isinstance(order, Order)
    assert dispatch(failed, order, replace(observed, state=state), "everyone", START + MINUTE).again is again


def test_budget_goes_to_the_lowest_ranks_of_all_kinds_together() -> None:
    observed = seen(mixed(), rings=(Ring("everyone", in_flight=Count(2)),))
    orders = forward(observed)
    assert ordered(orders) == [device.name for device in observed.fleet][:2]
    assert orders.because == ()
    assert not orders.is_complete


def test_group_that_is_full_is_named_with_all_that_wait_for_it() -> None:
    observed = seen(mixed(), rings=ALL)
    rules = {"cameras": GroupRules(max_unavailable=Count(1), devices=5, unavailable=1)}
    words = "waiting in ring everyone because maxUnavailable of group cameras is reached: 5 devices"
    orders = forward(replace(observed, groups=rules))
    assert (ordered(orders), orders.because) == ([], (Because(Reason.GROUP_BUSY, words),))
    room = {"cameras": replace(rules["cameras"], max_unavailable=Count(3))}
    orders = forward(replace(observed, groups=room))
    words = "waiting in ring everyone because maxUnavailable of group cameras is reached: 3 devices"
    assert len(ordered(orders)) == 2
    assert orders.because == (Because(Reason.GROUP_BUSY, words),)


def test_device_that_is_due_again_waits_for_its_group_like_any_other() -> None:
    failed = told(cameras(1)[0], MODEL, PlaneState.FAILED, reason="DownloadFailed: 503")
    observed = seen([failed], rings=ALL, retries=RetryPolicy(3, MINUTE))
    assert ordered(forward(observed, MINUTE)) == [failed.name]
    busy = replace(observed, groups={"eu": GroupRules(max_unavailable=Count(1), devices=1, unavailable=1)})
    words = "waiting in ring everyone because maxUnavailable of group eu is reached: 1 device"
    assert forward(busy, MINUTE).because == (Because(Reason.GROUP_BUSY, words),)


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        (
            {"holds": (Hold("stop"),)},
            Because(Reason.HELD, "held in ring everyone: 5 devices"),
        ),
        (
            {"groups": {"cameras": GroupRules(paused=True)}},
            Because(Reason.PAUSED, "waiting in ring everyone until the pause ends: 5 devices"),
        ),
        (
            {"groups": {"cameras": GroupRules(windows=(Window(frozenset({0}), time(18), time(20), ZoneInfo("UTC")),))}},
            Because(
                Reason.WINDOW_CLOSED,
                "waiting in ring everyone until 2026-01-05 18:00 UTC, when a window opens: 5 devices",
            ),
        ),
    ],
    ids=["held", "paused", "closed"],
)
def test_what_stops_devices_is_told_with_how_many_of_all_kinds(changes: dict[str, object], because: Because) -> None:
    orders = forward(replace(seen(mixed(), rings=ALL), **changes))  # type: ignore[arg-type]
    assert ordered(orders) == []
    assert orders.because == (because,)


def test_device_without_a_path_is_told_with_the_requirement_and_how_many_there_are() -> None:
    needy = release(Plane.MODEL, "3.0.0", firmware=">=9.0.0")
    observed = seen(mixed(), rings=ALL)
    observed = replace(observed, plan=replace(observed.plan, target={Plane.MODEL: needy}))
    words = (
        "5 devices of ring everyone: no safe order of changes:"
        " model 3.0.0 requires firmware >=9.0.0, but the device has 0.9.0"
    )
    assert forward(observed).because == (Because(Reason.NO_PATH, words),)


def test_device_that_cannot_fall_back_from_a_firmware_keeps_its_own() -> None:
    devices = [replace(one, rollback_capable=False) for one in mixed()]
    words = (
        "5 devices of ring everyone cannot fall back from a firmware without help, so it stays;"
        " `irreversible: true` would change it anyway"
    )
    assert forward(seen(devices, "v1", ALL)).because == (Because(Reason.CANNOT_FALL_BACK, words),)


@pytest.mark.parametrize(
    ("capable", "plane", "step_type", "irreversible", "can"),
    [
        (True, Plane.FIRMWARE, StepType.INSTALL, False, True),
        (False, Plane.FIRMWARE, StepType.INSTALL, False, False),
        (False, Plane.FIRMWARE, StepType.INSTALL, True, True),
        (False, Plane.FIRMWARE, StepType.RETURN, False, True),
        (False, Plane.MODEL, StepType.INSTALL, False, True),
    ],
)
def test_only_a_new_firmware_asks_for_a_device_that_can_fall_back(
    capable: bool, plane: Plane, step_type: StepType, irreversible: bool, can: bool
) -> None:
    device = replace(cameras(1)[0], rollback_capable=capable)
    observed = seen([device], "v1", irreversible=frozenset({Plane.FIRMWARE}) if irreversible else frozenset())
    kind = observed.fleet.kind_of(device.name)
    assert kind is not None
    assert can_undo(kind, Order(step_type, release(plane, "2.0.0")), observed) is can


def test_ring_whose_budget_fell_silent_says_so() -> None:
    silent, waiting = told(cameras(1)[0], MODEL, PlaneState.DOWNLOADING), cameras(1, "us")
    observed = seen([silent, *waiting], rings=(Ring("everyone", in_flight=Count(1)),))
    words = (
        "all devices that ring everyone may change at the same time (1) have fallen silent,"
        " and stay counted until they answer"
    )
    late = forward(observed, 5 * MINUTE)
    assert late.because == (Because(Reason.BUDGET_SPENT, words),)
    assert forward(observed, 4 * MINUTE).because == ()
    assert forward(observed, 4 * MINUTE).wakes[0] == START + 5 * MINUTE


def test_large_ring_goes_on_at_once_after_as_many_orders_as_one_decision_gives() -> None:
    def wakes(count: int, budget: int) -> bool:
        orders = forward(seen(cameras(count), rings=(Ring("everyone", in_flight=Count(budget)),)))
        return START in orders.wakes

    assert wakes(MOST_AT_ONCE + 1, MOST_AT_ONCE + 1)
    assert not wakes(MOST_AT_ONCE + 1, MOST_AT_ONCE)
    assert not wakes(MOST_AT_ONCE - 1, MOST_AT_ONCE + 1)


def test_device_in_the_middle_of_a_drill_that_ended_is_served_like_one_under_way() -> None:
    """A plan that no longer rehearses brings such a device forward again."""
    before = told(cameras(1)[0], MODEL, PlaneState.CONFIRMED)
    device = told(before, OLD, PlaneState.CONFIRMED, step_type=StepType.RETURN, number=8, drill=Drill.ROUND_TRIP)
    observed = seen([device], rings=ALL)
    assert ordered(forward(observed)) == [device.name]


def test_orders_under_way_are_passed_over_and_the_rest_is_ordered() -> None:
    flying = [told(one, MODEL, PlaneState.DOWNLOADING) for one in cameras(2, "us")]
    waiting = cameras(2)
    for devices in ([*flying, *waiting], [*waiting, *flying]):
        assert set(ordered(forward(seen(devices, rings=ALL)))) == {one.name for one in waiting}


def test_drill_under_way_is_passed_over_and_the_rest_is_ordered() -> None:
    drills = [told(one, MODEL, drill=Drill.ROUND_TRIP) for one in cameras(20, "us")]
    (waiting,) = cameras(1)
    observed = replace(seen([*drills, waiting], rings=ALL), holds=())
    assert ordered(forward(observed)) == [waiting.name]
    held = replace(observed, holds=(Hold("stop"),))
    assert forward(held).actions == ()


def test_device_that_is_due_again_is_held_as_one() -> None:
    failed = told(cameras(1)[0], MODEL, PlaneState.FAILED, reason="DownloadFailed: 503")
    observed = replace(seen([failed], rings=ALL), holds=(Hold("stop"),))
    assert forward(observed, MINUTE).because == (Because(Reason.HELD, "held in ring everyone: 1 device"),)


# --- what a hold takes back


def test_hold_takes_back_what_nobody_began_of_every_kind() -> None:
    devices = [told(one, MODEL) for one in mixed()]
    begun = told(cameras(1, "apac")[0], MODEL, PlaneState.DOWNLOADING)
    foreign = [replace(one, assigned={}) for one in (told(one, MODEL) for one in cameras(20, "latam"))]
    observed = replace(seen([*foreign, *devices, begun], rings=ALL), holds=(Hold("stop"),))
    orders = forward(observed)
    assert {action.device for action in orders.actions if isinstance(action, Withdraw)} == {one.name for one in devices}
    assert ordered(orders) == []


def test_hold_on_a_region_leaves_what_others_do_alone() -> None:
    others = [told(one, MODEL) for one in cameras(20, "us")]
    (mine,) = [told(one, MODEL) for one in cameras(1)]
    observed = seen([*others, mine], rings=ALL)
    hold = Hold("stop", Selector.labels(region="eu"))
    observed.fleet.cover((hold,))
    (action,) = forward(replace(observed, holds=(hold,))).actions
    assert isinstance(action, Withdraw)
    assert action.device == mine.name


def test_hold_that_says_so_returns_what_is_under_way() -> None:
    begun = told(cameras(1)[0], MODEL, PlaneState.DOWNLOADING)
    away = replace(told(cameras(1, "us")[0], MODEL, PlaneState.DOWNLOADING), reachable=False)
    done = told(cameras(1, "apac")[0], MODEL, PlaneState.CONFIRMED)
    observed = replace(seen([begun, away, done], rings=ALL), holds=(Hold("stop", in_flight=InFlight.RETURN),))
    (order,) = forward(observed).actions
    assert isinstance(order, Dispatch)
    assert (order.device, order.type, order.release) == (begun.name, StepType.RETURN, OLD)


# --- back


def back(observed: Observed, now: timedelta = timedelta(0), plane: Plane = Plane.MODEL, **state: object) -> Orders:
    return orders_back(observed, at(observed, Phase.ROLLING_BACK, plane=plane, **state), plane, START + now)


def arrived(devices: Iterable[Device]) -> list[Device]:
    return [told(one, MODEL, PlaneState.CONFIRMED) for one in devices]


def returning(devices: Iterable[Device], **changes: object) -> list[Device]:
    return [
        told(one, OLD, PlaneState.DOWNLOADING, step_type=StepType.RETURN, number=8, **changes)  # type: ignore[arg-type]
        for one in arrived(devices)
    ]


def test_return_is_ordered_of_those_that_took_part_and_of_no_others() -> None:
    took, others = arrived(cameras(2)), cameras(2, "us")
    stranger = told(cameras(1, "apac")[0], MODEL, PlaneState.CONFIRMED, revision="0123456789-9")
    orders = back(seen([*took, *others, stranger]))
    assert set(ordered(orders)) == {one.name for one in took}
    assert not orders.is_complete


def test_return_is_over_once_every_reachable_device_is_back() -> None:
    gone = replace(arrived(cameras(1))[0], reachable=False)
    home = told(arrived(cameras(1, "us"))[0], OLD, PlaneState.CONFIRMED, step_type=StepType.RETURN, number=8)
    orders = back(seen([gone, home]))
    assert (orders.actions, orders.is_complete, orders.because) == ((), True, ())


def test_return_waits_for_those_on_their_way_until_they_are_late() -> None:
    observed = seen([*returning(cameras(2)), *returning(cameras(1, "us"))])
    assert not back(observed, 4 * MINUTE).is_complete
    assert back(observed, 4 * MINUTE).wakes == (START + 5 * MINUTE,)
    assert back(observed, 5 * MINUTE).is_complete


def test_return_still_waits_when_only_some_of_a_kind_are_late() -> None:
    early, late = returning(cameras(1)), returning(cameras(1, "us"), at=START - 3 * MINUTE)
    more = returning([replace(one, groups=frozenset({"cameras", "eu"})) for one in cameras(3, "apac")])
    observed = seen([*early, *late, *more])
    assert not back(observed, 4 * MINUTE).is_complete
    alike = returning(cameras(2))
    pair = seen([alike[0], *returning(cameras(2)[1:], at=START - 3 * MINUTE)])
    assert not back(pair, 3 * MINUTE).is_complete
    assert back(pair, 6 * MINUTE).is_complete


def test_return_calls_off_an_installation_of_the_bad_version_and_waits_for_one_of_another() -> None:
    installing = told(cameras(1)[0], MODEL, PlaneState.DOWNLOADING)
    orders = back(seen([installing]))
    (order,) = orders.actions
    assert isinstance(order, Dispatch)
    assert (order.type, order.release.content) == (StepType.RETURN, OLD.content)
    config = TARGETS["v1"][Plane.CONFIG]
    revision = seen([], "v1").fleet.revision
    first = told(cameras(1)[0], MODEL, PlaneState.CONFIRMED, revision=revision)
    both = told(first, config, PlaneState.DOWNLOADING, number=8, revision=revision)
    busy = back(seen([both], "v1"))
    assert (busy.actions, busy.is_complete) == ((), False)
    away = back(seen([replace(both, reachable=False)], "v1"))
    assert (away.actions, away.is_complete) == ((), True)


def test_return_of_a_revoked_device_is_not_waited_for() -> None:
    (device,) = arrived(cameras(1))
    orders = back(seen([replace(device, revoked=True)]))
    assert (orders.actions, orders.is_complete) == ((), True)


def test_return_is_confined_to_the_ring_or_the_segment_of_the_rollback() -> None:
    rings = (Ring("eu", selector=Selector.labels(region="eu")), Ring("rest"))
    eu = [told(one, MODEL, PlaneState.CONFIRMED, ring="eu") for one in cameras(1)]
    us = [told(one, MODEL, PlaneState.CONFIRMED, ring="rest") for one in cameras(1, "us")]
    observed = seen([*eu, *us], rings=rings)
    assert set(ordered(back(observed))) == {eu[0].name, us[0].name}
    assert ordered(back(observed, confined_to_ring=True, ring=1)) == [us[0].name]
    observed.fleet.confine(Segment("region", "eu"))
    assert ordered(back(observed, segment=Segment("region", "eu"))) == [eu[0].name]


def test_return_that_was_refused_or_has_no_way_is_counted_over_all_kinds() -> None:
    refused = [
        told(one, OLD, PlaneState.FAILED, step_type=StepType.RETURN, number=8, reason="Rejected: the slot is broken")
        for one in arrived([*cameras(1), *(replace(d, device_class="rk3566") for d in cameras(1, "us"))])
    ]
    empty = [
        replace(one, planes={**one.planes, Plane.MODEL: replace(one.status(Plane.MODEL), fallback=None)})
        for one in arrived([*cameras(2, "apac"), *(replace(d, device_class="rk3566") for d in cameras(1, "latam"))])
    ]
    orders = back(seen([*refused, *empty]))
    assert orders.because == (
        Because(Reason.NO_PATH, "3 devices could not return to the previous model: there is nothing to go back to"),
        Because(
            Reason.NOT_ALL_RETURNED,
            "2 devices could not return to the previous model: the order to go back was refused",
        ),
    )
    assert (orders.actions, orders.is_complete) == ((), True)


def test_return_has_its_own_budget_and_counts_what_is_on_its_way() -> None:
    on_their_way = returning([*cameras(40), *(replace(d, device_class="rk3566") for d in cameras(20, "us"))])
    waiting = arrived([*cameras(80, "apac"), *(replace(d, device_class="rk3566") for d in cameras(80, "latam"))])
    observed = seen([*on_their_way, *waiting])
    orders = back(observed)
    assert len(ordered(orders)) == RETURNS_IN_FLIGHT - 60
    names = {one.name for one in waiting}
    assert ordered(orders) == [one.name for one in observed.fleet if one.name in names][: RETURNS_IN_FLIGHT - 60]
    full = seen([*returning(cameras(RETURNS_IN_FLIGHT)), *arrived(cameras(1, "us"))])
    assert back(full).actions == ()
    assert not back(full).is_complete


def test_return_of_a_large_fleet_takes_a_fifth_and_goes_on_at_once() -> None:
    assert len(ordered(back(seen(arrived(cameras(600)))))) == 120
    large = back(seen(arrived(cameras(5 * MOST_AT_ONCE + 50))))
    assert len(ordered(large)) == MOST_AT_ONCE
    assert START in large.wakes
    assert START not in back(seen(arrived(cameras(5)))).wakes


# --- the order itself


def test_order_counts_on_from_the_last_and_expires_with_its_deadline() -> None:
    (device,) = arrived(cameras(1))
    (order,) = back(seen([device])).actions
    assert isinstance(order, Dispatch)
    assert (order.number, order.attempt, order.ring, order.drill) == (8, 1, "everyone", None)
    assert order.expires == START + 5 * MINUTE
    (first,) = forward(seen(cameras(1), rings=ALL)).actions
    assert isinstance(first, Dispatch)
    assert first.number == 1
    status = replace(cameras(1)[0].status(Plane.CONFIG), step=41)
    known = replace(cameras(1)[0], planes={**cameras(1)[0].planes, Plane.CONFIG: status})
    (next_one,) = forward(seen([known], rings=ALL)).actions
    assert isinstance(next_one, Dispatch)
    assert next_one.number == 42


def test_order_of_a_device_that_no_ring_takes_names_none() -> None:
    (device,) = [told(one, MODEL, PlaneState.CONFIRMED, ring="gone") for one in cameras(1)]
    observed = seen([device], rings=(Ring("us", selector=Selector.labels(region="us")),))
    (order,) = back(observed).actions
    assert isinstance(order, Dispatch)
    assert order.ring == ""


@pytest.mark.parametrize(
    ("ordered_before", "attempt"),
    [
        (told(cameras(1)[0], MODEL, PlaneState.FAILED, reason="DownloadFailed: 503", attempt=2), 3),
        (told(cameras(1)[0], OLD, PlaneState.FAILED, reason="DownloadFailed: 503", attempt=2), 1),
        (
            told(
                cameras(1)[0],
                MODEL,
                PlaneState.FAILED,
                reason="DownloadFailed: 503",
                attempt=2,
                step_type=StepType.RETURN,
            ),
            1,
        ),
    ],
    ids=["the same change", "another version", "a return"],
)
def test_attempts_count_on_while_the_same_change_is_ordered_again(ordered_before: Device, attempt: int) -> None:
    observed = seen([ordered_before], rings=ALL, retries=RetryPolicy(9, MINUTE))
    (order,) = forward(observed, timedelta(hours=3)).actions
    assert isinstance(order, Dispatch)
    assert order.release == MODEL
    assert order.attempt == attempt
