"""What users of other systems complain about, as far as it is about deciding: each complaint is a thing we must not do.

Each test names what happened and where it was reported.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import nan

import pytest

from backstay.core.actions import AlertKind, Dispatch
from backstay.core.devices import DeviceName, PlaneState, StepType
from backstay.core.failures import RetryPolicy
from backstay.core.holds import Hold
from backstay.core.observed import GroupRules
from backstay.core.plan import Count, Ring, RollbackPolicy, Success
from backstay.core.planes import Plane
from backstay.core.reasons import Reason
from backstay.core.revision import Phase
from backstay.core.selectors import Selector
from backstay.core.signals import Result, Signal, Value, WhenUnclear, judge
from tests.laws.release_world import ACCURACY, SOAK, TARGETS, World, device_of, plan_of, world_of

CANARY = Ring("canary", size=Count(2), minimum=2, soak=SOAK, in_flight=Count(2))
EVERYONE = Ring("everyone", soak=SOAK, in_flight=Count(5))
MODEL = TARGETS["v1"][Plane.MODEL]


def world_with(**plan: object) -> World:
    world = world_of()
    world.plan = plan_of("model", **{"rings": (CANARY, EVERYONE), **plan})
    return world


def members(world: World, ring: int) -> list[DeviceName]:
    fleet = world.observe().fleet
    return [device.name for device in fleet if fleet.ring_of(device.name) == ring]


def phases(world: World) -> list[str]:
    return [str(after.phase) for _, after in world.moves]


def reasons(world: World) -> set[Reason]:
    assert world.decision is not None
    return {because.reason for because in world.decision.because}


def rolled_back(world: World, name: DeviceName) -> None:
    """The bootloader of a device falls back, long after the device has confirmed."""
    device = world.truth[name]
    status = device.status(Plane.MODEL)
    back = replace(status, running=status.fallback, version=status.fallback_version)
    world.write(replace(device, planes={**device.planes, Plane.MODEL: back}))
    world.see(name)


def test_device_is_not_up_to_date_when_its_bootloader_fell_back_after_it_confirmed() -> None:
    """Reports "up to date" after the bootloader fell back: flightctl#2470, hawkbit#446."""
    world = world_with()
    world.run(15)
    assert world.observe().fleet.counts(0).confirmed == 2
    rolled_back(world, members(world, 0)[0])
    assert world.observe().fleet.counts(0).confirmed == 1
    world.settle()
    assert "RollingBack" in phases(world)


def test_release_reaches_one_ring_only_when_it_starts() -> None:
    """Rollout policy bypassed, everyone updates at once: flightctl#1560."""
    world = world_with()
    world.run(30)
    assert {dispatch.device for dispatch, _ in world.dispatches} == set(members(world, 0))


def test_budget_that_is_spent_is_named_when_a_group_starves() -> None:
    """Budget starves a group, silently: flightctl#892."""
    world = world_with(rings=(EVERYONE,))
    world.groups = {"eu": GroupRules(max_unavailable=Count(1))}
    world.settle()
    world.silent = set(world.truth)
    world.run(10)
    assert Reason.GROUP_BUSY in reasons(world)
    assert world.decision is not None
    assert any("maxUnavailable of group eu" in because.message for because in world.decision.because)


def test_next_ring_does_not_start_when_a_device_neither_succeeds_nor_fails() -> None:
    """Neither the success nor the error condition holds, and the next group starts anyway: hawkbit#3110."""
    world = world_with()
    world.settle()
    for name in members(world, 0):
        device = world.truth[name]
        assert device.step is not None
        unproven = replace(device.status(Plane.MODEL), state=PlaneState.INSTALLED_UNVERIFIED, step=device.step.number)
        world.write(replace(device, planes={**device.planes, Plane.MODEL: unproven}))
    world.run(600)
    assert phases(world) == ["Pending", "Rolling"]
    assert Reason.BLOCKED in reasons(world)


def test_release_goes_back_when_health_falls_after_everybody_installed_it() -> None:
    """Install success hides a later regression: hawkbit#2867."""
    world = world_with()
    world.run(110)
    assert world.state is not None
    assert world.state.phase is Phase.STABILIZING
    world.bad = frozenset({MODEL.content})
    world.run(90)
    assert world.state.phase is Phase.ROLLED_BACK


