"""What an order carries to the device."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from backstay.api import Hold
from backstay.controllers.orders import Context, hold_document, order_patch
from backstay.controllers.snapshots import Snapshot
from backstay.core.actions import Dispatch, Freeze
from backstay.core.devices import DeviceName, Drill, RevisionName, StepType
from backstay.core.holds import Conviction
from backstay.core.planes import ContentDigest, Plane, Release, Requirement, VersionRange
from backstay.core.revision import Segment
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


MODEL = Release(Plane.MODEL, "7.2.0", ContentDigest("sha256:" + "a" * 64), (), "registry.example/m@sha256:b")


def context(retain: str | None = None) -> Context:
    plan = written_plan()
    plan = plan.model_copy(update={"spec": plan.spec.model_copy(update={"retain": retain})})
    snapshot = Snapshot(RevisionName("abc-1"), 1, plan.spec, {}, {Plane.MODEL: MODEL})
    return Context(plan, RevisionName("abc-1"), snapshot)


def ordered(**changes: object) -> dict[str, Any]:
    dispatch = Dispatch(DeviceName("cam-1"), "5", 3, StepType.INSTALL, MODEL, "canary", NOON + timedelta(hours=2))
    patch = order_patch(replace(dispatch, **changes), context(), "esp32", NOON)  # type: ignore[arg-type]
    desired: dict[str, Any] = patch["spec"]["desired"]
    return desired


def test_order_clears_what_the_one_before_it_said_when_it_is_a_first_attempt_and_no_rehearsal() -> None:
    step = ordered()["step"]
    assert (step["attempt"], step["rehearsal"], step["withdrawn"]) == (None, None, None)


def test_order_tells_the_device_to_fail_when_it_rehearses_falling_back() -> None:
    desired = ordered(drill=Drill.BREAK, attempt=2)
    assert (desired["step"]["rehearsal"], desired["step"]["attempt"]) == ("Break", 2)
    assert desired["probes"][-1] == {"name": "rehearsal", "kind": "FailOnPurpose", "within": "1s"}


def test_order_of_a_round_trip_asks_for_the_usual_probes_alone() -> None:
    desired = ordered(drill=Drill.ROUND_TRIP)
    assert desired["step"]["rehearsal"] == "RoundTrip"
    assert desired["probes"] == ordered()["probes"]


def test_order_says_how_long_versions_are_retained_and_whether_a_person_asked_to_try_again() -> None:
    dispatch = Dispatch(DeviceName("cam-1"), "5", 3, StepType.INSTALL, MODEL, "canary", NOON + timedelta(hours=2))
    desired = order_patch(dispatch, context(retain="336h"), "esp32", NOON)["spec"]["desired"]
    assert (desired["model"]["retain"], ordered()["model"]["retain"], ordered()["step"]["again"]) == (
        "336h",
        None,
        None,
    )
    assert ordered(again=True)["step"]["again"] is True


def test_freeze_of_a_segment_holds_its_devices_alone() -> None:
    freeze = Freeze(Plane.MODEL, MODEL.content, "7.2.0", Conviction.CONVICTED, "it hangs", Segment("hardware", "rev-b"))
    hold = Hold.model_validate(hold_document(freeze, context()))
    assert hold.spec.scope is not None
    assert hold.spec.scope.selector is not None
    assert hold.spec.scope.selector.match_labels == {"hardware": "rev-b"}
    assert hold.metadata.name != replace(freeze, segment=None).hold_name
