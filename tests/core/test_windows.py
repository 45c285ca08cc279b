from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.core.windows import Window, next_opening

BERLIN = ZoneInfo("Europe/Berlin")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
MON, TUE, WED, THU, FRI, SAT, SUN = range(7)
EVERY_DAY = frozenset(range(7))

SPRING = datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
"""In Berlin 02:00 becomes 03:00."""
AUTUMN = datetime(2026, 10, 25, 1, 0, tzinfo=UTC)
"""In Berlin 03:00 becomes 02:00."""


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def window(start: str, end: str, *days: int, zone: ZoneInfo = BERLIN) -> Window:
    return Window(frozenset(days) or EVERY_DAY, time.fromisoformat(start), time.fromisoformat(end), zone)


WORKING_HOURS = window("09:00", "16:00", MON, TUE, WED, THU)
NIGHT = window("22:00", "06:00", SAT)


@pytest.mark.parametrize(
    ("one", "now", "is_open"),
    [
        (WORKING_HOURS, "2026-01-05 08:59:59", False),
        (WORKING_HOURS, "2026-01-05 09:00", True),
        (WORKING_HOURS, "2026-01-05 15:59:59", True),
        (WORKING_HOURS, "2026-01-05 16:00", False),
        (WORKING_HOURS, "2026-01-08 12:00", True),
        (WORKING_HOURS, "2026-01-09 12:00", False),
        (NIGHT, "2026-01-10 05:00", False),
        (NIGHT, "2026-01-10 21:59:59", False),
        (NIGHT, "2026-01-10 22:00", True),
        (NIGHT, "2026-01-11 00:00", True),
        (NIGHT, "2026-01-11 05:59:59", True),
        (NIGHT, "2026-01-11 06:00", False),
        (NIGHT, "2026-01-11 22:00", False),
        (window("22:00", "06:00", SUN), "2026-01-12 03:00", True),
        (window("22:00", "06:00", MON), "2026-01-12 03:00", False),
        (window("12:00", "12:00", MON), "2026-01-12 11:59", False),
        (window("12:00", "12:00", MON), "2026-01-12 12:00", True),
        (window("12:00", "12:00", MON), "2026-01-13 11:59", True),
        (window("12:00", "12:00", MON), "2026-01-13 12:00", False),
    ],
)
def test_window_is_open_from_its_start_to_before_its_end(one: Window, now: str, is_open: bool) -> None:
    assert one.is_open(at(now)) is is_open


def test_window_follows_the_wall_clock_when_summer_time_begins_and_ends() -> None:
    for day in ("2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25"):
        hours = window("09:00", "16:00")
        assert hours.is_open(at(f"{day} 09:00"))
        assert not hours.is_open(at(f"{day} 16:00"))
        assert hours.opens_after(at(f"{day} 04:00")) == at(f"{day} 09:00")


def test_window_opens_after_the_gap_when_summer_time_leaves_its_start_out() -> None:
    for start in ("02:00", "02:30", "02:59"):
        assert window(start, "05:00", SUN).opens_after(SPRING - timedelta(minutes=1)) == SPRING


def test_window_opens_a_week_later_when_summer_time_leaves_all_of_it_out() -> None:
    lost = window("02:10", "02:40", SUN)
    assert lost.opens_after(at("2026-03-22 02:40")) == at("2026-04-05 02:10")
    assert lost.opens_after(SPRING) == at("2026-04-05 02:10")


def test_window_is_shorter_when_summer_time_leaves_its_end_out() -> None:
    early = window("01:00", "02:30", SUN)
    assert early.is_open(SPRING - timedelta(seconds=1))
    assert not early.is_open(SPRING)


def test_window_is_open_twice_when_the_clock_repeats_its_hour() -> None:
    repeated = window("02:15", "02:45", SUN)
    first, second = AUTUMN - timedelta(minutes=45), AUTUMN + timedelta(minutes=15)
    for opens in (first, second):
        assert not repeated.is_open(opens - timedelta(seconds=1))
        assert repeated.is_open(opens)
        assert not repeated.is_open(opens + timedelta(minutes=30))
    assert repeated.opens_after(first + timedelta(minutes=30)) == second


def test_window_opens_again_when_the_clock_goes_back_behind_its_end() -> None:
    early = window("01:00", "02:30", SUN)
    assert not early.is_open(AUTUMN - timedelta(minutes=30))
    assert early.opens_after(AUTUMN - timedelta(minutes=30)) == AUTUMN


def test_night_is_an_hour_shorter_or_longer_when_the_clock_changes() -> None:
    night = window("22:00", "06:00", SAT)
    for evening, hours in (("2026-03-28", 7), ("2026-10-24", 9)):
        opens = at(f"{evening} 22:00")
        assert night.is_open(opens + timedelta(hours=hours, seconds=-1))
        assert not night.is_open(opens + timedelta(hours=hours))


def test_window_opens_on_its_minute_when_the_zone_is_off_by_a_part_of_an_hour() -> None:
    assert window("09:07", "09:09", zone=KATHMANDU).opens_after(at("2026-01-05 09:09", KATHMANDU)) == at(
        "2026-01-06 09:07", KATHMANDU
    )


def test_window_opens_now_when_it_is_open() -> None:
    now = at("2026-01-05 09:00:01.5")
    assert WORKING_HOURS.opens_after(now) == now


def test_window_that_has_just_closed_opens_a_week_later() -> None:
    assert window("09:00", "09:01", MON).opens_after(at("2026-01-05 09:01")) == at("2026-01-12 09:00")


def test_window_without_days_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"^the window opens on none of the days \[\]$"):
        Window(frozenset(), time(9), time(16), BERLIN).opens_after(SPRING)


clocks = st.times().map(lambda clock: clock.replace(second=0, microsecond=0))
windows = st.builds(
    Window, st.frozensets(st.integers(0, 6), min_size=1), clocks, clocks, st.sampled_from([UTC, BERLIN, KATHMANDU])
)
moments = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.timedeltas(timedelta(days=-8), timedelta(days=1)).map(SPRING.__add__),
    st.timedeltas(timedelta(days=-8), timedelta(days=1)).map(AUTUMN.__add__),
)


@given(windows, moments)
def test_window_opens_at_the_first_minute_at_which_it_is_open(one: Window, now: datetime) -> None:
    opens = one.opens_after(now)
    assert one.is_open(opens)
    minute = now if one.is_open(now) else now.replace(second=0, microsecond=0)
    step = timedelta(minutes=1)
    if opens > now:
        assert opens.second == opens.microsecond == 0
        assert not one.is_open(opens - step)
        quarter = timedelta(minutes=15)
        around = (minute + step * k for k in range(1, 16))
        far = (minute + quarter * k for k in range(1, (opens - minute) // quarter))
        assert not any(one.is_open(moment) for moment in (*around, *far) if moment < opens)
    else:
        assert opens == now


def test_windows_allow_work_only_while_all_are_open() -> None:
    now = at("2026-01-05 12:00")
    assert next_opening((), now) is None
    assert next_opening((WORKING_HOURS, window("11:00", "13:00")), now) is None
    assert next_opening((WORKING_HOURS, NIGHT), now) is not None


def test_next_opening_is_that_of_the_last_closed_window_to_open() -> None:
    now = at("2026-01-05 08:00")
    assert next_opening((), now) is None
    assert next_opening((window("07:00", "09:00"),), now) is None
    assert next_opening((window("07:00", "09:00"), WORKING_HOURS, window("10:00", "11:00")), now) == at(
        "2026-01-05 10:00"
    )
