"""Each gate by itself: what passes, what waits for how long, and what fails; the stories tell what becomes of it."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from backstay.core.devices import Assignment, Device, PlaneState, PlaneStatus, RevisionName, Step, StepType
from backstay.core.failures import FailureKind
from backstay.core.fleet import RingCounts
from backstay.core.gates import (
    FailedGate,
    Gate,
    Held,
    Passed,
    RingHealth,
    Waiting,
    confirmation_gate,
    counted,
    devices_gate,
    failing_signals,
    fewest_confirmed,
    is_excused,
    judged,
    ring_health,
    signals_gate,
    unclear_for_too_long,
)
from backstay.core.observed import Observed
from backstay.core.plan import Count, Denominator, Ring, Success
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState, Tally
from backstay.core.signals import Compared, Comparison, Direction, Result, Signal, Verdict, WhenUnclear
from tests.laws.release_world import START, TARGETS, World, device_of, plan_of

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
ACCURACY = Signal("accuracy", "q", (Plane.MODEL,), minimum=Decimal("0.9"), failure_limit=3)
LATENCY = Signal("latency", "q", (Plane.CONFIG,), maximum=Decimal(1))
REPLAY = Signal("replay", "q", (Plane.MODEL,), comparison=Comparison(Direction.DECREASE, Decimal("0.05")))
RINGS = (Ring("canary", size=Count(2)), Ring("everyone"))


def seen(*signals: Signal, devices: tuple[Device, ...] = (), **changes: object) -> Observed:
    plan = replace(plan_of("v1"), signals=signals, rings=RINGS, **changes)  # type: ignore[arg-type]
    world = World(plan=plan, truth={device.name: device for device in devices})
    world.crash()
    return world.observe()


def state_of(observed: Observed, phase: Phase = Phase.SOAKING, **changes: object) -> RevisionState:
    state = RevisionState(observed.fleet.revision, 1, "abc", phase, START)
    return replace(state, **changes)  # type: ignore[arg-type]


def said(signal: Signal, result: Result, at: datetime = START, **changes: object) -> Verdict:
    return replace(Verdict(signal.name, result, at, "q", 0.5, "says"), **changes)  # type: ignore[arg-type]


def hearing(observed: Observed, *verdicts: Verdict) -> Observed:
    return replace(observed, verdicts={verdict.signal: verdict for verdict in verdicts})


# --- verdicts


def test_verdict_counts_from_the_beginning_of_the_phase_and_of_the_signals_own_delay() -> None:
    delayed = replace(LATENCY, initial_delay=MINUTE)
    observed = seen(ACCURACY, delayed)
    state = state_of(observed)
    early = hearing(observed, said(ACCURACY, Result.PASS, START - SECOND), said(delayed, Result.FAIL, START + MINUTE))
    assert set(judged(early, state)) == {"latency"}
    late = hearing(observed, said(ACCURACY, Result.PASS), said(delayed, Result.FAIL, START + MINUTE - SECOND))
    assert set(judged(late, state)) == {"accuracy"}


def tally(signal: Signal, failures: int = 0, **changes: object) -> Tally:
    return replace(Tally(signal.name, failures, START), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tallies", "at", "chance", "result"),
    [
        ((), START, 0.011, Result.FAIL),
        ((), START, 0.012, Result.PASS),
        ((tally(REPLAY, looks=3),), START + SECOND, 0.011, Result.FAIL),
        ((tally(REPLAY, looks=4),), START, 0.011, Result.FAIL),
        ((tally(REPLAY, looks=4),), START + SECOND, 0.011, Result.PASS),
        ((tally(REPLAY, looks=4),), START + SECOND, 0.003, Result.FAIL),
        ((tally(REPLAY, looks=5),), START + SECOND, 0.003, Result.PASS),
        ((tally(REPLAY, looks=0),), START, 0.011, Result.FAIL),
    ],
)
def test_comparison_is_judged_by_how_often_it_was_made(
    tallies: tuple[Tally, ...], at: datetime, chance: float, result: Result
) -> None:
    observed = seen(REPLAY)
    found = Compared(0.2, chance, 10, 40, looks=4)
    verdict = said(REPLAY, Result.PASS if result is Result.FAIL else Result.FAIL, at, compared=found)
    again = judged(hearing(observed, verdict), state_of(observed, tallies=tallies))["replay"]
    assert again.result is result
    assert again.message.startswith(f"+0.2 against the baseline, p = {chance} (limit ")


def test_comparison_of_a_watch_of_one_look_is_made_at_its_first() -> None:
    observed = seen(REPLAY)
    for tallies in ((), (tally(REPLAY, looks=0),)):
        verdict = said(REPLAY, Result.PASS, compared=Compared(0.2, 0.04, 10, 40, looks=1))
        state = state_of(observed, tallies=tallies)
        assert judged(hearing(observed, verdict), state)["replay"].result is Result.FAIL


# --- tallies


def tallied(signal: Signal, *results: Result, compared: Compared | None = None) -> Tally:
    observed = seen(signal)
    state = state_of(observed)
    for index, result in enumerate(results):
        state = counted(hearing(observed, said(signal, result, START + index * SECOND, compared=compared)), state)
    return state.tallies[0]


def test_pass_ends_a_series_of_failures_and_not_their_number() -> None:
    fail, good = Result.FAIL, Result.PASS
    assert tallied(ACCURACY, fail) == Tally("accuracy", 1, START, total=1)
    assert tallied(ACCURACY, fail, fail) == Tally("accuracy", 2, START + SECOND, total=2)
    assert tallied(ACCURACY, fail, fail, good) == Tally("accuracy", 0, START + 2 * SECOND, total=2)
    assert tallied(ACCURACY, fail, good, fail) == Tally("accuracy", 1, START + 2 * SECOND, total=2)


@pytest.mark.parametrize("result", [Result.NO_DATA, Result.PROVIDER_ERROR, Result.INCONCLUSIVE])
def test_unclear_result_leaves_a_series_standing_and_is_remembered_from_its_first(result: Result) -> None:
    assert tallied(ACCURACY, Result.FAIL, result, result) == Tally(
        "accuracy", 1, START + 2 * SECOND, total=1, unclear_since=START + SECOND
    )
    for clear, failures in ((Result.PASS, 0), (Result.FAIL, 1)):
        assert tallied(ACCURACY, result, clear) == Tally("accuracy", failures, START + SECOND, total=failures)


def test_no_data_counts_as_a_failure_where_the_rule_says_so() -> None:
    strict = replace(ACCURACY, on_no_data=WhenUnclear.FAIL)
    assert tallied(strict, Result.INCONCLUSIVE, Result.NO_DATA, Result.NO_DATA) == Tally(
        "accuracy", 2, START + 2 * SECOND, total=2
    )


def test_each_comparison_is_a_look_and_nothing_else_is() -> None:
    found = Compared(0.0, 0.5, 10, 40, looks=4)
    assert tallied(REPLAY, Result.PASS, Result.FAIL, Result.PASS, compared=found).looks == 3
    assert tallied(REPLAY, Result.PASS, Result.INCONCLUSIVE).looks == 0


def test_verdict_is_counted_once() -> None:
    observed = hearing(seen(ACCURACY, LATENCY), said(ACCURACY, Result.FAIL))
    once = counted(observed, state_of(observed))
    assert counted(observed, once) == once
    assert counted(observed, once) is once


@pytest.mark.parametrize(
    ("one", "fails"),
    [
        (tally(ACCURACY, 2), False),
        (tally(ACCURACY, 3), True),
        (tally(ACCURACY, 0, total=4), False),
        (tally(ACCURACY, 0, total=5), True),
    ],
)
def test_signal_fails_at_either_of_its_limits(one: Tally, fails: bool) -> None:
    limited = replace(ACCURACY, total_failure_limit=5)
    observed = seen(limited, LATENCY)
    assert failing_signals(observed, state_of(observed, tallies=(one,))) == (("accuracy",) if fails else ())
    dry = seen(replace(limited, dry_run=True))
    assert failing_signals(dry, state_of(dry, tallies=(one,))) == ()


# --- what is unclear


def unclear(signal: Signal, since: datetime = START, result: Result = Result.NO_DATA) -> tuple[Tally, Verdict]:
    return tally(signal, unclear_since=since), said(signal, result, since)


def test_signal_halts_at_once_or_at_its_limit_as_its_rule_says() -> None:
    first = replace(ACCURACY, name="first", wait_limit=90 * MINUTE)
    second = replace(ACCURACY, name="second", on_no_data=WhenUnclear.HALT)
    third = replace(ACCURACY, name="third", wait_limit=2 * MINUTE + SECOND)
    (one, says), (two, halts), (three, waits) = unclear(first), unclear(second), unclear(third)
    observed = hearing(seen(first, second, third), says, halts, waits)
    state = state_of(observed, tallies=(one, two, three))
    assert unclear_for_too_long(observed, state, START) == FailedGate(
        Because(Reason.NO_DATA, "second: says"), (), (halts,)
    )
    calm = hearing(observed, says, waits)
    assert unclear_for_too_long(calm, state, START + 2 * MINUTE) is None
    assert unclear_for_too_long(calm, state, START + 2 * MINUTE + SECOND) == FailedGate(
        Because(Reason.UNCLEAR_TOO_LONG, "third: says; it has said nothing else for 2 min"), (), (waits,)
    )


def test_nothing_is_too_long_for_a_signal_that_says_something_or_that_no_gate_asks_for() -> None:
    strict = replace(ACCURACY, wait_limit=MINUTE, on_no_data=WhenUnclear.HALT)
    one, says = unclear(strict)
    later = START + 2 * MINUTE
    for observed in (
        hearing(seen(strict)),
        hearing(seen(strict), said(strict, Result.PASS)),
        hearing(seen(replace(strict, dry_run=True)), says),
    ):
        assert unclear_for_too_long(observed, state_of(observed, tallies=(one,)), later) is None
    observed = hearing(seen(strict), says)
    assert unclear_for_too_long(observed, state_of(observed), later) is None


def test_excused_comparison_is_not_too_long_and_those_after_it_still_are() -> None:
    strict = replace(REPLAY, on_inconclusive=WhenUnclear.HALT)
    (one, says), (two, halts) = unclear(strict, result=Result.INCONCLUSIVE), unclear(LATENCY)
    observed = hearing(
        seen(strict, replace(LATENCY, on_no_data=WhenUnclear.HALT)), replace(says, lacks_baseline=True), halts
    )
    found = unclear_for_too_long(observed, state_of(observed, ring=1, tallies=(one, two)), START)
    assert found is not None
    assert found.evidence == (halts,)


@pytest.mark.parametrize(
    ("phase", "ring", "excused"),
    [
        (Phase.SOAKING, 0, False),
        (Phase.SOAKING, 1, True),
        (Phase.STABILIZING, 1, True),
        (Phase.STABILIZING, 0, True),
        (Phase.VERIFYING, 0, True),
        (Phase.ROLLING_BACK, 0, False),
    ],
)
def test_comparison_is_excused_only_where_the_release_has_left_no_baseline(
    phase: Phase, ring: int, excused: bool
) -> None:
    observed = seen(REPLAY)
    state = state_of(observed, phase, ring=ring)
    assert is_excused(observed, state, said(REPLAY, Result.INCONCLUSIVE, lacks_baseline=True)) is excused
    assert not is_excused(observed, state, said(REPLAY, Result.INCONCLUSIVE))


# --- the signals' gate


def gate(observed: Observed, at: datetime, *verdicts: Verdict, tallies: tuple[Tally, ...] = ()) -> Gate:
    return signals_gate(hearing(observed, *verdicts), state_of(observed, tallies=tallies), 10 * MINUTE, at)


END = START + 10 * MINUTE


def test_health_passes_on_verdicts_from_the_end_of_the_window() -> None:
    observed = seen(ACCURACY, LATENCY)
    good = said(ACCURACY, Result.PASS, END), said(LATENCY, Result.PASS, END)
    assert gate(observed, END, *good) == Passed(Because(Reason.RING_PROMOTED, "accuracy: says; latency: says"))
    before = gate(observed, END, good[0], said(LATENCY, Result.PASS, END - SECOND))
    assert before == Waiting((Because(Reason.SOAKING, "waiting for a fresh verdict of latency"),))


def test_health_passes_without_signals_once_the_window_is_over() -> None:
    observed = seen()
    assert gate(observed, END - SECOND) == Waiting((Because(Reason.SOAKING, "watching health for another 1 s"),), END)
    assert gate(observed, END) == Passed(Because(Reason.RING_PROMOTED, "no signal is asked for"))


def test_health_of_no_window_at_all_passes_at_once() -> None:
    observed = seen()
    assert isinstance(signals_gate(observed, state_of(observed), timedelta(0), START), Passed)


def test_window_is_as_long_as_the_longest_delay() -> None:
    observed = seen(ACCURACY, replace(LATENCY, initial_delay=15 * MINUTE))
    found = gate(observed, END)
    assert isinstance(found, Waiting)
    assert found.until == START + 15 * MINUTE


def test_gate_wakes_when_the_first_signal_has_been_unclear_for_too_long() -> None:
    limited, other = replace(ACCURACY, wait_limit=4 * MINUTE), replace(LATENCY, wait_limit=3 * MINUTE)
    observed = seen(limited, other, REPLAY)
    (one, says), (two, told), (three, mute) = unclear(limited), unclear(other, START + 2 * MINUTE), unclear(REPLAY)
    during = gate(observed, START + MINUTE, says, told, mute, tallies=(one, two, three))
    assert during == Waiting(
        (
            Because(Reason.SOAKING, "watching health for another 540 s"),
            Because(Reason.NO_DATA, "accuracy: says"),
            Because(Reason.NO_DATA, "latency: says"),
            Because(Reason.NO_DATA, "replay: says"),
        ),
        START + 4 * MINUTE,
    )
    late, late_says = unclear(limited, END)
    after = gate(observed, END, late_says, tallies=(late, three))
    assert after == Waiting((Because(Reason.NO_DATA, "accuracy: says"),), END + 4 * MINUTE)
    long = replace(limited, wait_limit=60 * MINUTE)
    until_end = gate(seen(long), START, says, tallies=(one,))
    assert isinstance(until_end, Waiting)
    assert until_end.until == END


def test_gate_does_not_wake_for_a_limit_that_is_over_or_of_a_dry_run() -> None:
    limited = replace(ACCURACY, wait_limit=MINUTE)
    observed = seen(limited)
    one, _ = unclear(limited)
    for watched, at in ((observed, START + MINUTE), (seen(replace(limited, dry_run=True)), START)):
        found = gate(watched, at, said(limited, Result.PASS), tallies=(one,))
        assert isinstance(found, Waiting)
        assert found.until == END


def test_failing_signals_are_told_with_their_evidence_and_blame_what_was_changed() -> None:
    world = World(
        plan=replace(plan_of("model"), signals=(replace(ACCURACY, blames=(Plane.MODEL, Plane.CONFIG)), LATENCY))
    )
    world.truth = {device.name: device for device in (device_of("cam-1"), device_of("cam-2"), device_of("cam-3"))}
    world.plan = replace(world.plan, rings=(Ring("everyone"),))
    world.crash()
    while world.state is None or world.state.phase is not Phase.SOAKING:
        world.run(5)
    observed = world.observe()
    bad = said(ACCURACY, Result.FAIL, world.now), said(LATENCY, Result.FAIL, world.now)
    state = replace(world.state, tallies=(tally(ACCURACY, 3), tally(LATENCY, 1)))
    found = signals_gate(hearing(observed, *bad), state, MINUTE, world.now)
    assert found == FailedGate(Because(Reason.SIGNAL_FAILED, "accuracy: says; latency: says"), (Plane.MODEL,), bad)


# --- the devices' gates


def health(counts: RingCounts, *failures: Device) -> RingHealth:
    return RingHealth(counts, failures, 0, None, frozenset())


def failed(name: str, plane: Plane, reason: str = "ProbeFailed: camera") -> Device:
    """A device whose step in one plane ended badly."""
    device, release = device_of(name), TARGETS["v1"][plane]
    now = device.status(plane)
    status = replace(now, state=PlaneState.ROLLED_BACK, step=7, reason=reason)
    assignment = Assignment("vision", RevisionName("abc-1"), "canary", release.version, release.content)
    step = Step(7, plane, StepType.INSTALL, START, START + MINUTE)
    return replace(device, planes={**device.planes, plane: status}, assigned={plane: assignment}, step=step)


def silent(name: str, plane: Plane) -> Device:
    device = failed(name, plane)
    return replace(device, planes={**device.planes, plane: PlaneStatus(step=6)})


def test_words_of_failures_begin_with_the_most_frequent() -> None:
    found = health(
        RingCounts(),
        failed("cam-1", Plane.MODEL, "Watchdog"),
        failed("cam-2", Plane.MODEL, "ProbeFailed: camera: no frame in 5 s"),
        failed("cam-3", Plane.MODEL, "ProbeFailed: camera: no frame in 7 s"),
        failed("cam-4", Plane.CONFIG, "Watchdog"),
        silent("cam-5", Plane.FIRMWARE),
    )
    assert found.words() == (
        "model ProbeFailed: camera (2), config Watchdog (1), firmware TimedOut (1), model Watchdog (1)"
    )
    assert found.kinds.count(FailureKind.TIMED_OUT) == 1


def test_failures_convict_the_planes_of_their_steps_by_their_number_and_then_by_the_rollback_order() -> None:
    failures = (
        failed("cam-1", Plane.MODEL),
        failed("cam-2", Plane.FIRMWARE),
        silent("cam-3", Plane.FIRMWARE),
        failed("cam-4", Plane.CONFIG),
    )
    observed = seen()
    found = devices_gate(observed, state_of(observed), 0, health(RingCounts(target=4, started=4), *failures))
    assert found is not None
    assert found.suspects == (Plane.FIRMWARE, Plane.CONFIG, Plane.MODEL)


def success(**changes: object) -> Observed:
    rings = (Ring("canary", size=Count(10)), Ring("everyone"))
    return replace(
        (observed := seen()),
        plan=replace(observed.plan, rings=rings, success=replace(Success(Fraction(9, 10)), **changes)),  # type: ignore[arg-type]
    )


GRACE = timedelta(hours=72)


def enough(observed: Observed, held: Held, now: datetime = START, **counts: int) -> str:
    """What the gate says of these counts: how many it asks for, or what it waits for."""
    found = confirmation_gate(observed, state_of(observed, Phase.ROLLING), health(RingCounts(**counts)), held, now)
    match found:
        case Passed(because):
            return because.message
        case Waiting(because, until):
            return f"{because[0].reason} until {until}"
        case FailedGate(because):
            return because.reason


@pytest.mark.parametrize(
    ("confirmed", "offline", "held", "now", "says"),
    [
        (9, 0, 0, START, "9 of 10 devices of ring canary confirmed"),
        (8, 0, 0, START, "Blocked until None"),
        (8, 2, 0, START, f"WaitingForOffline until {START + GRACE}"),
        (9, 1, 0, START, "9 of 10 devices of ring canary confirmed"),
        (7, 3, 0, START + GRACE - SECOND, f"WaitingForOffline until {START + GRACE}"),
        (7, 3, 0, START + GRACE, "7 of 7 devices of ring canary confirmed"),
        (6, 3, 0, START + GRACE, "Blocked until None"),
        (8, 0, 2, START, "8 of 8 devices of ring canary confirmed"),
        (5, 3, 2, START + GRACE, "5 of 5 devices of ring canary confirmed"),
    ],
)
def test_share_of_the_whole_ring_leaves_out_whom_nobody_can_ask(
    confirmed: int, offline: int, held: int, now: datetime, says: str
) -> None:
    counts = {"target": 10, "started": confirmed, "confirmed": confirmed, "offline": offline}
    assert enough(success(of=Denominator.TARGET), Held(held), now, **counts) == says


@pytest.mark.parametrize(
    ("confirmed", "held", "says"),
    [
        (5, Held(0), "Blocked until None"),
        (5, Held(1), "Held until None"),
        (4, Held(1), "Blocked until None"),
        (4, Held(2), "Held until None"),
    ],
)
def test_ring_waits_for_the_end_of_a_hold_only_where_that_would_do(confirmed: int, held: Held, says: str) -> None:
    counts = {"target": 10, "started": confirmed, "confirmed": confirmed}
    assert enough(success(min_confirmed=6), held, **counts) == says


@pytest.mark.parametrize(("minimum", "min_confirmed", "fewest"), [(0, 0, 1), (0, 3, 3), (4, 3, 4)])
def test_ring_of_nobody_proves_nothing(minimum: int, min_confirmed: int, fewest: int) -> None:
    plan = success(min_confirmed=min_confirmed).plan
    rings = (replace(plan.rings[0], minimum=minimum), *plan.rings[1:])
    assert fewest_confirmed(replace(plan, rings=rings), 0) == fewest


def test_health_of_a_ring_knows_its_next_deadline_and_who_fell_silent_under_this_revision() -> None:
    world = World(plan=replace(plan_of("model"), rings=(Ring("everyone", in_flight=Count(3)),)))
    world.truth = {device.name: device for device in (device_of("cam-1"), device_of("cam-2"))}
    world.crash()
    world.settle()
    observed = world.observe()
    expires = START + timedelta(minutes=5)
    before, after = ring_health(observed, 0, START), ring_health(observed, 0, expires)
    assert (before.next_deadline, before.timed_out, before.failures) == (expires, 0, ())
    assert (after.next_deadline, after.timed_out) == (None, 2)


def test_silence_under_an_earlier_revision_is_no_failure_of_this_one() -> None:
    world = World(plan=replace(plan_of("model"), rings=(Ring("everyone", in_flight=Count(3)),)))
    orphan = silent("cam-1", Plane.CONFIG)
    world.truth = {device.name: device for device in (orphan, replace(silent("cam-2", Plane.MODEL), assigned={}))}
    world.crash()
    observed = world.observe()
    assert ring_health(observed, 0, START + timedelta(hours=9)).failures == ()


def regressed(device: Device, plane: Plane, revision: RevisionName) -> Device:
    """The same, with a plane that had confirmed under the revision and went back by itself since."""
    release = TARGETS["v1"][plane]
    assignment = Assignment("vision", revision, "canary", release.version, release.content)
    status = replace(device.status(plane), state=PlaneState.ROLLED_BACK, reason="Watchdog")
    return replace(device, planes={**device.planes, plane: status}, assigned={**device.assigned, plane: assignment})


def confirmed(name: str, plane: Plane) -> Device:
    release = TARGETS["v1"][plane]
    device = failed(name, plane)
    status = replace(device.status(plane), running=release.content, state=PlaneState.CONFIRMED, reason="")
    return replace(device, planes={**device.planes, plane: status})


def test_plane_that_fell_back_later_is_convicted_and_not_the_one_that_was_changed_last() -> None:
    observed = seen()
    revision = observed.fleet.revision
    answered = regressed(confirmed("cam-1", Plane.CONFIG), Plane.MODEL, revision)
    mute = regressed(silent("cam-1", Plane.CONFIG), Plane.MODEL, revision)
    for device, convicted in ((answered, Plane.MODEL), (mute, Plane.CONFIG)):
        found = devices_gate(observed, state_of(observed), 0, health(RingCounts(target=4, started=4), device))
        assert found is not None
        assert found.suspects == (convicted,)


def test_failure_of_a_device_without_a_step_convicts_nobody() -> None:
    observed = seen()
    lost = replace(silent("cam-1", Plane.CONFIG), step=None)
    found = devices_gate(observed, state_of(observed), 0, health(RingCounts(target=4, started=4), lost))
    assert found is not None
    assert found.suspects == ()
