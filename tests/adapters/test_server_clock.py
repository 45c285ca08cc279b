"""One clock for all, also on a machine whose own is wrong."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from backstay.adapters.kube.server_clock import ServerClock

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@dataclass
class Machine:
    time: datetime = NOON

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 7.0


def header(time: datetime) -> str:
    return format_datetime(time, usegmt=True)


@pytest.mark.parametrize("off", [timedelta(seconds=4), timedelta(seconds=-4), timedelta(0)])
def test_clock_is_the_machines_when_that_is_about_right(off: timedelta) -> None:
    told: list[float] = []
    clock = ServerClock(Machine(), told.append)
    clock.heard(header(NOON + off))
    assert (clock.now(), clock.monotonic(), told) == (NOON, 7.0, [])


@pytest.mark.parametrize("off", [timedelta(hours=3), timedelta(days=-300)])
def test_clock_is_the_servers_when_the_machines_is_wrong(off: timedelta) -> None:
    told: list[float] = []
    machine = Machine()
    clock = ServerClock(machine, told.append)
    clock.heard(header(NOON + off))
    assert clock.now() == NOON + off
    machine.time += timedelta(seconds=10)
    clock.heard(header(NOON + off + timedelta(seconds=11)))
    assert clock.now() == NOON + off + timedelta(seconds=10), "a second more or less is no news"
    assert told == [off.total_seconds()]


def test_correction_ends_when_the_machines_clock_was_set_right() -> None:
    told: list[float] = []
    machine = Machine()
    clock = ServerClock(machine, told.append)
    clock.heard(header(NOON + timedelta(hours=1)))
    machine.time = NOON + timedelta(hours=1)
    clock.heard(header(NOON + timedelta(hours=1)))
    assert clock.now() == machine.time
    assert told == [3600.0, 0.0]


@pytest.mark.parametrize(
    "date", [None, "", "yesterday", "Mon, 05 Jan 2026 12:00:00 -0000", "Mon, 99 Jan 2026 12:00:00 GMT"]
)
def test_header_that_says_nothing_changes_nothing(date: str | None) -> None:
    clock = ServerClock(Machine(NOON + timedelta(days=1)))
    clock.heard(date)
    assert clock.now() == NOON + timedelta(days=1)
