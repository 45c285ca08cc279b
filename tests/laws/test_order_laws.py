"""Promises 4, 5, 6, 9, 10 and 12 over `decide()`: who is ordered what, seen at the moment of each decision."""

from collections.abc import Iterator
from dataclasses import replace

from hypothesis.stateful import invariant

from backstay.core.actions import Decision, Dispatch, Withdraw
from backstay.core.classes import class_named
from backstay.core.decide import decide
from backstay.core.devices import Device, PlaneState, StepType
from backstay.core.fleet import FleetView, running_of, version_set
from backstay.core.holds import Hold
from backstay.core.observed import Observed
from backstay.core.planes import ContentDigest, Plane, unmet_requirements
from backstay.core.revision import ENDS, FINISHES_FIRST, Phase
from backstay.core.rings import rank
from tests.laws.release_rules import ReleaseRules, examples
from tests.laws.release_world import FACTORY, KNOWN, World


def orders(decision: Decision, step_type: StepType | None = None) -> Iterator[Dispatch]:
    for action in decision.actions:
        if isinstance(action, Dispatch) and step_type in {None, action.type}:
            yield action


def covers(hold: Hold, device: Device, plane: Plane, content: ContentDigest) -> bool:
    """The scope of a hold, spelled out a second time."""
    named = not hold.devices or device.name in hold.devices
    grouped = not hold.groups or bool(hold.groups & device.groups)
    labelled = all(expression.matches(device.labels) for expression in hold.selector.expressions)
    return named and grouped and labelled and (not hold.versions or (plane, content) in hold.versions)


def promise_4_confirmed_are_exactly_those_that_say_they_run_the_target(
    world: World, observed: Observed, decision: Decision
) -> None:
    """As far as their words have reached the operator; neither orders nor claims of success count."""
    for report in decision.rings:
        members = [device for device in observed.fleet if _ring_name(observed, device) == report.name]
        there = [d for d in members if all(d.runs(plane, r.content) for plane, r in observed.plan.target.items())]
        settled = [device for device in there if not device.in_flight]
        sound = [device for device in settled if not device.failing and _answered_as_ordered(device)]
        assert len(sound) <= report.counts.confirmed <= len(settled)


def _ring_name(observed: Observed, device: Device) -> str | None:
    index = observed.fleet.ring_of(device.name)
    return None if index is None else observed.plan.rings[index].name


def _answered_as_ordered(device: Device) -> bool:
    """It confirmed its last step, and runs what it was ordered in every plane."""
    if device.step is None:
        return True
    ended_well = device.status(device.step.plane).state is PlaneState.CONFIRMED
    return ended_well and all(device.runs(plane, a.content) for plane, a in device.assigned.items())


def promise_5_no_order_makes_an_incompatible_set(world: World, observed: Observed, decision: Decision) -> None:
    for order in orders(decision):
        device = world.seen[order.device]
        running = version_set(running_of(device), KNOWN)
        assert not unmet_requirements(running.changed(order.release)), order


def promise_9_nothing_held_is_ordered(world: World, observed: Observed, decision: Decision) -> None:
    in_force = [hold for hold in world.holds if hold.until is None or world.now < hold.until]
    for order in orders(decision, StepType.INSTALL):
        device = world.seen[order.device]
        holding = [hold.name for hold in in_force if covers(hold, device, order.release.plane, order.release.content)]
        assert not holding, (order, holding)


def promise_9_orders_that_nobody_began_are_taken_back(world: World, observed: Observed, decision: Decision) -> None:
    if decision.state != observed.state or decision.phase not in {Phase.ROLLING, Phase.STABILIZING}:
        return
    taken_back = {action.device for action in decision.actions if isinstance(action, Withdraw)}
    in_force = [hold for hold in world.holds if hold.until is None or world.now < hold.until]
    for device in observed.fleet:
        ring, step = observed.fleet.ring_of(device.name), device.step
        if ring is None or ring > decision.state.ring or step is None or not device.in_flight or device.begun:
            continue
        content = device.assigned[step.plane].content
        is_held = any(covers(hold, device, step.plane, content) for hold in in_force)
        if step.type is StepType.INSTALL and step.drill is None and is_held:
            assert device.name in taken_back


def promise_9_returns_are_never_stopped(world: World, observed: Observed, decision: Decision) -> None:
    """Nor by a pause, a window or a busy group: a rollback has right of way."""
    state = decision.state
    if state != observed.state or state.phase not in {*FINISHES_FIRST, Phase.ROLLED_BACK, Phase.UNRESOLVED}:
        return
    free = replace(observed, holds=(), groups={}, plan=replace(observed.plan, paused=False), request=None)
    wanted = list(orders(decide(free, world.now), StepType.RETURN))
    observed.fleet.cover(observed.holds)
    assert list(orders(decision, StepType.RETURN)) == wanted or decision.phase is not state.phase


def promise_10_nothing_frozen_is_ordered(world: World, observed: Observed, decision: Decision) -> None:
    frozen = {version for hold in world.holds if not hold.names_devices for version in hold.versions}
    lasting = {v for hold in world.holds if hold.until is None and v_everywhere(hold) for v in hold.versions} & frozen
    for order in orders(decision, StepType.INSTALL):
        assert (order.release.plane, order.release.content) not in lasting
    has_started = observed.state is not None and observed.state.phase is Phase.PENDING is not decision.phase
    if has_started and decision.state.revision == observed.fleet.revision:
        assert not {(plane, r.content) for plane, r in observed.plan.target.items()} & lasting


