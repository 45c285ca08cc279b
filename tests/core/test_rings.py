from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from backstay.core.devices import DeviceName
from backstay.core.plan import Count, Ring, Share
from backstay.core.rings import labels_that_matter, rank, rings_of
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
    assert rank("acme/vision", DeviceName("cam-1")).hex() == "4a64acdeb1b2872a"
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


SPREAD = Ring("canary", size=Count(2), spread_by=("hardware", "customer"))


def camera(standing: int | None = None, **labels: str) -> Candidate:
    return Candidate(DeviceName("cam"), labels, standing)


def test_ring_takes_no_fewer_when_a_device_stands_in_a_later_one() -> None:
    rings = (Ring("canary", size=Count(2)), EVERYONE)
    assert rings_of([camera(1), camera(), camera(), camera()], rings) == [1, 0, 0, 1]


def test_ring_that_spreads_takes_one_device_of_each_value_also_beyond_its_size() -> None:
    fleet = [
        camera(hardware="a"),
        camera(hardware="a"),
        camera(hardware="b"),
        camera(hardware="c"),
        camera(hardware="b"),
    ]
    assert rings_of(fleet, (SPREAD, EVERYONE)) == [0, 1, 0, 0, 1]


def test_ring_that_spreads_fills_up_in_order_of_rank_when_its_size_is_larger() -> None:
    fleet = [camera(hardware="a"), camera(hardware="a"), camera(hardware="a"), camera(hardware="b")]
    assert rings_of(fleet, (SPREAD, EVERYONE)) == [0, 1, 1, 0]
    assert rings_of(fleet, (replace(SPREAD, size=Count(3)), EVERYONE)) == [0, 0, 1, 0]


def test_device_serves_every_value_that_it_brings() -> None:
    fleet = [camera(hardware="a", customer="x"), camera(hardware="a", customer="y"), camera(hardware="b", customer="y")]
    assert rings_of(fleet, (replace(SPREAD, size=Count(1)), EVERYONE)) == [0, 0, 0]
    assert rings_of([fleet[0], fleet[2], fleet[1]], (replace(SPREAD, size=Count(1)), EVERYONE)) == [0, 0, 1]


def test_first_by_rank_stands_for_a_value_although_another_of_it_was_ordered_already() -> None:
    fleet = [camera(hardware="a"), camera(hardware="b"), camera(0, hardware="a"), camera(0, hardware="b")]
    assert rings_of(fleet, (SPREAD, EVERYONE)) == [0, 0, 0, 0]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), max_size=12),
    st.integers(1, 6),
    st.sets(st.integers(0, 11)),
)
def test_nobody_moves_because_some_of_the_chosen_were_ordered_before_the_others(
    labels: list[tuple[str, str]], size: int, ordered: set[int]
) -> None:
    rings = (replace(SPREAD, size=Count(size)), Ring("third", size=Share(Fraction(1, 3)), minimum=1), EVERYONE)
    fleet = [camera(hardware=hardware, customer=customer) for hardware, customer in labels]
    chosen = rings_of(fleet, rings)
    later = [camera(chosen[at] if at in ordered else None, **candidate.labels) for at, candidate in enumerate(fleet)]
    assert rings_of(later, rings) == chosen


def test_value_that_only_an_earlier_ring_has_is_missed() -> None:
    rings = (Ring("first", size=Count(1)), replace(SPREAD, size=Count(2)), EVERYONE)
    fleet = [camera(hardware="a"), camera(hardware="b"), camera(hardware="b"), camera(hardware="a"), camera()]
    assert rings_of(fleet, rings) == [0, 1, 2, 1, 2]


def test_device_without_the_label_stands_for_nothing() -> None:
    assert rings_of([camera(), camera(), camera(), camera(hardware="a")], (SPREAD, EVERYONE)) == [0, 1, 1, 0]


def test_ring_that_spreads_takes_the_missing_values_although_earlier_rings_have_filled_its_size() -> None:
    rings = (Ring("first", size=Count(3)), replace(SPREAD, size=Count(1)), EVERYONE)
    assert rings_of([camera(hardware="a") for _ in range(5)], rings) == [0, 0, 0, 1, 2]
    fleet = [*(camera(0) for _ in range(3)), camera(1, hardware="a"), camera(hardware="a"), camera(hardware="b")]
    assert rings_of(fleet, rings) == [0, 0, 0, 1, 2, 1]


def test_labels_that_matter_are_those_that_rings_select_and_spread_by() -> None:
    eu = Ring("eu", selector=Selector.labels(region="eu", stage="pilot"))
    assert labels_that_matter((SPREAD, eu, EVERYONE)) == {"hardware", "customer", "region", "stage"}
    assert labels_that_matter((EVERYONE,)) == frozenset()
