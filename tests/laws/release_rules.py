"""All that people, devices, networks and crashes may do to a release, in any order, and the plans that they do it to.

The laws themselves stand beside each machine that is built on these rules.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import time, timedelta
from fractions import Fraction
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from backstay.core.actions import Decision
from backstay.core.devices import DeviceName
from backstay.core.failures import RetryPolicy
from backstay.core.holds import Hold, InFlight
from backstay.core.observed import GroupRules, Observed
from backstay.core.plan import Count, Denominator, Plan, Rehearsal, Ring, RollbackPolicy, Scope, Share, Success
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.rehearsing import MAY_BREAK
from backstay.core.requests import Verb
from backstay.core.selectors import EVERYTHING, Selector
from backstay.core.signals import Result, WhenUnclear
from backstay.core.windows import Window
from tests.laws.release_world import ACCURACY, KNOWN, RINGS, START, TARGETS, World, device_of, plan_of

DEVICES = 9
JOINERS = 3
Law = Callable[[World, Observed, Decision], None]

WORKING_HOURS = Window(frozenset(range(5)), time(9), time(16), ZoneInfo("Europe/Berlin"))
indices = st.integers(0, DEVICES - 1)
regions = st.sampled_from(["eu", "us"])
versions = st.sampled_from(sorted(KNOWN.values(), key=str))
windows = st.sampled_from([(), (), (WORKING_HOURS,)])
mostly = st.sampled_from([True, True, True, False])
rarely = st.sampled_from([False, False, False, True])


def _rings(rehearsal: Rehearsal | None, approval: bool, window: tuple[Window, ...], spread: bool) -> tuple[Ring, ...]:
    canary, tenth, eu, everyone = RINGS
    return (
        replace(canary, rehearsal=rehearsal, spread_by=("region",) if spread else ()),
        replace(tenth, needs_approval=approval),
        replace(eu, windows=window),
        everyone,
    )


rehearsals = st.one_of(st.none(), st.none(), st.builds(Rehearsal, st.just(1), st.booleans()))
unclear = st.sampled_from([WhenUnclear.WAIT, WhenUnclear.WAIT, WhenUnclear.HALT])
signals = st.builds(
    lambda total, delay, broken, limit: replace(
        ACCURACY, total_failure_limit=total, initial_delay=delay, on_provider_error=broken, wait_limit=limit
    ),
    st.sampled_from([None, None, 3]),
    st.sampled_from([timedelta(0), timedelta(seconds=10)]),
    unclear,
    st.sampled_from([None, None, timedelta(minutes=3)]),
)
plans = st.builds(
    lambda rings, signal, scope, automatic, attempts, of, irreversible: plan_of(
        rings=rings,
        signals=(signal,),
        rollback=RollbackPolicy(automatic=automatic, verify=timedelta(seconds=20), scope=scope),
        retries=RetryPolicy(attempts, timedelta(seconds=30)),
        success=Success(of=of, offline_grace=timedelta(hours=2)),
        irreversible=irreversible,
    ),
    st.builds(_rings, rehearsals, rarely, windows, rarely),
    st.one_of(st.just(ACCURACY), signals),
    st.sampled_from([Scope.PLAN, Scope.PLAN, Scope.RING, Scope.SEGMENT]),
    mostly,
    st.integers(1, 3),
    st.sampled_from([Denominator.STARTED, Denominator.STARTED, Denominator.TARGET]),
    st.sampled_from([frozenset[Plane](), frozenset[Plane](), frozenset({Plane.FIRMWARE})]),
)


def world_for(plan: Plan, classes: tuple[str, ...] = ("esp32",)) -> World:
    """Devices in two regions; some may be broken on purpose."""
    world = World(plan=plan)
    for index in range(DEVICES):
        labels = {MAY_BREAK: "true"} if index % 2 else {}
        device = device_of(f"cam-{index:02}", "eu" if index % 3 else "us", **labels)
        world.truth[device.name] = replace(device, device_class=classes[index % len(classes)])
    world.crash()
    return world


def examples(count: int, steps: int = 40) -> settings:
    """So many examples by default, and in proportion more under a profile that wants more."""
    wanted = count * settings.default.max_examples // 100  # type: ignore[union-attr]
    return settings(max_examples=wanted, stateful_step_count=steps, deadline=None)


class ReleaseRules(RuleBasedStateMachine):
    """The world of `release_world`, driven at random; `laws` look at every decision before it is carried out."""

    laws: ClassVar[tuple[Law, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @initialize(plan=plans, is_mixed=st.booleans())
    def plan_is_written(self, plan: Plan, is_mixed: bool) -> None:
        self.world = world_for(plan, ("esp32", "rk3566") if is_mixed else ("esp32",))
        self.world.onlookers = self.laws
        self.starts()

    def starts(self) -> None:
        """What a machine adds to a fresh world."""

    def device(self, index: int) -> DeviceName:
        return sorted(self.world.truth)[index % len(self.world.truth)]

    # --- time and progress

    @rule(seconds=st.sampled_from([1, 5, 30, 60, 400]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule(hours=st.sampled_from([1, 5, 20]))
    def hours_pass(self, hours: int) -> None:
        self.world.now += timedelta(hours=hours)

    @rule(seconds=st.sampled_from([20, 60, 200]))
    def all_goes_well_for_a_while(self, seconds: int) -> None:
        self.world.run(seconds)

    # --- devices

    @rule(index=indices)
    def device_begins(self, index: int) -> None:
        self.world.begin(self.device(index))

    @rule(index=indices, well=mostly, reason=st.sampled_from(["ProbeFailed: camera", "DownloadFailed: 503"]))
    def device_finishes(self, index: int, well: bool, reason: str) -> None:
        self.world.begin(self.device(index))
        self.world.finish(self.device(index), well=well, reason=reason)

    @rule()
    def everybody_obeys(self) -> None:
        self.world.obey()

    @rule(index=indices, reachable=mostly)
    def device_comes_or_goes(self, index: int, reachable: bool) -> None:
        self.world.write(replace(self.world.truth[self.device(index)], reachable=reachable))

    @rule(index=indices, silent=st.booleans())
    def device_falls_silent_or_speaks(self, index: int, silent: bool) -> None:
        (self.world.silent.add if silent else self.world.silent.discard)(self.device(index))

    @rule(index=indices)
    def device_lies_from_now_on(self, index: int) -> None:
        self.world.liars.add(self.device(index))

    @rule(index=indices)
    def device_refuses_to_return_from_now_on(self, index: int) -> None:
        self.world.stubborn.add(self.device(index))

    @rule(index=indices)
    def device_cannot_be_broken_on_purpose(self, index: int) -> None:
        self.world.unbreakable.add(self.device(index))

    @rule(index=indices, plane=st.sampled_from(Plane))
    def device_goes_back_on_its_own(self, index: int, plane: Plane) -> None:
        self.world.regress(self.device(index), plane)

    @rule(index=indices, failing=st.booleans())
    def device_is_unhealthy_or_well_again(self, index: int, failing: bool) -> None:
        device = self.world.truth[self.device(index)]
        self.world.write(replace(device, failing=("disk",) if failing else ()))

    @rule(index=indices, region=regions)
    def device_moves(self, index: int, region: str) -> None:
        device = self.world.truth[self.device(index)]
        groups = frozenset({"cameras", region})
        self.world.write(replace(device, labels={**device.labels, "region": region}, groups=groups))

    @precondition(lambda self: len(self.world.truth) < DEVICES + JOINERS)
    @rule(region=regions)
    def device_joins(self, region: str) -> None:
        device = device_of(f"new-{self.world.version}", region)
        self.world.version += 1
        self.world.truth[device.name] = device
        self.world.see(device.name)

    @precondition(lambda self: len(self.world.truth) > DEVICES - JOINERS)
    @rule(index=indices)
    def device_leaves(self, index: int) -> None:
        del self.world.truth[self.device(index)]

    @rule(away=st.booleans())
    def registry_goes_or_comes(self, away: bool) -> None:
        self.world.registry_away = away

    # --- what the operator sees

    @rule(index=indices)
    def view_catches_up(self, index: int) -> None:
        self.world.see(self.device(index))

    @rule()
    def view_catches_up_whole(self) -> None:
        self.world.see_all()

    # --- health

    @rule(result=st.sampled_from(Result))
    def health_changes(self, result: Result) -> None:
        self.world.result = result

    @rule()
    def health_is_measured(self) -> None:
        self.world.measure()

    @rule(release=versions)
    def version_turns_out_bad(self, release: Any) -> None:
        self.world.bad = frozenset({release.content})

    @rule(release=versions)
    def version_fails_its_probes(self, release: Any) -> None:
        self.world.failing_probes = frozenset({release.content})

    @rule()
    def everything_is_healthy_again(self) -> None:
        self.world.bad = self.world.failing_probes = frozenset()
        self.world.result = Result.PASS
        self.world.registry_away = False

    # --- people

    @rule(versions=st.sampled_from(sorted(TARGETS)))
    def versions_are_edited(self, versions: str) -> None:
        self.world.plan = replace(self.world.plan, target=TARGETS[versions])

    @rule(refused=rarely)
    def versions_cannot_be_resolved_or_can(self, refused: bool) -> None:
        because = Because(Reason.UNRESOLVED_ARTIFACT, "the model carries no signature that counts")
        self.world.refusal = because if refused else None

    @rule(paused=rarely)
    def plan_is_paused_or_goes_on(self, paused: bool) -> None:
        self.world.plan = replace(self.world.plan, paused=paused)

    @rule(automatic=mostly)
    def rollback_is_switched(self, automatic: bool) -> None:
        policy = replace(self.world.plan.rollback, automatic=automatic)
        self.world.plan = replace(self.world.plan, rollback=policy)

    @rule(
        index=st.integers(0, len(RINGS) - 1),
        in_flight=st.sampled_from([Count(1), Count(5), Share(Fraction(1, 10))]),
        soak=st.sampled_from([timedelta(0), timedelta(seconds=50)]),
        window=windows,
        approval=st.booleans(),
    )
    def ring_is_edited(self, index: int, in_flight: Any, soak: timedelta, window: Any, approval: bool) -> None:
        rings = list(self.world.plan.rings)
        rings[index] = replace(rings[index], in_flight=in_flight, soak=soak, windows=window, needs_approval=approval)
        self.world.plan = replace(self.world.plan, rings=tuple(rings))

    @rule(
        region=st.one_of(st.none(), regions),
        release=st.one_of(st.none(), versions),
        index=st.one_of(st.none(), indices),
        in_flight=st.sampled_from(InFlight),
        minutes=st.one_of(st.none(), st.integers(1, 600)),
    )
    def person_holds(
        self, region: str | None, release: Any, index: int | None, in_flight: InFlight, minutes: Any
    ) -> None:
        hold = Hold(
            f"hold-{self.world.version}",
            EVERYTHING if region is None else Selector.labels(region=region),
            devices=frozenset() if index is None else frozenset({self.device(index)}),
            versions=frozenset() if release is None else frozenset({(release.plane, release.content)}),
            reason="incident",
            until=None if minutes is None else self.world.now + timedelta(minutes=minutes),
            in_flight=in_flight,
        )
        self.world.version += 1
        self.world.holds = (*self.world.holds, hold)

    @precondition(lambda self: self.world.holds)
    @rule(which=st.integers(0, 5))
    def person_lifts_a_hold(self, which: int) -> None:
        lifted = self.world.holds[which % len(self.world.holds)]
        self.world.holds = tuple(hold for hold in self.world.holds if hold is not lifted)

    @precondition(lambda self: self.world.holds)
    @rule()
    def person_lifts_every_hold(self) -> None:
        self.world.holds = ()

    @precondition(lambda self: self.world.state is not None)
    @rule(verb=st.sampled_from(Verb), ring=st.sampled_from([*(ring.name for ring in RINGS), "-"]))
    def person_asks(self, verb: Verb, ring: str) -> None:
        state = self.world.state
        assert state is not None
        self.world.asked = f"{verb}@{state.revision}/{ring}/{self.world.version}"
        self.world.version += 1

    @precondition(lambda self: self.world.state is not None)
    @rule()
    def person_approves_the_next_ring(self) -> None:
        state = self.world.state
        assert state is not None
        following = min(state.ring + 1, len(RINGS) - 1)
        self.world.asked = f"{Verb.APPROVE}@{state.revision}/{RINGS[following].name}/{self.world.version}"
        self.world.version += 1

    @rule(
        text=st.sampled_from(
            ["", "resume", "approve@0123456789-77/canary/1", "destroy@0123456789-1/-/2", "retry@x/y", "rollback@-1/-/3"]
        )
    )
    def person_asks_nonsense(self, text: str) -> None:
        self.world.asked = text

    @rule(group=st.sampled_from(["cameras", "eu"]), most=st.sampled_from([None, 1, 2]), paused=rarely, window=windows)
    def group_gets_rules(self, group: str, most: int | None, paused: bool, window: Any) -> None:
        limit = None if most is None else Count(most)
        self.world.groups[group] = GroupRules(paused, window, limit)

    # --- the operator

    @rule(
        crash_before=st.one_of(st.none(), st.none(), st.integers(0, 3)),
        refuse_status=rarely,
        lose=st.frozensets(st.integers(0, 3), max_size=2),
    )
    def operator_decides(self, crash_before: int | None, refuse_status: bool, lose: frozenset[int]) -> None:
        self.world.tick(crash_before, refuse_status=refuse_status, lose=lose)

    @rule()
    def operator_settles(self) -> None:
        self.world.settle()

    @rule()
    def operator_crashes(self) -> None:
        self.world.crash()


__all__ = ["START", "Law", "ReleaseRules", "examples", "plans", "world_for"]