def test_device_that_proceeds_for_ever_fails_at_its_deadline() -> None:
    """A device is "proceeding" for ever and holds a slot: hawkbit#693, nerves_hub_web#2369."""
    world = world_with()
    world.settle()
    for name in members(world, 0):
        world.begin(name)
    world.see_all()
    world.silent = set(world.truth)
    world.now += timedelta(minutes=5, seconds=1)
    world.settle()
    assert "RollingBack" in phases(world)
    assert world.state is not None
    assert world.state.cause is not None
    assert "TimedOut (2)" in world.state.cause.message


def test_device_that_joins_late_waits_for_its_ring() -> None:
    """New devices join and skip all gates: hawkbit#1548."""
    world = world_with()
    world.run(15)
    joins = device_of("cam-new", "eu")
    world.truth[joins.name] = joins
    world.run(15)
    assert joins.name not in {dispatch.device for dispatch, _ in world.dispatches}
    world.run(60)
    assert joins.name in {dispatch.device for dispatch, _ in world.dispatches}


def test_download_is_tried_a_few_times_with_longer_and_longer_waits() -> None:
    """Endless re-download, cancel ignored: rauc-hawkbit-updater#158."""
    world = world_with(retries=RetryPolicy(3, timedelta(minutes=1)))
    world.registry_away = True
    world.run(1200)
    (canary, *_) = members(world, 0)
    at = [dispatch.expires for dispatch, _ in world.dispatches if dispatch.device == canary]
    assert [round((later - earlier).total_seconds(), -1) for earlier, later in pairwise(at)] == [
        60,
        120,
    ]


def test_failed_device_is_not_ordered_the_same_again() -> None:
    """The same bad version is tried for ever: aktualizr-lite#153, nerves_hub_web#202."""
    world = world_with(rings=(replace(EVERYONE, max_failed=Count(6)),), success=Success(min_confirmed=1))
    unlucky = members(world, 0)[0]
    world.settle()
    world.begin(unlucky)
    world.finish(unlucky, well=False)
    world.run(300)
    assert [dispatch.type for dispatch, _ in world.dispatches if dispatch.device == unlucky][:1] == [StepType.INSTALL]
    installs = [d for d, _ in world.dispatches if d.device == unlucky and d.type is StepType.INSTALL]
    assert len(installs) == 1


def test_outage_of_the_metrics_store_neither_promotes_nor_rolls_back() -> None:
    """An outage of the metrics store rolls back a good release: flagger#1353, flagger#1689, argo-rollouts#1905."""
    world = world_with()
    world.run(15)
    world.result = Result.PROVIDER_ERROR
    world.run(3600, step=30)
    assert phases(world) == ["Pending", "Rolling", "Soaking"]
    assert world.decision is not None
    assert [alert.kind for alert in world.decision.alerts] == [AlertKind.PROVIDER_ERROR]


def test_value_that_is_no_number_is_no_data() -> None:
    """NaN compares false and passes: argo-rollouts#1466, argo-rollouts#977."""
    signal = Signal("latency", "q", (Plane.MODEL,))
    verdict = judge(signal, Value(nan), "q", datetime(2026, 1, 5, tzinfo=UTC))
    assert verdict.result is Result.NO_DATA


def test_inconclusive_result_holds_until_its_own_deadline_and_then_stops_for_a_person() -> None:
    """Inconclusive is ignored, or loops: argo-rollouts#3850, argo-rollouts#3015."""
    world = world_with(signals=(replace(ACCURACY, wait_limit=timedelta(minutes=5)),))
    world.run(15)
    world.result = Result.INCONCLUSIVE
    world.run(240)
    assert phases(world)[-1] == "Soaking"
    world.run(120)
    assert phases(world)[-1] == "Halted"
    assert Reason.UNCLEAR_TOO_LONG in reasons(world)


def test_hold_stops_what_is_new_and_rolls_nothing_back() -> None:
    """No way to hold without rolling back: argo-rollouts#2866, flagger#1186."""
    world = world_with()
    world.run(15)
    world.holds = (Hold("stop", reason="incident"),)
    ordered = len(world.dispatches)
    world.run(300)
    assert len(world.dispatches) == ordered
    assert "RollingBack" not in phases(world)
    canaries = members(world, 0)
    assert all(world.truth[name].runs(Plane.MODEL, MODEL.content) for name in canaries)


