from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.api.device_status import Condition, Status, difference, status_from
from backstay.bridge.feedback import parse_feedback
from backstay.bridge.health import HealthReport, PlaneReport
from backstay.bridge.reports import Answer, Unproven, answer_to, with_report
from backstay.core.devices import PlaneState, PlaneStatus
from backstay.core.planes import ContentDigest, Plane
from tests.bridge.conftest import merged

WANTED = ContentDigest(f"sha256:{'a' * 64}")
OTHER = ContentDigest(f"sha256:{'b' * 64}")
SUCCESS = parse_feedback({"status": {"execution": "closed", "result": {"finished": "success"}}}, 7)
NEW = Status()
KNOWN = Status(planes={Plane.MODEL: PlaneStatus(running=OTHER)}, agent="test/1")


def failure(reason):
    status = {"execution": "closed", "result": {"finished": "failure"}, "details": [reason]}
    return parse_feedback({"status": status}, 7)


def report_of(running):
    return HealthReport(planes={Plane.MODEL: PlaneReport(running)})


@pytest.mark.parametrize(
    ("feedback", "report", "status", "expected"),
    [
        (SUCCESS, report_of(WANTED), NEW, PlaneState.CONFIRMED),
        (SUCCESS, report_of(WANTED), KNOWN, PlaneState.CONFIRMED),
        (SUCCESS, report_of(OTHER), NEW, PlaneState.FAILED),
        (SUCCESS, None, NEW, PlaneState.INSTALLED_UNVERIFIED),
        (SUCCESS, HealthReport(), NEW, PlaneState.INSTALLED_UNVERIFIED),
        (SUCCESS, None, Status(planes={Plane.MODEL: PlaneStatus(running=WANTED)}), PlaneState.CONFIRMED),
        (failure("ProbeFailed: camera"), report_of(OTHER), KNOWN, PlaneState.ROLLED_BACK),
        (failure("Watchdog"), None, KNOWN, PlaneState.ROLLED_BACK),
        (failure("ProbeFailed: camera"), report_of(WANTED), KNOWN, PlaneState.FAILED),
        (failure("NoSpace"), report_of(OTHER), KNOWN, PlaneState.FAILED),
    ],
)
def test_answer_is_judged_by_the_devices_own_digests_when_a_step_ends(feedback, report, status, expected):
    answer = answer_to(feedback, Plane.MODEL, WANTED, report, status)
    assert isinstance(answer, Answer)
    assert answer.state is expected


def test_answer_waits_for_a_report_when_this_bridge_has_not_heard_a_device_that_reports():
    assert isinstance(answer_to(SUCCESS, Plane.MODEL, WANTED, None, KNOWN), Unproven)


def test_answer_is_unverified_when_nobody_remembers_the_order():
    answer = answer_to(SUCCESS, Plane.MODEL, None, report_of(OTHER), KNOWN)
    assert isinstance(answer, Answer)
    assert answer.state is PlaneState.INSTALLED_UNVERIFIED


def test_version_is_the_operators_name_when_the_operator_knows_the_digest():
    report = HealthReport(planes={Plane.MODEL: PlaneReport(WANTED, "99.0.0", OTHER, "98.0.0")})
    found = with_report(NEW, report, lambda _, digest: "7.2.0" if digest == WANTED else None).plane(Plane.MODEL)
    assert (found.running, found.version, found.fallback, found.fallback_version) == (WANTED, "7.2.0", OTHER, "98.0.0")


DIGESTS = st.sampled_from([None, WANTED, OTHER])
TIMES = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
WHOLE = TIMES.map(lambda when: when.replace(microsecond=0))
PLANE_STATUSES = st.builds(
    PlaneStatus,
    running=DIGESTS,
    version=st.sampled_from(["", "7.1.0"]),
    fallback=DIGESTS,
    state=st.sampled_from(PlaneState),
    step=st.integers(0, 9),
    reason=st.sampled_from(["", "Watchdog"]),
    since=st.none() | TIMES,
)
CONDITIONS = st.builds(Condition, st.booleans(), st.just("Reason"), st.text(max_size=5), WHOLE, st.integers(0, 3))
STATUSES = st.builds(
    Status,
    planes=st.dictionaries(st.sampled_from(Plane), PLANE_STATUSES),
    health=st.sampled_from(["Unknown", "Healthy"]),
    failing=st.sampled_from([(), ("camera",)]),
    slot=st.sampled_from(["", "ota_0"]),
    rollback_capable=st.sampled_from([None, True, False]),
    agent=st.sampled_from(["", "test/1"]),
    conditions=st.dictionaries(st.sampled_from(["Ready", "Reachable"]), CONDITIONS),
)


def read_back(document):
    planes = {
        Plane(name): PlaneStatus(
            running=found.get("running"),
            version=found.get("version", ""),
            fallback=found.get("fallback"),
            fallback_version=found.get("fallbackVersion", ""),
            state=PlaneState(found["state"]),
            step=found["step"],
            reason=found["reason"],
            since=datetime.fromisoformat(found["since"]) if found.get("since") else None,
        )
        for name, found in document.get("planes", {}).items()
    }
    return status_from(document, planes)


@given(STATUSES, STATUSES)
def test_difference_turns_one_status_into_the_other_when_it_is_merged(before, after):
    # A bridge never takes back that a plane exists, and a document without changes holds no plane that says nothing.
    after = Status(
        **{name: getattr(after, name) for name in Status.__slots__} | {"planes": {**before.planes, **after.planes}}
    )
    document = merged(merged({}, difference(Status(), before)), difference(before, after))
    found = read_back(document)
    for plane in Plane:
        assert found.plane(plane) == after.plane(plane)
    assert (found.health, found.failing, found.slot) == (after.health, after.failing, after.slot)
    assert (found.agent, found.rollback_capable) == (after.agent, after.rollback_capable)
    assert found.conditions == after.conditions
    assert difference(after, after) == {}
