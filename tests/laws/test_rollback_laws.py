"""Promise 11 over `decide()`: going back plane by plane, on evidence, and no further than health asks for."""

from backstay.core.actions import Decision
from backstay.core.devices import StepType
from backstay.core.fleet import changed_planes, running_of, version_set
from backstay.core.observed import Observed
from backstay.core.planes import unmet_requirements
from backstay.core.reasons import Reason
from backstay.core.revision import FINISHES_FIRST, Phase
from backstay.core.signals import Result
from backstay.core.steps import fallback_of
from tests.laws.release_rules import ReleaseRules, examples
from tests.laws.release_world import ACCURACY, KNOWN, World
from tests.laws.test_order_laws import orders

GONE_BACK = {*FINISHES_FIRST, Phase.ROLLED_BACK, Phase.UNRESOLVED}


def promise_11_only_one_plane_returns_at_a_time(world: World, observed: Observed, decision: Decision) -> None:
    """Another goes with it only on a device whose set would break otherwise."""
    if decision.phase not in GONE_BACK:
        return
    state = decision.state
    returned = {*state.reverted, *([state.plane] if state.phase in FINISHES_FIRST else [])}
    for order in orders(decision):
        assert order.type is StepType.RETURN
        if order.release.plane in returned:
            continue
        device = world.seen[order.device]
        running = version_set(running_of(device), KNOWN)
        alone = [
            running.changed(back)
            for plane in returned
            if plane is not None and (back := fallback_of(device, plane, KNOWN)) is not None
        ]
        assert any(unmet_requirements(changed) for changed in alone), order
        assert order.release.plane in state.beside or state.phase is not Phase.ROLLING_BACK


def promise_11_only_what_the_revision_changed_is_guilty(world: World, observed: Observed, decision: Decision) -> None:
    before, state = observed.state, decision.state
    if before is None or before.phase in FINISHES_FIRST or state.phase is not Phase.ROLLING_BACK:
        return
    changed = {plane for device in observed.fleet for plane in changed_planes(device, state.revision)}
    suspects = (state.plane, *state.suspects)
    assert set(suspects) <= changed
    assert len(suspects) == len(set(suspects))
    assert not observed.plan.irreversible & set(suspects)
    if state.cause is not None and state.cause.reason is Reason.SIGNAL_FAILED:
        blamed = [plane for plane in ACCURACY.blames if plane in changed - observed.plan.irreversible]
        assert not blamed or state.plane in blamed


def promise_11_the_next_plane_returns_only_on_bad_health(world: World, observed: Observed, decision: Decision) -> None:
    before = observed.state
    if before is None or before.phase is not Phase.VERIFYING or decision.phase is not Phase.ROLLING_BACK:
        return
    if before.asked_by is not None:
        return
    verdict = observed.verdicts.get(ACCURACY.name)
    assert verdict is not None
    assert verdict.result is Result.FAIL
    assert verdict.at >= before.since + observed.plan.rollback.verify
    assert decision.state.plane not in decision.state.reverted


def promise_11_a_rollback_ends_when_health_has_returned(world: World, observed: Observed, decision: Decision) -> None:
    before = observed.state
    if before is None or before.phase is not Phase.VERIFYING or before.asked_by is not None:
        return
    verdict = observed.verdicts.get(ACCURACY.name)
    is_good = (
        verdict is not None
        and verdict.result is Result.PASS
        and verdict.at >= before.since + observed.plan.rollback.verify
        and world.now >= before.since + observed.plan.rollback.verify
    )
    assert (decision.phase is Phase.ROLLING_BACK) <= (not is_good)
    assert (decision.phase is Phase.ROLLED_BACK) <= is_good


def promise_11_what_a_rollback_returned_is_frozen(world: World, observed: Observed, decision: Decision) -> None:
    """Where health returned; a person who asked for a rollback convicts nothing."""
    before, state = observed.state, decision.state
    if before is None or before.phase is not Phase.VERIFYING or state.phase is not Phase.ROLLED_BACK:
        return
    if state.asked_by is None:
        frozen = {version for hold in world.holds for version in hold.versions}
        assert {(p, observed.plan.target[p].content) for p in {*state.reverted, *state.beside}} <= frozen


def promise_11_no_reachable_device_keeps_what_was_returned(
    world: World, observed: Observed, decision: Decision
) -> None:
    """Not one that this revision changed, obeys and has something to go back to, when its verification starts."""
    before, state = observed.state, decision.state
    if before is None or before.phase is not Phase.ROLLING_BACK or state.phase is not Phase.VERIFYING:
        return
    if state.segment is not None or state.confined_to_ring:
        return
    assert state.plane is not None
    bad = observed.plan.target[state.plane].content
    for device in observed.fleet:
        if not changed_planes(device, state.revision) or not device.reachable or device.step is None:
            continue
        is_free = not device.in_flight and device.step.type is StepType.INSTALL
        can = fallback_of(device, state.plane, KNOWN) is not None
        compatible = can and not unmet_requirements(
            version_set(running_of(device), KNOWN).changed(fallback_of(device, state.plane, KNOWN))  # type: ignore[arg-type]
        )
        assert not (device.runs(state.plane, bad) and is_free and compatible), device


def promise_11_irreversible_planes_stay(world: World, observed: Observed, decision: Decision) -> None:
    if decision.phase in GONE_BACK:
        assert not {order.release.plane for order in orders(decision)} & observed.plan.irreversible


class RollbackLaws(ReleaseRules):
    """Every rollback, whoever or whatever starts it."""

    laws = (
        promise_11_only_one_plane_returns_at_a_time,
        promise_11_only_what_the_revision_changed_is_guilty,
        promise_11_the_next_plane_returns_only_on_bad_health,
        promise_11_a_rollback_ends_when_health_has_returned,
        promise_11_what_a_rollback_returned_is_frozen,
        promise_11_no_reachable_device_keeps_what_was_returned,
        promise_11_irreversible_planes_stay,
    )


TestRollbackLaws = RollbackLaws.TestCase
TestRollbackLaws.settings = examples(100)