def test_gate_that_fails_only_stops_when_the_plan_says_so() -> None:
    """No way to hold without rolling back: argo-rollouts#2866, flagger#1186."""
    world = world_with(rollback=RollbackPolicy(automatic=False))
    world.failing_probes = frozenset({MODEL.content})
    world.run(60)
    assert phases(world)[-1] == "Halted"
    assert not any(dispatch.type is StepType.RETURN for dispatch, _ in world.dispatches)


@pytest.mark.parametrize("automatic", [True, False])
def test_every_stop_pages_and_says_why(automatic: bool) -> None:
    """A silent abort: flagger#1816."""
    world = world_with(rollback=RollbackPolicy(automatic=automatic, verify=timedelta(seconds=20)))
    world.failing_probes = frozenset({MODEL.content})
    world.run(15)
    for _ in range(20):
        assert world.decision is not None
        assert world.decision.alerts
        assert "ProbeFailed: camera" in world.decision.alerts[0].summary
        assert all(because.message for because in world.decision.because)
        world.run(5)


def test_bad_release_is_refused_by_its_bytes_whatever_it_is_called() -> None:
    """A bad release is promoted again: kargo#3016, argo-cd#9570."""
    world = world_with()
    world.failing_probes = frozenset({MODEL.content})
    world.run(120)
    repackaged = replace(MODEL, version="1.0.1", artifact="registry/elsewhere@sha256:other")
    world.plan = replace(world.plan, target={Plane.MODEL: repackaged, Plane.CONFIG: TARGETS["v1"][Plane.CONFIG]})
    ordered = len(world.dispatches)
    world.run(60)
    assert Reason.FROZEN in reasons(world)
    assert len(world.dispatches) == ordered


def test_offline_device_neither_fails_its_ring_nor_stalls_it() -> None:
    """Offline members stall or mislead: fleet#192, fleet#594."""
    world = world_with()
    off = members(world, 1)[0]
    world.write(replace(world.truth[off], reachable=False))
    world.run(300)
    assert world.state is not None
    assert world.state.phase is Phase.SUCCEEDED
    assert world.observe().fleet.counts(1).offline == 1
    world.write(replace(world.truth[off], reachable=True))
    world.run(30)
    assert world.truth[off].runs(Plane.MODEL, MODEL.content)


def test_firmware_is_kept_from_a_device_that_could_not_fall_back() -> None:
    """A good update is reported failed where the bootloader cannot roll back: esp-aws-iot#137, esp-idf#5950."""
    firmware = {Plane.FIRMWARE: TARGETS["v1"][Plane.FIRMWARE]}
    world = world_with(rings=(EVERYONE,))
    world.plan = replace(world.plan, target=firmware)
    unable = members(world, 0)[0]
    world.write(replace(world.truth[unable], rollback_capable=False))
    world.see_all()
    world.settle()
    assert Reason.CANNOT_FALL_BACK in reasons(world)
    world.run(60)
    assert unable not in {dispatch.device for dispatch, _ in world.dispatches}


def test_segment_can_be_stopped_while_the_others_go_on() -> None:
    """No way to hold a part: flagger#1186; a budget or a stop must say whom it is about: flightctl#892."""
    world = world_with(rings=(EVERYONE,))
    world.holds = (Hold("stop-us", Selector.labels(region="us"), reason="incident"),)
    world.run(60)
    touched = {dispatch.device for dispatch, _ in world.dispatches}
    assert {world.truth[name].labels["region"] for name in touched} == {"eu"}


def test_orders_of_one_decision_are_few_enough_to_stop_in_time() -> None:
    """Everyone updates at once: flightctl#1560; a decision must never order a whole fleet in one breath."""
    world = world_of(600)
    world.plan = plan_of("model", rings=(Ring("all", in_flight=Count(600)),))
    world.tick()
    world.tick()
    decision = world.tick()
    orders = [action for action in decision.actions if isinstance(action, Dispatch)]
    assert len(orders) == 256
    assert decision.wake_at == world.now


def test_no_data_counts_as_a_failure_only_where_the_rule_says_so() -> None:
    """NaN and no data decide by accident: argo-rollouts#1466; here the rule says what they do."""
    world = world_with(signals=(replace(ACCURACY, on_no_data=WhenUnclear.FAIL),))
    world.run(15)
    world.result = Result.NO_DATA
    world.run(30)
    assert "RollingBack" in phases(world)
