"""What an order carries to the device."""

from datetime import UTC, datetime, timedelta

from backstay.controllers.orders import Context, order_patch
from backstay.controllers.snapshots import Snapshot
from backstay.core.actions import Dispatch
from backstay.core.devices import DeviceName, RevisionName, StepType
from backstay.core.planes import ContentDigest, Plane, Release, Requirement, VersionRange
from tests.api.test_conversion import written_plan

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def needs(plane: Plane, text: str) -> Requirement:
    return Requirement(plane, VersionRange.parse(text))


def test_order_carries_the_artifacts_and_the_plans_ranges_as_one() -> None:
    requires = (needs(Plane.FIRMWARE, ">=1.0.0,<3.0.0"), needs(Plane.FIRMWARE, ">=1.2.0"))
    release = Release(
        Plane.MODEL, "7.2.0", ContentDigest("sha256:" + "a" * 64), requires, "registry.example/m@sha256:b"
    )
    dispatch = Dispatch(DeviceName("cam-1"), "5", 3, StepType.INSTALL, release, "canary", NOON + timedelta(hours=2))
    plan = written_plan()
    snapshot = Snapshot(RevisionName("abc-1"), 1, plan.spec, {}, {Plane.MODEL: release})
    patch = order_patch(dispatch, Context(plan, RevisionName("abc-1"), snapshot), "esp32", NOON)
    desired = patch["spec"]["desired"]
    assert desired["model"]["requires"] == {"firmware": ">=1.0.0,<3.0.0,>=1.2.0", "model": None, "config": None}
    assert desired["step"]["number"] == 3
    assert desired["window"] == "5m"
