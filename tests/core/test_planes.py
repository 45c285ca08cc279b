import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semver import Version

from backstay.core.planes import (
    Plane,
    VersionRange,
    VersionSet,
    unmet_requirements,
)
from tests.laws.release_world import release


@pytest.mark.parametrize(
    ("text", "version", "admitted"),
    [
        (">=2.2.0", "2.2.0", True),
        (">=2.2.0", "2.1.9", False),
        (">=2.2.0,<3.0.0", "3.0.0", False),
        (">=2.2.0, <3.0.0", "2.9.9", True),
        ("=1.0.0", "1.0.0+build.5", True),
        ("1.0.0", "1.0.0", True),
        ("!=1.0.0", "1.0.0", False),
        (">=1.0.0", "1.0.0-rc.1", False),
        (">1.0.0-alpha", "1.0.0-alpha.1", True),
        ("<=1.0.0", "1.0.1", False),
        ("<=1.0.0", "1.0.0", True),
        ("<=1.0.0", "0.9.0", True),
        (">1.0.0", "1.0.0", False),
        ("<1.0.0", "1.0.0", False),
        ("==1.0.0", "1.0.1", False),
        (">=1.0.0", "", False),
        (">=1.0.0", "v1.0.0", False),
        (">=1.0.0", "latest", False),
    ],
)
def test_range_admits_by_semver_precedence(text: str, version: str, admitted: bool) -> None:
    assert VersionRange.parse(text).admits(version) is admitted


@pytest.mark.parametrize("text", ["", ">=", ">=1", "~1.0.0", ">=1.0.0 <2.0.0", ">=1.0.0,", "new"])
def test_range_is_refused_when_a_part_is_not_a_comparator(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        VersionRange.parse(text)


def test_range_names_the_part_that_is_wrong() -> None:
    words = "'~2.0.0' in the range '>=1.0.0, ~2.0.0' is not a comparator such as '>=2.2.0'"
    with pytest.raises(ValueError, match=re.escape(words)):
        VersionRange.parse(">=1.0.0, ~2.0.0")


def test_bare_version_in_a_range_means_that_version() -> None:
    assert [operator for operator, _ in VersionRange.parse("1.0.0,>=2.0.0").comparators] == ["=", ">="]


@given(st.tuples(*[st.integers(0, 50)] * 6))
def test_range_and_its_complement_never_both_admit(numbers: tuple[int, ...]) -> None:
    version, bound = str(Version(*numbers[:3])), str(Version(*numbers[3:]))
    assert VersionRange.parse(f">={bound}").admits(version) != VersionRange.parse(f"<{bound}").admits(version)


def test_unmet_requirement_names_release_range_and_what_is_there() -> None:
    versions = VersionSet(
        firmware=release(Plane.FIRMWARE, "2.1.0"), model=release(Plane.MODEL, "7.0.0", firmware=">=2.2.0")
    )
    (unmet,) = unmet_requirements(versions)
    assert str(unmet) == "model 7.0.0 requires firmware >=2.2.0, but the device has 2.1.0"


def test_unmet_requirement_says_none_when_the_plane_is_empty() -> None:
    (unmet,) = unmet_requirements(VersionSet(config=release(Plane.CONFIG, "1.0.0", model=">=1.0.0")))
    assert str(unmet).endswith("but the device has none")


@pytest.mark.parametrize("plane", Plane)
def test_version_set_changes_in_one_plane_and_keeps_the_others(plane: Plane) -> None:
    before = VersionSet.of({other: release(other, "1.0.0") for other in Plane})
    after = before.changed(release(plane, "2.0.0"))
    assert {other: after.get(other) for other in Plane} == {
        other: release(other, "2.0.0" if other is plane else "1.0.0") for other in Plane
    }


def test_version_set_reads_as_its_releases() -> None:
    versions = VersionSet(firmware=release(Plane.FIRMWARE, "2.1.0"), config=release(Plane.CONFIG, "7.0.0"))
    assert str(versions) == "firmware 2.1.0, config 7.0.0"
    assert str(VersionSet()) == "nothing"
