"""A device's deadline runs from its own beginning, and no clock at its gateway moves it out of the order's time."""

from datetime import UTC, datetime, timedelta

import pytest

from backstay.core.devices import Device, DeviceName, PlaneState, PlaneStatus, Step, StepType, deadline_of
from backstay.core.planes import Plane

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
EXPIRES = NOON + timedelta(hours=2)
ALLOWED = {Plane.MODEL: timedelta(minutes=30)}


def begun(since: datetime | None) -> Device:
    status = PlaneStatus(state=PlaneState.DOWNLOADING, step=3, since=since)
    step = Step(3, Plane.MODEL, StepType.INSTALL, NOON, EXPIRES)
    return Device(DeviceName("cam-1"), {}, planes={Plane.MODEL: status}, step=step)


@pytest.mark.parametrize(
    ("since", "counted_from"),
    [
        (NOON + timedelta(minutes=5), NOON + timedelta(minutes=5)),
        (NOON - timedelta(days=1), NOON),
        (NOON + timedelta(days=1), EXPIRES),
    ],
)
def test_deadline_is_counted_from_the_beginning_within_the_time_of_the_order(
    since: datetime, counted_from: datetime
) -> None:
    assert deadline_of(begun(since), ALLOWED) == counted_from + ALLOWED[Plane.MODEL]


def test_deadline_is_the_expiry_when_nobody_says_when_it_began() -> None:
    assert deadline_of(begun(None), ALLOWED) == EXPIRES
