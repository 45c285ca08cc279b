"""From ring to ring: what is remembered of each, what is watched, and when it is looked at again."""

from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from backstay.core.devices import Device, PlaneState
from backstay.core.observed import Observed
from backstay.core.plan import Count, Denominator, Ring, Success
from backstay.core.planes import Plane
from backstay.core.reasons import Reason
from backstay.core.revision import DrillState, Phase
from backstay.core.rolling_out import pending, rolling, soaking, stabilizing, succeeded
from backstay.core.selectors import Selector
from backstay.core.signals import Result, Verdict
from tests.core.cameras import MINUTE, START, at, cameras, seen, told
from tests.laws.release_world import TARGETS

MODEL = TARGETS["model"][Plane.MODEL]
RINGS = (
    Ring("eu", selector=Selector.labels(region="eu"), soak=MINUTE, in_flight=Count(9)),
    Ring("everyone", soak=MINUTE, in_flight=Count(9)),
)
LATER = START + timedelta(minutes=2)
GOOD = Verdict("accuracy", Result.PASS, LATER, "q", 0.95, "good")
NOTHING_CHANGED = "every device ran these versions already: nothing was changed, so there is no health to judge"


def there(device: Device, ring: str) -> Device:
    return told(device, MODEL, PlaneState.CONFIRMED, ring=ring)


def already(device: Device) -> Device:
    """It ran the target before anybody ordered it."""
    status = replace(device.status(Plane.MODEL), running=MODEL.content, version=MODEL.version)
    return replace(device, planes={**device.planes, Plane.MODEL: status})


def hearing(observed: Observed, *verdicts: Verdict) -> Observed:
    return replace(observed, verdicts={verdict.signal: verdict for verdict in verdicts})


def test_ring_starts_with_its_own_time_and_without_the_drills_of_the_last_one() -> None:
    observed = hearing(seen([there(cameras(1)[0], "eu"), *cameras(1, "us")], rings=RINGS), GOOD)
    drills = (DrillState(cameras(1)[0].name, "RoundTrip"),)  # type: ignore[arg-type]
    first = pending(observed, at(observed, Phase.PENDING, ring_since=None), START + MINUTE)
    assert (first.state.ring, first.state.ring_since) == (0, START + MINUTE)
    following = soaking(observed, at(observed, Phase.SOAKING, drills=drills), LATER)
    assert (following.phase, following.state.ring, following.state.ring_since) == (Phase.ROLLING, 1, LATER)
    assert following.state.drills == ()


def test_ring_that_waits_for_its_offline_devices_looks_again_when_their_grace_is_over() -> None:
    away = replace(cameras(1)[0], reachable=False)
    success = Success(Fraction(1), of=Denominator.TARGET, offline_grace=timedelta(hours=1))
    observed = seen([away, there(cameras(2)[1], "eu"), *cameras(1, "us")], rings=RINGS, success=success)
    decision = rolling(observed, at(observed, Phase.ROLLING), LATER)
    assert decision.because[0].reason is Reason.WAITING_FOR_OFFLINE
    assert decision.wake_at == START + timedelta(hours=1)


def test_watch_looks_again_when_its_window_ends() -> None:
    observed = seen([there(cameras(1)[0], "eu"), *cameras(1, "us")], rings=RINGS)
    assert soaking(observed, at(observed, Phase.SOAKING), START).wake_at == START + MINUTE


@pytest.mark.parametrize(
    ("ring", "changed", "is_judged"),
    [(0, ("eu",), True), (0, ("us",), False), (1, ("eu",), False), (1, ("us",), True)],
)
def test_soak_judges_health_only_where_its_own_ring_was_changed(
    ring: int, changed: tuple[str, ...], is_judged: bool
) -> None:
    devices = [
        there(one, "eu" if region == "eu" else "everyone") if region in changed else already(one)
        for region in ("eu", "us")
        for one in cameras(1, region)
    ]
    observed = seen(devices, rings=RINGS)
    decision = soaking(observed, at(observed, Phase.SOAKING, ring=ring), START)
    assert (decision.phase is Phase.SOAKING) is is_judged
    if not is_judged:
        leaves = "the last ring has passed" if ring else "ring everyone starts"
        assert decision.because[0].message == f"{leaves}: {NOTHING_CHANGED}"


@pytest.mark.parametrize("changed", ["eu", "us"])
def test_stability_is_judged_where_any_ring_was_changed(changed: str) -> None:
    devices = [
        there(one, "eu" if region == "eu" else "everyone") if region == changed else already(one)
        for region in ("eu", "us")
        for one in cameras(1, region)
    ]
    observed = seen(devices, rings=RINGS)
    assert stabilizing(observed, at(observed, Phase.STABILIZING, ring=1), START).phase is Phase.STABILIZING
    still = seen([already(one) for one in cameras(2)], rings=RINGS)
    assert stabilizing(still, at(still, Phase.STABILIZING, ring=1), START).phase is Phase.SUCCEEDED


def test_release_that_succeeded_looks_again_at_the_deadline_of_a_late_joiner() -> None:
    joining = told(cameras(1)[0], MODEL, PlaneState.DOWNLOADING, ring="eu")
    observed = seen([joining, there(cameras(1, "us")[0], "everyone")], rings=RINGS)
    decision = succeeded(observed, at(observed, Phase.SUCCEEDED, ring=1), START)
    assert decision.wake_at == START + 5 * MINUTE
