"""What a hold covers, and the last question before a step starts, by example; its laws stand in `tests/laws`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backstay.core.devices import DeviceName, StepType
from backstay.core.holds import STALE_VIEW, Action, Denial, Hold, MayNotStart, MayStart, hold_on, may_start
from backstay.core.planes import ContentDigest, Plane
from backstay.core.selectors import Selector

NOW = datetime(2026, 1, 5, 12, 0, 7, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MODEL = ContentDigest("sha256:model")
INSTALL = Action(
    DeviceName("cam-1"),
    {"region": "eu"},
    frozenset({"cameras"}),
    Plane.MODEL,
    StepType.INSTALL,
    MODEL,
    NOW + SECOND,
)
STOP = Hold("stop", reason="incident")


@pytest.mark.parametrize(
    ("scope", "is_covered"),
    [
        (Hold("all"), True),
        (Hold("mine", devices=frozenset({DeviceName("cam-1")})), True),
        (Hold("another's", devices=frozenset({DeviceName("cam-2")})), False),
        (Hold("my group", groups=frozenset({"cameras", "doors"})), True),
        (Hold("another group", groups=frozenset({"doors"})), False),
        (Hold("my region", Selector.labels(region="eu")), True),
        (Hold("another region", Selector.labels(region="us")), False),
        (Hold("both", Selector.labels(region="us"), groups=frozenset({"cameras"})), False),
    ],
    ids=lambda value: value.name if isinstance(value, Hold) else "",
)
def test_hold_covers_the_devices_that_everything_it_names_has(scope: Hold, is_covered: bool) -> None:
    assert scope.covers_device(INSTALL.device, INSTALL.labels, INSTALL.groups) is is_covered
    assert (hold_on(INSTALL, [scope], NOW) is scope) is is_covered


@pytest.mark.parametrize(
    ("versions", "is_covered"),
    [({(Plane.MODEL, MODEL)}, True), ({(Plane.CONFIG, MODEL)}, False), ({(Plane.MODEL, ContentDigest("x"))}, False)],
)
def test_hold_on_a_version_covers_that_plane_and_content(
    versions: set[tuple[Plane, ContentDigest]], is_covered: bool
) -> None:
    assert bool(hold_on(INSTALL, [Hold("frozen", versions=frozenset(versions))], NOW)) is is_covered


def test_hold_that_is_named_first_is_the_one_that_is_told() -> None:
    over = replace(STOP, name="a-past-one", until=NOW)
    holds = [replace(STOP, name="c"), replace(STOP, name="b"), over, replace(STOP, name="d")]
    found = hold_on(INSTALL, holds, NOW)
    assert found is not None
    assert found.name == "b"
    assert hold_on(INSTALL, [over], NOW) is None
    assert hold_on(INSTALL, [over], NOW - SECOND) is over


def test_step_starts_until_the_moment_that_its_order_expires() -> None:
    assert may_start(INSTALL, [], STALE_VIEW, NOW + SECOND - timedelta(microseconds=1)) == MayStart()
    assert may_start(INSTALL, [], STALE_VIEW, NOW + SECOND) == MayNotStart(
        Denial.EXPIRED, "the order expired at 12:00:08; the operator must renew it"
    )


def test_step_that_installs_does_not_start_on_an_old_view_of_the_holds() -> None:
    assert may_start(INSTALL, [], STALE_VIEW + 30 * SECOND, NOW) == MayNotStart(
        Denial.STALE_VIEW, "holds were last read 90 s ago; nothing new starts until they are"
    )
    assert may_start(replace(INSTALL, type=StepType.RETURN), [], STALE_VIEW + SECOND, NOW) == MayStart()


def test_step_that_is_held_does_not_start_unless_it_goes_back_or_has_begun() -> None:
    assert may_start(INSTALL, [STOP], timedelta(0), NOW) == MayNotStart(Denial.HELD, "hold stop: incident")
    quiet = replace(STOP, reason="")
    assert may_start(INSTALL, [quiet], timedelta(0), NOW) == MayNotStart(Denial.HELD, "hold stop: no reason given")
    assert may_start(replace(INSTALL, type=StepType.RETURN), [STOP], timedelta(0), NOW) == MayStart()
    assert may_start(replace(INSTALL, begun=True), [STOP], 2 * STALE_VIEW, NOW + SECOND) == MayStart()
    assert may_start(INSTALL, [replace(STOP, until=NOW)], timedelta(0), NOW) == MayStart()
