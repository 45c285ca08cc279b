"""What a device does not try again, and what it does in spite of that."""

from dataclasses import replace
from datetime import timedelta

import pytest

from backstay.core.device import Cause, Order, Probe, Progress, Reason
from backstay.core.devices import PlaneState, StepType
from backstay.core.freezing import MOST_FROZEN, Frozen, frozen_by, refusal, with_frozen, without
from backstay.core.planes import ContentDigest, Plane

BAD = ContentDigest(f"sha256:{'b' * 64}")
ORDER = Order(7, Plane.MODEL, StepType.INSTALL, BAD, "7.2.0", (Probe("replay", "SampleReplay"),), timedelta(minutes=5))
FAILED = Progress(PlaneState.ROLLED_BACK, ORDER, Cause(Reason.PROBE_FAILED, "replay: 3 of 20 disagree"), changed=True)
FROZEN = Frozen(Plane.MODEL, BAD, "7.2.0", "ProbeFailed: replay: 3 of 20 disagree")


@pytest.mark.parametrize("reason", [Reason.PROBE_FAILED, Reason.CONFIRM_TIMEOUT, Reason.WATCHDOG, Reason.BOOT_FAILED])
def test_content_that_was_tried_and_failed_is_frozen(reason: Reason) -> None:
    found = frozen_by(replace(FAILED, cause=Cause(reason)))
    assert found == Frozen(Plane.MODEL, BAD, "7.2.0", str(reason))


@pytest.mark.parametrize(
    "progress",
    [
        Progress(),
        *(replace(FAILED, cause=Cause(reason)) for reason in (Reason.CANCELED, Reason.NO_SPACE, Reason.SAFE_MODE)),
        replace(FAILED, changed=False),
        replace(FAILED, state=PlaneState.PENDING_CONFIRM),
        replace(FAILED, state=PlaneState.CONFIRMED, cause=None),
        replace(FAILED, order=replace(ORDER, type=StepType.RETURN)),
        replace(FAILED, order=replace(ORDER, rehearsal=True)),
    ],
)
def test_nothing_else_is_frozen(progress: Progress) -> None:
    assert frozen_by(progress) is None


@pytest.mark.parametrize(
    ("said", "frozen"),
    [
        ("home: no answer since the change", False),
        ("replay, home: replay: 3 of 20 disagree; home: no answer", True),
        ("", True),
    ],
)
def test_content_is_not_frozen_when_it_only_could_not_reach_home(said: str, *, frozen: bool) -> None:
    order = replace(ORDER, probes=(*ORDER.probes, Probe("home", "AgentConnected")))
    found = frozen_by(replace(FAILED, order=order, cause=Cause(Reason.PROBE_FAILED, said)))
    assert (found is not None) is frozen


def test_install_of_what_is_frozen_is_refused_with_how_it_failed() -> None:
    known = with_frozen((), FROZEN)
    assert str(refusal(known, replace(ORDER, number=9))) == (
        "Frozen: it failed on this device before, ProbeFailed: replay: 3 of 20 disagree"
    )


@pytest.mark.parametrize(
    "order",
    [
        replace(ORDER, type=StepType.RETURN),
        replace(ORDER, again=True),
        replace(ORDER, content=ContentDigest(f"sha256:{'c' * 64}")),
        replace(ORDER, plane=Plane.CONFIG),
    ],
)
def test_return_and_what_a_person_asks_for_are_not_refused(order: Order) -> None:
    assert refusal((FROZEN,), order) is None


def test_record_names_each_content_once_and_forgets_the_oldest() -> None:
    many = [replace(FROZEN, content=ContentDigest(f"sha256:{number:064x}")) for number in range(MOST_FROZEN)]
    known: tuple[Frozen, ...] = ()
    for one in (*many, replace(many[3], why="again")):
        known = with_frozen(known, one)
    assert len(known) == MOST_FROZEN
    assert known[-1] == replace(many[3], why="again")
    assert with_frozen(known, FROZEN)[0] == many[1]
    assert without(known, replace(ORDER, content=many[3].content)) == known[:-1]
