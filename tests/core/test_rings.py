from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from backstay.core.devices import DeviceName
from backstay.core.plan import Count, Ring, Share
from backstay.core.rings import rank, rings_of
from backstay.core.selectors import Selector


@dataclass(frozen=True)
class Candidate:
    name: DeviceName
    labels: Mapping[str, str]
    standing: int | None = None


EVERYONE = Ring("everyone")
TENTH = Ring("tenth", size=Share(Fraction(1, 10)))


def fleet(count: int, **labels: str) -> list[Candidate]:
    return [Candidate(DeviceName(f"cam-{index}"), labels) for index in range(count)]


def members_of_rings(candidates: list[Candidate], rings: tuple[Ring, ...], key: str) -> dict[DeviceName, int]:
    ordered = sorted(candidates, key=lambda candidate: rank(key, candidate.name))
    found = zip(ordered, rings_of(ordered, rings), strict=True)
    return {candidate.name: ring for candidate, ring in found if ring is not None}


def sizes(members: dict[DeviceName, int], rings: int) -> list[int]:
    return [sum(1 for ring in members.values() if ring == index) for index in range(rings)]


def test_sizes_are_cumulative_and_round_up() -> None:
    members = members_of_rings(fleet(61), (Ring("canary", size=Count(3)), TENTH, EVERYONE), "acme/vision")
    assert sizes(members, 3) == [3, 4, 54]


def test_minimum_counts_only_devices_that_the_ring_adds() -> None:
    rings = (Ring("canary", size=Count(6)), Ring("tenth", size=Share(Fraction(1, 10)), minimum=2), EVERYONE)
    assert sizes(members_of_rings(fleet(60), rings, "acme/vision"), 3) == [6, 2, 52]


def test_ring_takes_its_selector_whole_when_it_has_no_size() -> None:
    devices = [*fleet(4, region="us"), Candidate(DeviceName("berlin"), {"region": "eu"})]
    rings = (Ring("eu", selector=Selector.labels(region="eu")), EVERYONE)
    assert members_of_rings(devices, rings, "k")[DeviceName("berlin")] == 0


def test_device_that_no_ring_takes_is_left_out() -> None:
    assert members_of_rings(fleet(3, region="us"), (Ring("eu", selector=Selector.labels(region="eu")),), "k") == {}


def test_rank_differs_between_plans_and_never_changes() -> None:
    assert rank("acme/vision", DeviceName("cam-1")).hex()[:16] == "4a64acdeb1b2872a"
    assert rank("acme/audio", DeviceName("cam-1")) != rank("acme/vision", DeviceName("cam-1"))


@given(st.integers(1, 40), st.sets(st.integers(0, 60)), st.integers(0, 40))
def test_standing_assignment_is_kept_when_the_fleet_grows_or_shrinks(count: int, gone: set[int], joined: int) -> None:
    rings = (Ring("canary", size=Count(2)), TENTH, EVERYONE)
    before = members_of_rings(fleet(count), rings, "k")
    later = [Candidate(name, {}, ring) for name, ring in before.items() if int(name.split("-")[1]) not in gone] + [
        Candidate(DeviceName(f"new-{index}"), {}) for index in range(joined)
    ]
    after = members_of_rings(later, rings, "k")
    assert all(after[candidate.name] == before[candidate.name] for candidate in later if candidate.standing is not None)
