"""One decision at a time, by example: what is refused, what waits, and in which words."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from backstay.core.actions import AlertKind, Decision, Dispatch, Withdraw
from backstay.core.decide import decide
from backstay.core.devices import Device, Drill, PlaneState, StepType
from backstay.core.holds import Hold
from backstay.core.plan import Count, Ring, RollbackPolicy, Share, Success
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import DrillStage, DrillState, Phase
from backstay.core.selectors import Selector
from backstay.core.signals import Result
from tests.core.cameras import START, at, cameras, seen, told
from tests.laws.release_world import FACTORY, RINGS, TARGETS, World, plan_of, release, world_of


def phases(world: World) -> list[str]:
    return [str(after.phase) for _, after in world.moves]


def reasons(world: World) -> list[Reason]:
    assert world.decision is not None
    return [because.reason for because in world.decision.because]


def test_decide_refuses_a_frozen_version_by_name_when_a_plan_asks_for_it_again() -> None:
    world = world_of()
    model = TARGETS["v1"][Plane.MODEL]
    world.holds = (Hold("frozen-model", versions=frozenset({(Plane.MODEL, model.content)}), reason="accuracy fell"),)
    world.run(30)
    assert phases(world) == ["Pending"]
    assert not world.dispatches
    assert world.decision is not None
    assert str(world.decision.because[0]) == (
        "Frozen: model 1.0.0 is frozen by hold frozen-model (accuracy fell); delete the hold to allow it again"
    )
    assert [alert.kind for alert in world.decision.alerts] == [AlertKind.FROZEN]


def test_decide_starts_when_a_person_deletes_the_hold_that_froze_a_version() -> None:
    world = world_of()
    content = TARGETS["v1"][Plane.MODEL].content
    world.holds = (Hold("frozen-model", versions=frozenset({(Plane.MODEL, content)})),)
    world.run(30)
    world.holds = ()
    world.run(600)
    assert world.state is not None
    assert world.state.phase is Phase.SUCCEEDED


def test_decide_refuses_before_anything_ships_when_a_requirement_is_met_by_nobody() -> None:
    world = world_of()
    needy = release(Plane.CONFIG, "3.0.0", model=">=9.0.0")
    world.plan = replace(world.plan, target={Plane.CONFIG: needy})
    world.run(30)
    assert not world.dispatches
    assert world.decision is not None
    assert world.decision.because[0] == Because(
        Reason.NO_PATH,
        "12 of 12 devices have no safe order of changes: config 3.0.0 requires model >=9.0.0, but the device has 0.9.0",
    )


def test_decide_refuses_a_ring_that_takes_nobody() -> None:
    world = world_of(rings=(replace(RINGS[0], selector=Selector.labels(region="moon")), RINGS[3]))
    world.run(30)
    assert reasons(world) == [Reason.EMPTY_RING]


def test_decide_refuses_a_ring_that_can_never_confirm_enough() -> None:
    world = world_of(success=Success(min_confirmed=3))
    world.run(30)
    assert set(reasons(world)) == {Reason.EMPTY_RING}


def test_decide_starts_nothing_while_paused_and_says_so() -> None:
    world = world_of(paused=True)
    world.run(60)
    assert not world.dispatches
    assert reasons(world) == [Reason.PAUSED]


def test_decide_lets_the_others_go_on_when_a_region_is_held() -> None:
    world = world_of(rings=RINGS[3:])
    world.holds = (Hold("stop-us", Selector.labels(region="us"), reason="incident 7"),)
    world.run(900)
    touched = {dispatch.device for dispatch, _ in world.dispatches}
    assert touched
    assert all(world.truth[name].labels["region"] == "eu" for name in touched)


def test_decide_takes_an_order_back_when_a_hold_covers_it_before_it_began() -> None:
    world = world_of()
    world.settle()
    (first,) = [device for device in world.truth.values() if device.in_flight]
    world.holds = (Hold("stop", devices=frozenset({first.name})),)
    decision = world.tick()
    assert [type(action) for action in decision.actions][:1] == [Withdraw]
    assert not world.truth[first.name].in_flight


def test_decide_gives_a_withdrawn_device_a_new_number_when_the_hold_is_lifted() -> None:
    world = world_of(rings=RINGS[3:])
    world.settle()
    first = next(device for device in world.truth.values() if device.in_flight)
    world.holds = (Hold("stop", devices=frozenset({first.name})),)
    world.settle()
    world.holds = ()
    world.run(600)
    numbers = [dispatch.number for dispatch, _ in world.dispatches if dispatch.device == first.name]
    assert numbers == sorted(set(numbers))
    assert world.state is not None
    assert world.state.phase is Phase.SUCCEEDED


def test_decide_counts_a_silent_device_as_failed_at_its_deadline() -> None:
    world = world_of()
    world.settle()
    world.now += timedelta(minutes=6)
    world.settle()
    assert world.state is not None
    assert world.state.cause is not None
    assert "TimedOut" in world.state.cause.message
    assert "RollingBack" in phases(world)


def test_decide_believes_the_running_digest_when_a_device_claims_success() -> None:
    world = world_of()
    world.settle()
    (device,) = [device for device in world.truth.values() if device.in_flight]
    assert device.step is not None
    lie = replace(device.status(device.step.plane), state=PlaneState.CONFIRMED, step=device.step.number)
    world.write(replace(device, planes={**device.planes, device.step.plane: lie}))
    world.see_all()
    world.settle()
    assert "RollingBack" in phases(world)


@pytest.mark.parametrize("result", [Result.NO_DATA, Result.PROVIDER_ERROR, Result.INCONCLUSIVE])
def test_decide_never_promotes_without_a_pass(result: Result) -> None:
    world = world_of()
    world.result = result
    world.run(600)
    assert phases(world) == ["Pending", "Rolling", "Soaking"]
    assert Reason(result.value) in reasons(world)


def test_decide_pages_for_the_provider_and_not_for_health_when_queries_fail() -> None:
    world = world_of()
    world.result = Result.PROVIDER_ERROR
    world.run(200)
    assert world.decision is not None
    assert [alert.kind for alert in world.decision.alerts] == [AlertKind.PROVIDER_ERROR]


def test_decide_halts_and_pages_when_automatic_rollback_is_off() -> None:
    world = world_of(rollback=RollbackPolicy(automatic=False))
    world.run(60, well=False)
    assert world.state is not None
    assert world.state.phase is Phase.HALTED
    assert world.decision is not None
    assert [alert.kind for alert in world.decision.alerts] == [AlertKind.HALTED]


def test_decide_goes_on_to_the_next_suspect_when_health_does_not_return() -> None:
    world = world_of()
    world.run(20)
    while world.state is None or world.state.phase is not Phase.SOAKING:
        world.run(5)
    world.result = Result.FAIL
    world.run(400)
    assert world.state.phase is Phase.UNRESOLVED
    assert world.state.reverted == (Plane.MODEL, Plane.CONFIG, Plane.FIRMWARE)
    assert not world.holds, "a release that was not the cause is not frozen"
    assert all(device.runs(plane, r.content) for device in world.truth.values() for plane, r in FACTORY.items())


def test_decide_returns_a_device_to_its_fallback_first_when_a_revision_is_superseded_before_it_succeeded() -> None:
    world = world_of(rings=RINGS[3:], stability=timedelta(hours=1))
    world.run(120)
    assert world.state is not None
    assert world.state.phase is Phase.STABILIZING
    world.plan = plan_of("v2", rings=RINGS[3:])
    first = len(world.dispatches)
    world.run(600)
    later = [d for d, _ in world.dispatches[first:] if d.device == "cam-00" and d.release.plane is Plane.MODEL]
    assert [(str(d.type), d.release.version) for d in later] == [("Return", "0.9.0"), ("Install", "2.0.0")]


def test_decide_finishes_a_rollback_before_it_starts_the_next_versions() -> None:
    world = world_of()
    world.run(20)
    while world.state is None or world.state.phase is not Phase.SOAKING:
        world.run(5)
    world.bad = frozenset({TARGETS["v1"][Plane.MODEL].content})
    while world.state.phase is not Phase.VERIFYING:
        world.run(5)
    world.plan = plan_of("v2")
    world.run(5)
    assert world.state.phase is Phase.VERIFYING
    world.run(600)
    assert "RolledBack" in phases(world)
    assert world.state.phase is Phase.SUCCEEDED


def test_decide_catches_up_with_a_device_that_was_offline_through_the_rollout() -> None:
    world = world_of(success=Success(confirmed=Fraction(1, 2)))
    late = max(world.truth)
    world.write(replace(world.truth[late], reachable=False))
    world.see_all()
    world.run(900)
    assert world.state is not None
    assert world.state.phase is Phase.SUCCEEDED
    assert not world.truth[late].assigned
    world.write(replace(world.truth[late], reachable=True))
    world.run(60)
    assert all(world.truth[late].runs(plane, r.content) for plane, r in TARGETS["v1"].items())


def test_decide_promotes_no_ring_with_fewer_confirmed_devices_than_its_minimum() -> None:
    world = world_of(success=Success(offline_grace=timedelta(seconds=250)))
    world.settle()
    canary = next(name for name, device in world.truth.items() if device.assigned)
    spare = next(name for name in world.seen if name != canary and world.view and world.view.ring_of(name) == 0)
    world.write(replace(world.truth[spare], reachable=False))
    world.see_all()
    words = "ring canary has 1 confirmed devices and needs 2 (started 1 of 2, offline 1, failed 0)"
    world.run(200)
    assert world.decision is not None
    assert Because(Reason.WAITING_FOR_OFFLINE, words) in world.decision.because
    assert not world.decision.alerts
    world.run(100)
    assert phases(world) == ["Pending", "Rolling"]
    words = "ring canary has 1 confirmed devices and needs 2 (started 1 of 2, offline 1, failed 0)"
    assert Because(Reason.BLOCKED, words) in world.decision.because


def test_decide_refuses_a_ring_with_fewer_devices_than_its_minimum() -> None:
    world = world_of(rings=(replace(RINGS[0], minimum=20),))
    world.run(30)
    assert world.decision is not None
    words = "ring canary takes 12 devices and its gate needs 20; widen it or take it out"
    assert world.decision.because == (Because(Reason.EMPTY_RING, words),)


def test_decide_tolerates_no_failure_in_a_small_ring_by_a_percentage() -> None:
    rings = (replace(RINGS[0], max_failed=Share(Fraction(2, 100))), RINGS[3])
    world = world_of(rings=rings)
    world.run(30, well=False)
    assert "RollingBack" in phases(world)


def test_decide_tolerates_so_many_failures_as_the_ring_says() -> None:
    rings = (replace(RINGS[3], max_failed=Count(1), in_flight=Count(12)),)
    world = world_of(rings=rings, success=Success(confirmed=Fraction(9, 10)))
    world.settle()
    unlucky = min(world.truth)
    world.begin(unlucky)
    world.finish(unlucky, well=False)
    world.run(900)
    assert world.state is not None
    assert world.state.phase is Phase.SUCCEEDED


def test_decide_waits_and_pages_when_a_device_cannot_prove_what_it_runs() -> None:
    world = world_of()
    world.settle()
    (device,) = [device for device in world.truth.values() if device.in_flight]
    assert device.step is not None
    plane = device.step.plane
    unproven = replace(device.status(plane), state=PlaneState.INSTALLED_UNVERIFIED, step=device.step.number)
    world.write(replace(device, planes={**device.planes, plane: unproven}))
    world.see_all()
    world.run(300)
    assert phases(world) == ["Pending", "Rolling"]
    assert world.decision is not None
    assert [alert.kind for alert in world.decision.alerts] == [AlertKind.BLOCKED]
    assert reasons(world)[0] is Reason.BLOCKED


def test_decide_pages_without_a_gap_from_the_first_return_to_the_end() -> None:
    world = world_of()
    world.run(20)
    world.bad = frozenset({TARGETS["v1"][Plane.MODEL].content})
    paged = []
    for _ in range(100):
        world.obey()
        world.see_all()
        world.measure()
        decision = world.tick()
        if world.state is not None and world.state.cause is not None:
            paged.append([alert.kind for alert in decision.alerts])
        world.now += timedelta(seconds=5)
    assert paged[0] == [AlertKind.ROLLING_BACK]
    assert paged[-1] == [AlertKind.ROLLED_BACK]
    assert all(kinds in ([AlertKind.ROLLING_BACK], [AlertKind.ROLLED_BACK]) for kinds in paged)


def test_decide_goes_on_without_the_devices_that_a_person_stops_in_the_middle_of_a_ring() -> None:
    world = world_of(rings=(replace(RINGS[1], in_flight=Count(4)), RINGS[3]))
    world.settle()
    stopped = [device.name for device in world.truth.values() if device.in_flight]
    assert len(stopped) == 4
    world.begin(stopped[0])
    world.finish(stopped[0], well=True)
    world.see_all()
    world.holds = (Hold("stop", devices=frozenset(stopped[:2]), reason="incident"),)
    world.settle()
    world.run(900)
    assert world.state is not None
    assert world.state.phase is Phase.SUCCEEDED
    firmware = TARGETS["v1"][Plane.FIRMWARE].content
    assert [world.truth[name].runs(Plane.FIRMWARE, firmware) for name in stopped] == [True, False, True, True]
    world.holds = ()
    world.run(120)
    assert all(world.truth[name].runs(Plane.CONFIG, TARGETS["v1"][Plane.CONFIG].content) for name in stopped)


def test_decide_has_no_health_to_judge_when_every_device_ran_the_versions_already() -> None:
    world = world_of()
    world.plan = replace(world.plan, target=FACTORY)
    world.result = Result.NO_DATA
    world.run(120)
    assert world.state is not None
    assert world.state.phase is Phase.SUCCEEDED
    assert not world.dispatches


def test_decide_begins_the_next_revision_at_once_and_keeps_how_the_last_one_ended() -> None:
    world = world_of()
    world.asked = "nonsense"
    world.run(30)
    before = world.state
    assert before is not None
    world.plan = replace(world.plan, target=TARGETS["model"])
    decision = world.tick()
    assert decision.state.handled == before.handled == "nonsense"
    assert decision.state.counter == before.counter + 1
    assert decision.wake_at == world.now
    assert decision.ended is not None
    assert (decision.ended.revision, decision.ended.phase) == (before.revision, Phase.SUPERSEDED)
    assert decision.because == (Because(Reason.REVISION_STARTED, f"revision {decision.state.revision}: model 1.0.0"),)


def test_decide_begins_with_nothing_on_record() -> None:
    decision = world_of().tick()
    assert (decision.state.handled, decision.state.counter, decision.ended) == ("", 1, None)


def test_decide_records_nothing_of_a_plan_that_was_refused_from_the_beginning() -> None:
    world = world_of()
    world.refusal = Because(Reason.UNRESOLVED_ARTIFACT, "no such artifact")
    state = world.tick().state
    assert (state.revision, state.counter, state.hash, state.phase) == ("", 0, "", Phase.PENDING)


def test_decide_does_not_listen_to_verdicts_from_before_the_phase() -> None:
    world = world_of()
    while world.state is None or world.state.phase is not Phase.SOAKING:
        world.run(5)
    world.measure()
    observed = world.observe()
    old = replace(observed.verdicts["accuracy"], result=Result.FAIL, at=world.state.since - timedelta(seconds=1))
    decision = decide(replace(observed, verdicts={"accuracy": old}), world.now)
    assert decision.verdicts == ()
    assert decision.state == world.state


@pytest.mark.parametrize("is_asked", [False, True])
def test_decide_goes_on_looking_at_devices_while_the_next_versions_are_refused(is_asked: bool) -> None:
    world = world_of()
    world.settle()
    world.refusal = Because(Reason.UNRESOLVED_ARTIFACT, "no such artifact")
    if is_asked:
        world.asked = f"resume@{world.state.revision}/-/1"  # type: ignore[union-attr]
    decision = world.tick()
    assert [alert.kind for alert in decision.alerts] == [AlertKind.BLOCKED]
    (flying,) = [device for device in world.truth.values() if device.in_flight]
    assert flying.step is not None
    assert decision.wake_at == (world.now if is_asked else flying.step.expires)


REFUSAL = Because(Reason.UNRESOLVED_ARTIFACT, "no such artifact")
MODEL, OLD = TARGETS["model"][Plane.MODEL], FACTORY[Plane.MODEL]


def refused(*devices: Device, phase: Phase = Phase.ROLLING, **changes: object) -> Decision:
    """A decision about a revision whose plan asks for something else that is refused."""
    observed = seen(devices, rings=(Ring("everyone", max_failed=Count(9)),))
    state = at(observed, phase, **changes)
    return decide(replace(observed, state=state, refusal=REFUSAL), START)


def test_refused_plan_takes_back_what_nobody_began_where_a_hold_says_so() -> None:
    device = told(cameras(1)[0], MODEL)
    observed = seen([device], rings=(Ring("everyone"),))
    observed = replace(observed, state=at(observed, Phase.ROLLING), refusal=REFUSAL, holds=(Hold("stop"),))
    assert [type(action) for action in decide(observed, START).actions] == [Withdraw]


def test_refused_plan_returns_those_that_come_back_late() -> None:
    device = told(cameras(1)[0], MODEL, PlaneState.CONFIRMED)
    decision = refused(device, phase=Phase.ROLLED_BACK, plane=Plane.MODEL, reverted=(Plane.MODEL,))
    (order,) = decision.actions
    assert isinstance(order, Dispatch)
    assert order.release == OLD
    assert decision.because == (REFUSAL,)


def test_refused_plan_orders_nothing_new_and_rehearses_nothing() -> None:
    device = told(cameras(1)[0], MODEL, PlaneState.CONFIRMED)
    drills = (DrillState(device.name, Drill.ROUND_TRIP),)
    assert refused(*cameras(2)).actions == ()
    assert refused(device, phase=Phase.REHEARSING, drills=drills).actions == ()
    back = told(device, OLD, PlaneState.CONFIRMED, step_type=StepType.RETURN, number=8, drill=Drill.ROUND_TRIP)
    forward = (DrillState(device.name, Drill.ROUND_TRIP, DrillStage.REINSTALLING),)
    assert refused(back, phase=Phase.REHEARSING, drills=forward).actions == ()


def test_refused_plan_of_which_nothing_is_on_record_any_more_stands_still() -> None:
    failed = told(cameras(1)[0], MODEL, PlaneState.ROLLED_BACK, reason="ProbeFailed: camera")
    observed = seen([failed])
    bare = replace(observed, plan=replace(observed.plan, target={}), state=at(observed, Phase.ROLLING), refusal=REFUSAL)
    decision = decide(bare, START)
    assert (decision.phase, decision.actions, decision.because) == (Phase.ROLLING, (), (REFUSAL,))
