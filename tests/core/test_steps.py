from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.core.devices import Assignment, Device, PlaneStatus, RevisionName, Step, StepType
from backstay.core.holds import Hold
from backstay.core.observed import Observed
from backstay.core.path import NoPath
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.selectors import Selector
from backstay.core.steps import (
    Order,
    back_to_running,
    fallback_of,
    frozen_versions,
    next_back,
    next_towards_target,
    search_once,
    way_out,
)
from tests.laws.release_world import FACTORY, KNOWN, START, TARGETS, World, device_of, release

contents = st.sampled_from([ContentDigest("sha256:unknown"), *sorted(KNOWN)])


def observed(target: str, unproven: frozenset[tuple[Plane, ContentDigest]]) -> Observed:
    world = World()
    world.plan = replace(world.plan, target=TARGETS[target])
    return replace(world.observe(), unproven=unproven)


@given(
    st.sampled_from(sorted(TARGETS)),
    st.frozensets(st.tuples(st.sampled_from(list(Plane)), contents), max_size=3),
    st.lists(st.tuples(st.sampled_from(list(Plane)), contents, contents), max_size=12),
)
def test_search_once_answers_for_each_device_what_its_own_search_would(target, unproven, changes) -> None:
    seen = observed(target, unproven)
    frozen = frozen_versions((), START)
    once = search_once(seen, frozen)
    for index, (plane, running, fallback) in enumerate(changes):
        device = device_of(f"cam-{index}")
        status = replace(device.status(plane), running=running, fallback=fallback)
        device = replace(device, planes={**device.planes, plane: status})
        assert once(device) == next_towards_target(device, seen, frozen)


def test_search_once_searches_once_for_devices_that_run_the_same() -> None:
    once = search_once(observed("v1", frozenset()), frozenset())
    first, second = once(device_of("cam-1")), once(device_of("cam-2"))
    assert first is second
    assert first is not None


FROZEN = (Plane.MODEL, ContentDigest("sha256:bad"))


def test_version_is_frozen_only_by_a_hold_in_force_that_names_no_devices() -> None:
    everywhere = Hold("frozen", versions=frozenset({FROZEN}))
    over = replace(everywhere, until=START)
    in_eu = replace(everywhere, selector=Selector.labels(region="eu"))
    assert frozen_versions((everywhere,), START) == {FROZEN}
    assert frozen_versions((over, in_eu), START) == frozenset()
    assert frozen_versions((over,), START - timedelta(seconds=1)) == {FROZEN}


def running(device: Device, *releases: Release, fallback: Mapping[Plane, Release] = FACTORY) -> Device:
    """The device, with these versions over those that the plane had before."""
    changed = {
        one.plane: PlaneStatus(one.content, one.version, fallback[one.plane].content, fallback[one.plane].version)
        for one in releases
    }
    return replace(device, planes={**device.planes, **changed})


def ordered(device: Device, release: Release, step_type: StepType = StepType.INSTALL) -> Device:
    assignment = Assignment("vision", RevisionName("abc-1"), "canary", release.version, release.content)
    step = Step(7, release.plane, step_type, START, START + timedelta(minutes=5))
    return replace(device, assigned={release.plane: assignment}, step=step)


V2 = TARGETS["v2"]
CAMERA = device_of("cam-1")


def test_device_leaves_what_is_unproven_in_the_order_of_a_rollback() -> None:
    unproven = frozenset((plane, TARGETS["v1"][plane].content) for plane in (Plane.MODEL, Plane.CONFIG))
    device = running(CAMERA, TARGETS["v1"][Plane.MODEL], TARGETS["v1"][Plane.CONFIG])
    seen = observed("v2", unproven)
    assert next_towards_target(device, seen, frozenset()) == Order(StepType.RETURN, FACTORY[Plane.CONFIG])


def test_plane_goes_back_alone_when_the_set_without_it_is_compatible() -> None:
    device = running(CAMERA, *V2.values())
    assert next_back(device, Plane.CONFIG, observed("v2", frozenset())) == Order(StepType.RETURN, FACTORY[Plane.CONFIG])


def test_plane_takes_another_back_with_it_when_the_set_would_be_incompatible_otherwise() -> None:
    device = running(CAMERA, *V2.values())
    assert next_back(device, Plane.MODEL, observed("v2", frozenset())) == Order(StepType.RETURN, FACTORY[Plane.CONFIG])


def test_plane_takes_nothing_back_that_is_not_of_the_revision() -> None:
    older = release(Plane.CONFIG, "1.9.0", model=">=2.0.0")
    device = running(CAMERA, V2[Plane.FIRMWARE], V2[Plane.MODEL], older)
    seen = replace(observed("v2", frozenset()), known={**KNOWN, older.content: older})
    assert isinstance(next_back(device, Plane.MODEL, seen), NoPath)


