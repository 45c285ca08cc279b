"""One word for each device."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backstay.core.devices import Device, DeviceName, Drill, PlaneState, PlaneStatus, Step, StepType
from backstay.core.planes import ContentDigest, Plane
from backstay.core.standing import Census, Running, Standing, standing_of

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
STEP = Step(4, Plane.MODEL, StepType.INSTALL, NOW, NOW + timedelta(hours=1))
CONTENT = ContentDigest("sha256:aa")


def device(state: PlaneState = PlaneState.CONFIRMED, *, answers: int = 4, **changes: object) -> Device:
    made = Device(DeviceName("cam"), planes={Plane.MODEL: PlaneStatus(CONTENT, "1.0.0", state=state, step=answers)})
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "standing"),
    [
        (device(), Standing.HEALTHY),
        (device(step=STEP), Standing.HEALTHY),
        (device(PlaneState.INSTALLED_UNVERIFIED, step=STEP), Standing.HEALTHY),
        (device(PlaneState.ROLLED_BACK, step=STEP), Standing.FAILED),
        (device(PlaneState.FAILED, step=STEP), Standing.FAILED),
        (device(PlaneState.ROLLED_BACK, step=replace(STEP, drill=Drill.BREAK)), Standing.HEALTHY),
        (device(PlaneState.FAILED, answers=3, step=STEP), Standing.CHANGING),
        (device(PlaneState.DOWNLOADING, step=STEP), Standing.CHANGING),
        (device(answers=3, step=replace(STEP, withdrawn=True)), Standing.HEALTHY),
        (device(PlaneState.DOWNLOADING, step=STEP, failing=("camera",)), Standing.UNHEALTHY),
        (device(PlaneState.FAILED, step=STEP, failing=("camera",), reachable=False), Standing.OFFLINE),
    ],
)
def test_standing_is_the_one_that_a_person_looks_at_first(found: Device, standing: Standing) -> None:
    assert standing_of(found) is standing


def test_census_forgets_what_nobody_runs_any_more() -> None:
    census = Census()
    census.add(device(), +1)
    assert census.by_running == {(Running(Plane.MODEL, "1.0.0", CONTENT), Standing.HEALTHY): 1}
    census.add(device(), -1)
    assert (census.devices, dict(census.by_standing), dict(census.by_running)) == (0, {}, {})


def test_census_leaves_out_a_plane_that_reports_nothing() -> None:
    census = Census()
    census.add(device(planes={Plane.MODEL: PlaneStatus()}), +1)
    assert census.devices == 1
    assert not census.by_running
