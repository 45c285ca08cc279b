from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backstay.core.device import Reason
from backstay.core.devices import Assignment, Device, DeviceName, PlaneState, PlaneStatus, RevisionName, Step, StepType
from backstay.core.failures import FailureKind, RetryPolicy, failure_of, is_undelivered, words_of
from backstay.core.planes import ContentDigest, Plane

AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
BAD = ContentDigest("sha256:model-2.0.0")
IN_REVISION = Assignment("vision", RevisionName("abc-1"), "canary", "2.0.0", BAD)


def device(state: PlaneState, reason: str = "", *, answers: int = 7, running: str = "sha256:model-1.0.0") -> Device:
    status = PlaneStatus(ContentDigest(running), "1.0.0", state=state, step=answers, reason=reason, since=AT)
    step = Step(7, Plane.MODEL, StepType.INSTALL, AT, AT + timedelta(minutes=5))
    return Device(DeviceName("cam-1"), planes={Plane.MODEL: status}, assigned={Plane.MODEL: IN_REVISION}, step=step)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.DIGEST_MISMATCH, FailureKind.REJECTED),
        (Reason.REJECTED, FailureKind.REJECTED),
        (Reason.INCOMPATIBLE, FailureKind.REJECTED),
        (Reason.DOWNLOAD_FAILED, FailureKind.UNDELIVERED),
        (Reason.EXPIRED, FailureKind.UNDELIVERED),
        (Reason.CANCELED, FailureKind.UNDELIVERED),
        (Reason.SAFE_MODE, FailureKind.UNDELIVERED),
        (Reason.FROZEN, FailureKind.UNDELIVERED),
        (Reason.NO_SPACE, FailureKind.RESOURCE_ANOMALY),
        (Reason.PROBE_FAILED, FailureKind.FAILED_PROBE),
        (Reason.CONFIRM_TIMEOUT, FailureKind.FELL_BACK),
        (Reason.WATCHDOG, FailureKind.FELL_BACK),
        (Reason.BOOT_FAILED, FailureKind.FELL_BACK),
    ],
)
def test_failure_is_named_by_the_reason_that_the_device_gives(reason: Reason, kind: FailureKind) -> None:
    assert failure_of(device(PlaneState.FAILED, reason)) is kind
    assert failure_of(device(PlaneState.ROLLED_BACK, f"{reason}: and more: of it")) is kind


def test_every_reason_of_a_device_has_a_kind() -> None:
    kinds = {failure_of(device(PlaneState.FAILED, reason)) for reason in Reason}
    assert kinds == set(FailureKind) - {FailureKind.TIMED_OUT}


def test_only_what_was_not_delivered_is_no_evidence_against_a_version() -> None:
    assert {kind for kind in FailureKind if not kind.is_evidence} == {FailureKind.UNDELIVERED}


@pytest.mark.parametrize(
    ("state", "kind"), [(PlaneState.ROLLED_BACK, FailureKind.FELL_BACK), (PlaneState.FAILED, FailureKind.REJECTED)]
)
def test_reason_that_nobody_knows_is_judged_by_what_the_device_did(state: PlaneState, kind: FailureKind) -> None:
    assert failure_of(device(state, "Moonshine: nobody knows")) is kind
    assert failure_of(device(state)) is kind


def test_silence_is_a_time_out_whatever_the_device_had_said_before() -> None:
    silent = device(PlaneState.FAILED, Reason.DOWNLOAD_FAILED, answers=6)
    assert failure_of(silent) is FailureKind.TIMED_OUT
    assert failure_of(replace(silent, step=None)) is FailureKind.TIMED_OUT
    assert failure_of(device(PlaneState.DOWNLOADING, Reason.DOWNLOAD_FAILED)) is FailureKind.TIMED_OUT


@pytest.mark.parametrize(
    ("detail", "kind"),
    [
        ("disk", FailureKind.RESOURCE_ANOMALY),
        ("camera, disk", FailureKind.RESOURCE_ANOMALY),
        ("camera,disk ,inference", FailureKind.RESOURCE_ANOMALY),
        ("camera, disk: camera: no frame; disk: 3 MiB free", FailureKind.RESOURCE_ANOMALY),
        ("camera", FailureKind.FAILED_PROBE),
        ("camera: no frame, disk is fine", FailureKind.FAILED_PROBE),
        ("camera disk", FailureKind.FAILED_PROBE),
    ],
)
def test_probe_that_looks_at_resources_makes_an_anomaly_of_them(detail: str, kind: FailureKind) -> None:
    fell_back = device(PlaneState.ROLLED_BACK, f"{Reason.PROBE_FAILED}: {detail}")
    assert failure_of(fell_back, frozenset({"disk", "npu"})) is kind
    assert failure_of(fell_back) is FailureKind.FAILED_PROBE


def test_resource_probe_says_nothing_when_no_probe_failed() -> None:
    fell_back = device(PlaneState.ROLLED_BACK, f"{Reason.WATCHDOG}: disk")
    assert failure_of(fell_back, frozenset({"disk"})) is FailureKind.FELL_BACK


def test_words_of_a_failure_are_the_devices_own() -> None:
    assert words_of(device(PlaneState.ROLLED_BACK, "ProbeFailed: camera"), FailureKind.FAILED_PROBE) == (
        "model ProbeFailed: camera"
    )


def test_words_of_silence_name_the_plane_and_not_the_reason_of_an_earlier_step() -> None:
    silent = device(PlaneState.FAILED, "ProbeFailed: camera", answers=6)
    assert words_of(silent, FailureKind.TIMED_OUT) == "model TimedOut"
    assert words_of(replace(silent, step=None), FailureKind.FELL_BACK) == "device FellBack"


def test_words_of_a_device_that_confirmed_other_bytes_say_so() -> None:
    lies = device(PlaneState.CONFIRMED)
    assert failure_of(lies) is FailureKind.FELL_BACK
    assert words_of(lies, FailureKind.FELL_BACK) == "model FellBack: it does not run what it confirmed"


def test_change_is_undelivered_only_once_the_device_has_said_so() -> None:
    assert is_undelivered(device(PlaneState.FAILED, Reason.DOWNLOAD_FAILED))
    assert not is_undelivered(device(PlaneState.FAILED, Reason.REJECTED))
    assert not is_undelivered(device(PlaneState.FAILED, Reason.DOWNLOAD_FAILED, answers=6))


def test_each_wait_before_another_order_is_twice_as_long() -> None:
    policy = RetryPolicy(attempts=4, backoff=timedelta(minutes=1))
    waits = [policy.due(attempt, AT) - AT for attempt in (1, 2, 3, 4)]
    assert waits == [timedelta(minutes=minutes) for minutes in (1, 2, 4, 8)]
