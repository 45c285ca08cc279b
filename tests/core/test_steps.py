from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from backstay.core.observed import Observed
from backstay.core.planes import ContentDigest, Plane
from backstay.core.steps import frozen_versions, next_towards_target, search_once
from tests.laws.release_world import KNOWN, START, TARGETS, World, device_of

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
