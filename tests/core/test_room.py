from datetime import UTC, datetime, time, timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from backstay.core.observed import GroupRules
from backstay.core.plan import Count, Share
from backstay.core.room import Room
from backstay.core.windows import Window

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
DAILY = frozenset(range(7))


def hours(start: int, end: int) -> Window:
    return Window(DAILY, time(start), time(end), UTC)


def test_room_is_paused_when_any_of_the_groups_is() -> None:
    room = Room({"north": GroupRules(paused=True), "south": GroupRules()}, NOON)
    assert room.is_paused({"south", "north"})
    assert not room.is_paused({"south"})
    assert not room.is_paused({"without rules"})
    assert not room.is_paused(())


def test_room_opens_when_the_last_window_of_any_of_the_groups_does() -> None:
    room = Room(
        {
            "early": GroupRules(windows=(hours(6, 18),)),
            "evening": GroupRules(windows=(hours(11, 22), hours(19, 22))),
            "night": GroupRules(windows=(hours(21, 23),)),
        },
        NOON,
    )
    assert room.opens_at({"early"}) is None
    assert room.opens_at({"without rules"}) is None
    assert room.opens_at({"early", "evening"}) == NOON + timedelta(hours=7)
    assert room.opens_at({"early", "evening", "night"}) == NOON + timedelta(hours=9)


def test_room_is_full_once_as_many_devices_change_as_the_group_allows() -> None:
    room = Room({"north": GroupRules(max_unavailable=Count(3), devices=10, unavailable=1)}, NOON)
    for _ in range(2):
        assert room.full({"north"}) is None
        room.take({"north"})
    assert room.full({"north"}) == "north"


def test_room_stays_full_when_more_is_unavailable_than_allowed() -> None:
    rules = GroupRules(max_unavailable=Share(Fraction(1, 10)), devices=10, unavailable=4)
    assert Room({"north": rules}, NOON).full({"north"}) == "north"


def test_room_without_limits_is_left_as_it_is_when_others_fill_up() -> None:
    rules = GroupRules(max_unavailable=Count(1), devices=2)
    room = Room({"north": rules, "south": rules}, NOON)
    room.take({"north"})
    assert room.full({"north", "south"}) == "north"
    assert room.full({"south"}) is None


def test_room_of_a_group_without_a_limit_is_never_full() -> None:
    room = Room({"north": GroupRules(devices=1, unavailable=1)}, NOON)
    for _ in range(3):
        assert room.full({"north", "without rules"}) is None
        room.take({"north", "without rules"})


def test_room_names_the_first_full_group_by_name() -> None:
    closed = GroupRules(max_unavailable=Count(0), devices=10)
    room = Room({"zone": closed, "area": closed, "north": GroupRules()}, NOON)
    assert room.full(["zone", "north", "area"]) == "area"
    assert room.full(["zone", "north"]) == "zone"


names = st.sampled_from(["area", "north", "zone"])


@given(
    st.dictionaries(names, st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=3),
    st.lists(st.frozensets(names, max_size=3), max_size=12),
)
def test_no_group_ever_has_more_devices_changing_than_it_allows(
    limits: dict[str, tuple[int, int]], devices: list[frozenset[str]]
) -> None:
    rules = {
        name: GroupRules(max_unavailable=Count(allowed), devices=10, unavailable=unavailable)
        for name, (allowed, unavailable) in limits.items()
    }
    room = Room(rules, NOON)
    changing = {name: unavailable for name, (_, unavailable) in limits.items()}
    for groups in devices:
        full = {name for name in groups & limits.keys() if changing[name] >= limits[name][0]}
        assert room.full(groups) == min(full, default=None)
        if not full:
            room.take(groups)
            changing.update({name: changing[name] + 1 for name in groups & limits.keys()})
