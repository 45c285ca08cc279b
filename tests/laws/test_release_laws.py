"""Promises 5, 6, 7 and 16 over `decide()`: whatever people, devices, networks and crashes do, in any order."""

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backstay.core.actions import Dispatch
from backstay.core.decide import decide
from backstay.core.devices import DeviceName, StepType
from backstay.core.fleet import FleetView
from backstay.core.holds import Hold
from backstay.core.planes import Plane
from backstay.core.revision import TRANSITIONS, WATCHED, Phase
from backstay.core.selectors import Selector
from backstay.core.signals import Result
from tests.laws.release_rules import examples
from tests.laws.release_world import TARGETS, World, device_of, plan_of, world_of

DEVICES = 9
indices = st.integers(0, DEVICES - 1)


class ReleaseLaws(RuleBasedStateMachine):
    """The world of `release_world`, driven at random, with an onlooker that counts for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World = world_of(DEVICES)
        self.moves_checked = 0

    def device(self, index: int) -> DeviceName:
        return sorted(self.world.truth)[index % len(self.world.truth)]

    # --- time, devices and networks

    @rule(seconds=st.sampled_from([1, 5, 30, 60, 400]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(index=indices)
    def device_begins(self, index: int) -> None:
        self.world.begin(self.device(index))

    @rule(index=indices, well=st.sampled_from([True, True, True, False]))
    def device_finishes(self, index: int, well: bool) -> None:
        self.world.begin(self.device(index))
        self.world.finish(self.device(index), well=well)

    @rule()
    def everybody_obeys(self) -> None:
        self.world.obey()

    @rule(index=indices, reachable=st.booleans())
    def device_comes_or_goes(self, index: int, reachable: bool) -> None:
        self.world.write(replace(self.world.truth[self.device(index)], reachable=reachable))

    @rule(index=indices)
    def view_catches_up(self, index: int) -> None:
        self.world.see(self.device(index))

    @rule()
    def view_catches_up_whole(self) -> None:
        self.world.see_all()

    @precondition(lambda self: len(self.world.truth) < DEVICES + 3)
    @rule(region=st.sampled_from(["eu", "us"]))
    def device_joins(self, region: str) -> None:
        device = device_of(f"new-{len(self.world.truth)}", region)
        self.world.truth[device.name] = device
        self.world.see(device.name)

    @rule(result=st.sampled_from(list(Result)))
    def health_changes(self, result: Result) -> None:
        self.world.result = result

    @rule()
    def health_is_measured(self) -> None:
        self.world.measure()

    # --- people

    @rule(versions=st.sampled_from(sorted(TARGETS)))
    def versions_are_edited(self, versions: str) -> None:
        self.world.plan = replace(self.world.plan, target=TARGETS[versions])

    @rule(paused=st.booleans())
    def plan_is_paused(self, paused: bool) -> None:
        self.world.plan = replace(self.world.plan, paused=paused)

    @rule(region=st.sampled_from(["eu", "us"]))
    def region_is_held(self, region: str) -> None:
        self.world.holds = (
            *self.world.holds,
            Hold(f"stop-{region}", Selector.labels(region=region), reason="incident"),
        )

    @rule(which=st.integers(0, 5))
    def hold_is_lifted(self, which: int) -> None:
        if self.world.holds:
            lifted = self.world.holds[which % len(self.world.holds)]
            self.world.holds = tuple(hold for hold in self.world.holds if hold is not lifted)

    # --- the operator

    @rule(crash_before=st.one_of(st.none(), st.none(), st.integers(0, 3)))
    def operator_decides(self, crash_before: int | None) -> None:
        self.world.tick(crash_before)

    @rule()
    def operator_settles(self) -> None:
        self.world.settle()

    @rule()
    def operator_crashes(self) -> None:
        self.world.crash()

    @rule(seconds=st.sampled_from([20, 60]))
    def all_goes_well_for_a_while(self, seconds: int) -> None:
        self.world.run(seconds)

    # --- the laws

    @invariant()
    def promise_5_no_device_ever_runs_an_incompatible_set(self) -> None:
        assert not self.world.unmet()

    @invariant()
    def promise_6_no_ring_exceeds_its_budget_by_a_dispatch(self) -> None:
        over = [load for load in self.world.loads if load[1] > load[2]]
        assert not over, over

    @invariant()
    def promise_7_later_rings_are_untouched_until_earlier_gates_passed(self) -> None:
        for dispatch, state in self.world.dispatches:
            rings = [ring.name for ring in self.world.plan.rings]
            if dispatch.type is StepType.INSTALL:
                assert rings.index(dispatch.ring) <= state.ring or state.phase in {Phase.STABILIZING, Phase.SUCCEEDED}

    @invariant()
    def promise_10_nothing_frozen_is_ordered(self) -> None:
        world = self.world
        frozen = {version for hold in world.holds if hold.versions for version in hold.versions}
        decision = world.decision
        if decision is None or world.view is None or decision.state is not world.state:
            return
        again = decide(world.observe(), world.now)
        for action in again.actions:
            if isinstance(action, Dispatch) and action.type is StepType.INSTALL:
                assert (action.release.plane, action.release.content) not in frozen

    @invariant()
    def promise_16_the_same_observations_give_the_same_decision(self) -> None:
        observed = self.world.observe()
        devices = list(observed.fleet)
        random.Random(len(self.world.dispatches)).shuffle(devices)
        shuffled = FleetView(observed.plan, observed.fleet.revision, devices)
        first = decide(observed, self.world.now)
        assert decide(observed, self.world.now) == first
        assert decide(replace(observed, fleet=shuffled), self.world.now) == first
        assert first.because, "a decision without a reason"

    @invariant()
    def counts_equal_a_recount(self) -> None:
        observed = self.world.observe()
        recount = FleetView(observed.plan, observed.fleet.revision, list(observed.fleet))
        for ring in range(len(observed.plan.rings)):
            assert observed.fleet.counts(ring) == recount.counts(ring)
        assert observed.fleet.running() == recount.running()

    @invariant()
    def promise_7_no_phase_is_left_by_a_gate_that_did_not_pass(self) -> None:
        fresh, self.moves_checked = self.world.moves[self.moves_checked :], len(self.world.moves)
        for before, after in fresh:
            if before is None or before.revision != after.revision:
                continue
            assert after.phase in TRANSITIONS[before.phase]

    @invariant()
    def no_order_is_given_twice(self) -> None:
        numbers = Counter((dispatch.device, dispatch.number) for dispatch, _ in self.world.dispatches)
        repeated = {key for key, count in numbers.items() if count > 1}
        refused = repeated - {(d.name, d.step.number) for d in self.world.truth.values() if d.step}
        assert not refused


class WatchedGates(ReleaseLaws):
    """The same world, looking only at what a watched phase may do on each verdict."""

    @invariant()
    def only_a_pass_on_fresh_data_promotes(self) -> None:
        world = self.world
        observed = world.observe()
        state = observed.state
        if state is None or state.phase not in WATCHED or state.revision != observed.fleet.revision:
            return
        decision = decide(observed, world.now)
        verdict = world.verdicts.get("accuracy")
        promoted = {Phase.ROLLING, Phase.STABILIZING, Phase.SUCCEEDED, Phase.ROLLED_BACK}
        if decision.phase is not state.phase and decision.phase in promoted:
            assert verdict is not None
            assert verdict.result is Result.PASS
            assert verdict.at >= state.since + self.window(state.phase, state.ring)

    def window(self, phase: Phase, ring: int) -> timedelta:
        plan = self.world.observe().plan
        if phase is Phase.SOAKING:
            return plan.rings[ring].soak
        return plan.stability if phase is Phase.STABILIZING else plan.rollback.verify


TestReleaseLaws = ReleaseLaws.TestCase
TestReleaseLaws.settings = examples(150)
TestWatchedGates = WatchedGates.TestCase
TestWatchedGates.settings = examples(60)


def test_release_succeeds_when_everything_is_healthy() -> None:
    world = world_of()
    world.run(600)
    assert world.state is not None
    assert world.state.phase is Phase.SUCCEEDED
    assert all(device.runs(plane, r.content) for device in world.truth.values() for plane, r in TARGETS["v1"].items())


def test_release_returns_the_convicted_plane_with_what_needs_it_when_health_fails() -> None:
    world = world_of()
    world.run(600)
    world.plan = plan_of("v2")
    model, config = TARGETS["v2"][Plane.MODEL], TARGETS["v2"][Plane.CONFIG]
    world.bad = frozenset({model.content})
    world.run(300)
    assert world.state is not None
    assert world.state.phase is Phase.ROLLED_BACK
    assert (world.state.reverted, world.state.beside) == ((Plane.MODEL,), (Plane.CONFIG,))
    frozen = {version for hold in world.holds for version in hold.versions}
    assert frozen == {(Plane.MODEL, model.content), (Plane.CONFIG, config.content)}
    assert not any(device.runs(Plane.MODEL, model.content) for device in world.truth.values())
    assert any(device.runs(Plane.FIRMWARE, TARGETS["v2"][Plane.FIRMWARE].content) for device in world.truth.values())