def test_planes_that_go_back_together_do_so_in_the_order_of_a_rollback() -> None:
    target = {
        Plane.FIRMWARE: release(Plane.FIRMWARE, "3.0.0", model=">=3.0.0"),
        Plane.MODEL: release(Plane.MODEL, "3.0.0"),
        Plane.CONFIG: release(Plane.CONFIG, "3.0.0", model=">=3.0.0"),
    }
    seen = observed("v2", frozenset())
    known = {**KNOWN, **{one.content: one for one in target.values()}}
    seen = replace(seen, plan=replace(seen.plan, target=target), known=known)
    assert next_back(running(CAMERA, *target.values()), Plane.MODEL, seen) == Order(
        StepType.RETURN, FACTORY[Plane.CONFIG]
    )


def test_device_without_a_fallback_has_no_way_back() -> None:
    device = running(CAMERA, V2[Plane.CONFIG], fallback=V2)
    assert next_back(device, Plane.CONFIG, observed("v2", frozenset())) == NoPath(())


def test_installation_of_the_bad_version_is_called_off() -> None:
    device, seen = ordered(CAMERA, V2[Plane.MODEL]), observed("v2", frozenset())
    assert next_back(device, Plane.MODEL, seen) == Order(StepType.RETURN, FACTORY[Plane.MODEL])


def test_nothing_is_called_off_but_an_installation_of_the_bad_version() -> None:
    seen = observed("v2", frozenset())
    for device in (
        CAMERA,
        ordered(CAMERA, V2[Plane.CONFIG]),
        ordered(CAMERA, V2[Plane.MODEL], StepType.RETURN),
        ordered(CAMERA, TARGETS["v1"][Plane.MODEL]),
        replace(ordered(CAMERA, V2[Plane.MODEL]), assigned={}),
        replace(ordered(ordered(CAMERA, V2[Plane.CONFIG]), V2[Plane.MODEL]), step=None),
    ):
        assert next_back(device, Plane.MODEL, seen) is None


def test_nothing_is_called_off_when_the_step_is_of_another_plane() -> None:
    device = ordered(CAMERA, V2[Plane.CONFIG])
    assigned = {**device.assigned, **ordered(CAMERA, V2[Plane.MODEL]).assigned}
    assert next_back(replace(device, assigned=assigned), Plane.MODEL, observed("v2", frozenset())) is None


def test_way_out_of_a_change_is_what_the_device_ran_before_it() -> None:
    before = ordered(CAMERA, V2[Plane.MODEL])
    assert way_out(before, Plane.MODEL, KNOWN) == Order(StepType.RETURN, FACTORY[Plane.MODEL])
    after = running(before, V2[Plane.MODEL])
    assert way_out(after, Plane.MODEL, KNOWN) == Order(StepType.RETURN, FACTORY[Plane.MODEL])
    assert way_out(running(before, V2[Plane.MODEL], fallback=V2), Plane.MODEL, KNOWN) is None
    nothing = replace(before, planes={})
    assert way_out(nothing, Plane.MODEL, KNOWN) is None


def test_release_that_only_the_device_knows_is_named_by_the_device() -> None:
    device = running(CAMERA, V2[Plane.MODEL])
    alone = Release(Plane.MODEL, "0.9.0", FACTORY[Plane.MODEL].content)
    assert fallback_of(device, Plane.MODEL, {}) == alone
    assert fallback_of(device, Plane.MODEL, KNOWN) is FACTORY[Plane.MODEL]
    assert back_to_running(CAMERA, Plane.MODEL, {}) == Order(StepType.RETURN, alone)
    assert back_to_running(CAMERA, Plane.MODEL, KNOWN) == Order(StepType.RETURN, FACTORY[Plane.MODEL])


@pytest.mark.parametrize(
    ("hold", "goes_back"),
    [
        (Hold("for a while", versions=frozenset({(Plane.MODEL, FACTORY[Plane.MODEL].content)}), until=START), True),
        (
            Hold(
                "in eu",
                Selector.labels(region="eu"),
                versions=frozenset({(Plane.MODEL, FACTORY[Plane.MODEL].content)}),
            ),
            True,
        ),
        (Hold("for good", versions=frozenset({(Plane.MODEL, FACTORY[Plane.MODEL].content)})), False),
    ],
    ids=lambda value: value.name if isinstance(value, Hold) else "",
)
def test_device_goes_back_to_its_fallback_first_unless_that_is_stopped_for_good(hold: Hold, goes_back: bool) -> None:
    unproven = frozenset({(Plane.MODEL, TARGETS["v1"][Plane.MODEL].content)})
    device = running(CAMERA, TARGETS["v1"][Plane.MODEL])
    target = {Plane.MODEL: release(Plane.MODEL, "1.5.0")}
    seen = observed("v1", unproven)
    seen = replace(seen, holds=(hold,), plan=replace(seen.plan, target=target))
    expected = StepType.RETURN if goes_back else StepType.INSTALL
    found = next_towards_target(device, seen, frozen_versions((hold,), START))
    assert isinstance(found, Order)
    assert found.type is expected
