from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from backstay.core.path import NoPath, Path, path_back, path_between
from backstay.core.planes import (
    ContentDigest,
    Plane,
    Release,
    Requirement,
    VersionRange,
    VersionSet,
    unmet_requirements,
)


def release(plane: Plane, version: str, **requires: str) -> Release:
    needs = tuple(Requirement(Plane(name), VersionRange.parse(text)) for name, text in requires.items())
    return Release(plane, version, ContentDigest(f"sha256:{plane}-{version}-{requires}"), needs)


OLD = VersionSet.of({plane: release(plane, "1.0.0") for plane in Plane})


def test_path_goes_lower_layers_first_when_nothing_is_required() -> None:
    path = path_between(OLD, {plane: release(plane, "2.0.0") for plane in (Plane.CONFIG, Plane.MODEL, Plane.FIRMWARE)})
    assert isinstance(path, Path)
    assert [step.plane for step in path.steps] == [Plane.FIRMWARE, Plane.MODEL, Plane.CONFIG]


def test_path_takes_the_model_first_when_the_new_firmware_needs_it() -> None:
    target = {
        Plane.FIRMWARE: release(Plane.FIRMWARE, "2.0.0", model=">=2.0.0"),
        Plane.MODEL: release(Plane.MODEL, "2.0.0"),
    }
    path = path_between(OLD, target)
    assert isinstance(path, Path)
    assert [step.plane for step in path.steps] == [Plane.MODEL, Plane.FIRMWARE]


def test_path_is_empty_when_the_device_is_there() -> None:
    assert path_between(OLD, {Plane.MODEL: OLD.model}) == Path(())  # type: ignore[dict-item]


def test_path_is_refused_when_two_releases_need_each_other_first() -> None:
    target = {
        Plane.FIRMWARE: release(Plane.FIRMWARE, "2.0.0", model=">=2.0.0"),
        Plane.MODEL: release(Plane.MODEL, "2.0.0", firmware=">=2.0.0"),
    }
    path = path_between(OLD, target)
    assert isinstance(path, NoPath)
    assert "requires" in str(path)


def test_path_is_refused_when_a_requirement_is_met_by_nobody() -> None:
    path = path_between(OLD, {Plane.CONFIG: release(Plane.CONFIG, "2.0.0", model=">=9.0.0")})
    assert str(path) == "config 2.0.0 requires model >=9.0.0, but the device has 1.0.0"


numbers = st.sampled_from(["1.0.0", "2.0.0", "3.0.0"])
ranges = st.sampled_from([">=1.0.0", ">=2.0.0", ">=3.0.0", "<3.0.0", "<2.0.0", "=2.0.0"])


@st.composite
def releases(draw: st.DrawFn, plane: Plane) -> Release:
    others = [other for other in Plane if other is not plane]
    needs = draw(st.dictionaries(st.sampled_from(others), ranges, max_size=2))
    return release(plane, draw(numbers), **{other.value: text for other, text in needs.items()})


version_sets = st.builds(VersionSet, *(st.one_of(st.none(), releases(plane)) for plane in Plane))


@given(version_sets, version_sets)
def test_path_is_found_exactly_when_some_order_is_compatible(running: VersionSet, wanted: VersionSet) -> None:
    target = {one.plane: one for one in wanted}
    changes = [one for one in wanted if (now := running.get(one.plane)) is None or now.content != one.content]

    def works(order: tuple[Release, ...]) -> bool:
        reached = running
        for one in order:
            reached = reached.changed(one)
            if unmet_requirements(reached):
                return False
        return True

    path = path_between(running, target)
    assert isinstance(path, Path) == any(works(order) for order in permutations(changes))
    if isinstance(path, Path):
        assert works(path.steps)


@given(version_sets, version_sets)
def test_way_back_exists_when_both_ends_are_whole(start: VersionSet, wanted: VersionSet) -> None:
    full = all(start.get(plane) for plane in Plane)
    path = path_between(start, {one.plane: one for one in wanted})
    if full and isinstance(path, Path) and not unmet_requirements(start):
        reached = start
        for one in path.steps:
            reached = reached.changed(one)
        assert isinstance(path_back(reached, start, tuple(Plane)), Path)


def test_path_tells_what_the_whole_target_lacks_before_what_one_order_does() -> None:
    target = {
        Plane.FIRMWARE: release(Plane.FIRMWARE, "2.0.0", model=">=9.0.0"),
        Plane.MODEL: release(Plane.MODEL, "2.0.0", firmware=">=2.0.0"),
    }
    assert str(path_between(OLD, target)) == "firmware 2.0.0 requires model >=9.0.0, but the device has 2.0.0"


def test_path_tells_everything_that_is_missing() -> None:
    path = path_between(OLD, {Plane.CONFIG: release(Plane.CONFIG, "2.0.0", model=">=9.0.0", firmware=">=9.0.0")})
    assert str(path) == (
        "config 2.0.0 requires model >=9.0.0, but the device has 1.0.0; "
        "config 2.0.0 requires firmware >=9.0.0, but the device has 1.0.0"
    )


def test_no_path_without_anything_unmet_says_that_there_is_no_place_to_go() -> None:
    assert str(NoPath(())) == "there is nothing to go back to"


def test_way_back_follows_the_order_that_is_preferred() -> None:
    newer = VersionSet.of({plane: release(plane, "2.0.0") for plane in Plane})
    for preferred in permutations(Plane):
        path = path_back(newer, OLD, preferred)
        assert isinstance(path, Path)
        assert path.steps == tuple(OLD.get(plane) for plane in preferred)


def test_way_back_keeps_a_plane_that_was_empty_before() -> None:
    newer = VersionSet.of({plane: release(plane, "2.0.0") for plane in Plane})
    assert path_back(newer, VersionSet.of({Plane.MODEL: OLD.model}), tuple(Plane)) == Path((OLD.model,))  # type: ignore[dict-item]
