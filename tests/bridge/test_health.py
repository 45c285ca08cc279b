import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.bridge.attributes import parse_attributes
from backstay.bridge.feedback import parse_feedback
from backstay.bridge.health import LOWEST, MalformedBody, parse_health
from backstay.core.device import Reason
from backstay.core.planes import Plane

DIGEST = f"sha256:{'a' * 64}"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
)
NAMES = ("planes", "slot", "otadata", "rollbackCapable", "agent", "boot", "probes", "resources", "log", "interval")
RESOURCES = st.dictionaries(st.sampled_from(sorted(LOWEST)), SCALARS)
PLANES = st.dictionaries(st.sampled_from(sorted(Plane)), st.dictionaries(st.sampled_from(["running"]), JSON))
REPORTS = st.dictionaries(st.sampled_from(NAMES), JSON | RESOURCES | PLANES)


@given(REPORTS | JSON)
def test_health_is_read_or_refused_when_a_device_sends_anything(body):
    try:
        report = parse_health(body)
    except MalformedBody:
        return
    assert all(math.isfinite(value) and value >= LOWEST[name] for name, value in report.resources.items())


@given(JSON)
def test_feedback_and_attributes_are_read_or_refused_when_a_device_sends_anything(body):
    for parse in (lambda: parse_feedback(body, 7), lambda: parse_attributes(body, {})):
        try:
            parse()
        except MalformedBody:
            continue


@pytest.mark.parametrize(
    "raw", ["NaN", "Infinity", "-Infinity", "-0.5", '"0.5"', "true", "null", "1e999", f"1{'0' * 400}"]
)
def test_figure_is_left_out_when_it_cannot_be_true(raw):
    try:
        body = orjson.loads(f'{{"resources": {{"inference_latency_seconds": {raw}}}}}')
    except orjson.JSONDecodeError:
        return
    assert parse_health(body).resources == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "the report"),
        ({"planes": {"model": {"running": "7.2.0"}}}, "planes.model.running"),
        ({"planes": {"model": {"running": f"{DIGEST}\n"}}}, "planes.model.running"),
        ({"planes": {"model": {"version": 7.2}}}, "planes.model.version"),
        ({"otadata": "00"}, "otadata"),
        ({"probes": [{"name": "Camera", "passed": True}]}, "probes[0]"),
        ({"probes": [{"name": "camera"}]}, "probes[0]"),
        ({"probes": [{}] * 33}, "probes"),
        ({"interval": 0}, "interval"),
        ({"interval": -1.0}, "interval"),
        ({"agent": "a\nb"}, "agent"),
        ({"rollbackCapable": "yes"}, "rollbackCapable"),
    ],
)
def test_health_is_refused_by_field_when_it_has_the_wrong_form(body, field):
    with pytest.raises(MalformedBody) as caught:
        parse_health(body)
    assert field in str(caught.value)


def test_digest_counts_when_the_version_beside_it_is_called_anything():
    found = parse_health({"planes": {"firmware": {"running": DIGEST, "version": "2.4.1_rc1 (dev)\n" + "x" * 99}}})
    assert found.planes[Plane.FIRMWARE].running == DIGEST
    assert found.planes[Plane.FIRMWARE].version.startswith("2.4.1_rc1 (dev) x")
    assert len(found.planes[Plane.FIRMWARE].version) == 64


def test_health_is_read_whole_when_it_is_right():
    report = parse_health(
        {
            "planes": {"model": {"running": DIGEST, "version": "7.1.0"}, "plane-of-tomorrow": 1},
            "probes": [{"name": "npu", "passed": False}, {"name": "camera", "passed": True, "detail": "ok"}],
            "resources": {"inference_accuracy": 0.97, "temperature_celsius": -5, "unknown": 1},
            "log": ["boot\x1b[31m", "ready"],
            "interval": 1.0,
            "later": {"more": 1},
        }
    )
    assert report.planes[Plane.MODEL].running == DIGEST
    assert (report.failing, report.probed) == (("npu",), True)
    assert report.resources == {"inference_accuracy": 0.97, "temperature_celsius": -5.0}
    assert report.logged


@pytest.mark.parametrize(
    ("execution", "details", "expected"),
    [
        ("closed", ["ProbeFailed: camera"], "ProbeFailed: camera"),
        ("closed", ["Watchdog"], "Watchdog"),
        ("closed", ["it went wrong"], "Rejected: it went wrong"),
        ("closed", [], "Rejected: the device gives no reason"),
        ("canceled", [], "Canceled: the device gives no reason"),
    ],
)
def test_reason_is_one_that_backstay_knows_when_a_step_fails(execution, details, expected):
    result = {"finished": "failure"}
    feedback = parse_feedback({"status": {"execution": execution, "result": result, "details": details}}, 7)
    assert feedback.reason == expected
    assert feedback.reason.partition(":")[0] in set(Reason)


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ({}, "status.result"),
        ({"execution": "done", "result": {"finished": "success"}}, "status.execution"),
        ({"execution": "closed", "result": {"finished": "yes"}}, "status.result.finished"),
        ({"execution": "closed", "result": {"finished": "none"}}, "status.result.finished"),
        ({"execution": "closed", "result": {"finished": "success"}, "details": "x"}, "status.details"),
    ],
)
def test_feedback_is_refused_by_field_when_it_has_the_wrong_form(status, field):
    with pytest.raises(MalformedBody) as caught:
        parse_feedback({"id": "7", "status": status}, 7)
    assert field in str(caught.value)


def test_feedback_is_refused_when_it_is_on_another_action_than_its_path():
    with pytest.raises(MalformedBody):
        parse_feedback({"id": "8", "status": {"execution": "closed", "result": {"finished": "success"}}}, 7)
