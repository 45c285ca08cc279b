"""What refuses a revision before anything ships; the stories tell how it reads."""

from dataclasses import replace

import pytest

from backstay.core.admission import refusals
from backstay.core.devices import Assignment, Device, PlaneStatus, RevisionName
from backstay.core.observed import Observed, Rival
from backstay.core.planes import Plane, Release
from backstay.core.reasons import Because, Reason
from tests.laws.release_world import FACTORY, KNOWN, START, TARGETS, World, device_of, plan_of, release

MODEL_ONLY = TARGETS["model"]


def seen(
    *devices: Device, target: dict[Plane, Release] | None = None, rivals: tuple[Rival, ...] = (), **changes: object
) -> Observed:
    """A plan of one ring that is asked whether it may start."""
    plan = plan_of("model", **changes)
    plan = replace(plan, rings=plan.rings[-1:], target=MODEL_ONLY if target is None else target)
    world = World(plan=plan, rivals=rivals)
    world.truth = {device.name: device for device in devices}
    world.crash()
    return world.observe()


def cameras(count: int, region: str = "eu") -> list[Device]:
    return [device_of(f"{region}-{index}", region) for index in range(count)]


def running(device: Device, one: Release, fallback: Release) -> Device:
    status = PlaneStatus(one.content, one.version, fallback.content, fallback.version)
    return replace(device, planes={**device.planes, one.plane: status})


def rival(name: str, *planes: Plane, groups: str = "eu", first: bool = True) -> Rival:
    return Rival(name, frozenset(planes), frozenset({groups}), first)


def conflict(name: str, plane: Plane, count: int) -> Because:
    words = f"plans vision and {name} both manage the {plane} of {count} devices; take it out of one"
    return Because(Reason.CONFLICT, words)


def test_nothing_is_refused_when_nothing_stands_in_the_way() -> None:
    assert refusals(seen(*cameras(3)), START) == ()


def test_older_plan_keeps_the_planes_of_the_groups_that_both_select() -> None:
    observed = seen(*cameras(2, "eu"), *cameras(3, "us"), rivals=(rival("audio", Plane.MODEL, Plane.CONFIG),))
    assert refusals(observed, START) == (conflict("audio", Plane.MODEL, 2),)


def test_plans_that_share_no_plane_do_not_disturb_each_other() -> None:
    assert refusals(seen(*cameras(2), rivals=(rival("audio", Plane.CONFIG, Plane.FIRMWARE),)), START) == ()


def test_younger_plan_keeps_what_it_was_given_on_a_device() -> None:
    theirs, mine, third = (
        replace(device, assigned={Plane.MODEL: Assignment(plan, RevisionName("abc-1"), "all", "1", device.name)})  # type: ignore[arg-type]
        for plan, device in zip(("audio", "vision", "other"), cameras(3), strict=True)
    )
    observed = seen(theirs, mine, third, rivals=(rival("audio", Plane.MODEL, first=False),))
    assert refusals(observed, START) == (conflict("audio", Plane.MODEL, 1),)
    assert refusals(seen(mine, third, rivals=(rival("audio", Plane.MODEL, first=False),)), START) == ()


def test_every_rival_is_named_once_by_plane_and_name() -> None:
    rivals = (
        rival("zoom", Plane.MODEL),
        rival("audio", Plane.MODEL),
        rival("elsewhere", Plane.MODEL, groups="us"),
    )
    assert refusals(seen(*cameras(2), rivals=rivals), START) == (
        conflict("audio", Plane.MODEL, 2),
        conflict("zoom", Plane.MODEL, 2),
    )


@pytest.mark.parametrize(
    ("without_firmware", "without_config"), [("us", "cn"), ("cn", "us"), ("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]
)
def test_devices_are_counted_by_what_stands_in_their_own_way(without_firmware: str, without_config: str) -> None:
    new = release(Plane.MODEL, "9.0.0", firmware=">=0.9.0", config=">=0.9.0")
    old_firmware = release(Plane.FIRMWARE, "0.1.0")
    old_config = release(Plane.CONFIG, "0.1.0")
    fleet = [
        *cameras(1),
        *(running(device, old_firmware, FACTORY[Plane.FIRMWARE]) for device in cameras(2, without_firmware)),
        *(running(device, old_config, FACTORY[Plane.CONFIG]) for device in cameras(3, without_config)),
    ]
    no_order, lacks = "devices have no safe order of changes: model 9.0.0 requires", ">=0.9.0, but the device has 0.1.0"
    assert refusals(seen(*fleet, target={Plane.MODEL: new}), START) == (
        Because(Reason.NO_PATH, f"3 of 6 {no_order} config {lacks}"),
        Because(Reason.NO_PATH, f"2 of 6 {no_order} firmware {lacks}"),
    )


def test_device_that_cannot_leave_what_is_unproven_is_refused() -> None:
    unproven, bound = release(Plane.MODEL, "5.0.0"), release(Plane.CONFIG, "5.0.0", model=">=5.0.0")
    device = running(running(device_of("eu-1"), unproven, FACTORY[Plane.MODEL]), bound, FACTORY[Plane.CONFIG])
    target = {Plane.MODEL: release(Plane.MODEL, "6.0.0")}
    observed = replace(
        seen(device, target=target),
        unproven=frozenset({(Plane.MODEL, unproven.content)}),
        known={**KNOWN, bound.content: bound, unproven.content: unproven},
    )
    assert refusals(observed, START) == (
        Because(
            Reason.NO_PATH,
            "1 of 1 devices have no safe order of changes:"
            " config 5.0.0 requires model >=5.0.0, but the device has 0.9.0",
        ),
    )


def test_ring_that_takes_too_few_is_refused_by_name() -> None:
    observed = seen(*cameras(2))
    plan = replace(observed.plan, success=replace(observed.plan.success, min_confirmed=3))
    words = "ring everyone takes 2 devices and its gate needs 3; widen it or take it out"
    assert refusals(replace(observed, plan=plan), START) == (Because(Reason.EMPTY_RING, words),)