def v_everywhere(hold: Hold) -> bool:
    return not hold.names_devices


def promise_12_the_last_proven_version_is_never_overwritten(
    world: World, observed: Observed, decision: Decision
) -> None:
    """In a plane with two slots, while what runs there is frozen or has never passed a stability window."""
    proven = {release.content for release in FACTORY.values()}
    proven |= {content for revision in world.succeeded for _, content in world.shipped[revision]}
    frozen = {c for hold in world.holds if hold.until is None and v_everywhere(hold) for _, c in hold.versions}
    for order in orders(decision, StepType.INSTALL):
        plane, device = order.release.plane, world.seen[order.device]
        status = device.status(plane)
        if not class_named(device.device_class).overwrites_fallback(plane):
            continue
        is_doubtful = status.running in frozen or status.running not in proven
        has_better = status.fallback in proven - frozen and status.fallback != status.running
        assert not (is_doubtful and has_better), order


def promise_13_windows_and_pauses_are_kept(world: World, observed: Observed, decision: Decision) -> None:
    """Whatever is no return to a fallback waits for its window; a pause stops all that is no rollback."""
    if decision.phase in FINISHES_FIRST | ENDS - {Phase.SUCCEEDED}:
        return
    for order in orders(decision, StepType.INSTALL):
        device = world.seen[order.device]
        ring = next(ring for ring in observed.plan.rings if ring.name == order.ring)
        rules = [world.groups[group] for group in device.groups if group in world.groups]
        assert not observed.plan.paused
        assert not any(rule.paused for rule in rules)
        assert all(window.is_open(world.now) for window in ring.windows)
        assert all(window.is_open(world.now) for rule in rules for window in rule.windows)


def orders_only_grow_in_number(world: World, observed: Observed, decision: Decision) -> None:
    for order in orders(decision):
        step = world.seen[order.device].step
        assert step is None or order.number > step.number
    devices = [order.device for order in orders(decision)]
    assert len(devices) == len(set(devices)), "two orders for one device at once"


def orders_go_by_rank(world: World, observed: Observed, decision: Decision) -> None:
    """Within one ring and kind of order; what is due again is ordered among them."""
    by_ring: dict[object, list[bytes]] = {}
    for order in orders(decision, StepType.INSTALL):
        if order.drill is None:
            by_ring.setdefault(order.ring, []).append(rank(observed.plan.key, order.device))
    assert all(ranks == sorted(ranks) for ranks in by_ring.values())


def what_is_refused_starts_nothing(world: World, observed: Observed, decision: Decision) -> None:
    """It promotes nothing either; going back is another matter."""
    before = observed.state
    if observed.refusal is None or (before is not None and before.phase in FINISHES_FIRST):
        return
    assert all(order.type is StepType.RETURN and order.drill is None for order in orders(decision))
    if before is None or decision.phase is not before.phase:
        assert decision.phase in {Phase.PENDING, Phase.ROLLING_BACK, Phase.HALTED}


class OrderLaws(ReleaseRules):
    """The onlooker counts for itself what happened in truth."""

    laws = (
        promise_4_confirmed_are_exactly_those_that_say_they_run_the_target,
        promise_5_no_order_makes_an_incompatible_set,
        promise_9_nothing_held_is_ordered,
        promise_9_orders_that_nobody_began_are_taken_back,
        promise_9_returns_are_never_stopped,
        promise_10_nothing_frozen_is_ordered,
        promise_12_the_last_proven_version_is_never_overwritten,
        promise_13_windows_and_pauses_are_kept,
        what_is_refused_starts_nothing,
        orders_only_grow_in_number,
        orders_go_by_rank,
    )

    @invariant()
    def promise_5_no_device_ever_runs_an_incompatible_set(self) -> None:
        assert not self.world.unmet()

    @invariant()
    def promise_6_no_ring_exceeds_its_budget_by_an_order(self) -> None:
        """Devices are counted in truth, however old the view is; how large the ring is, is what the operator knows."""
        over = [load for load in self.world.loads if load[1] > load[2]]
        assert not over, over
        self.world.loads.clear()

    @invariant()
    def promise_6_no_group_exceeds_its_budget_by_an_order(self) -> None:
        """Changes are counted in truth. Who is ill, and who is in the group, is what the operator has heard."""
        over = [load for load in self.world.group_loads if load[1] > load[2]]
        assert not over, over
        self.world.group_loads.clear()

    @invariant()
    def counts_equal_a_recount(self) -> None:
        observed = self.world.observe()
        recount = FleetView(
            observed.plan,
            observed.fleet.revision,
            list(observed.fleet),
            retried_at=observed.state.retried_at if observed.state else None,
        )
        for ring in range(len(observed.plan.rings)):
            assert observed.fleet.counts(ring) == recount.counts(ring)
        assert observed.fleet.running() == recount.running()


TestOrderLaws = OrderLaws.TestCase
TestOrderLaws.settings = examples(100)
