"""The two shapes of a decision: what each carries, whose health it asks for next, and when it looks again."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from backstay.core.actions import RingReport, Watch
from backstay.core.holds import Hold
from backstay.core.observed import Observed
from backstay.core.plan import Count, Ring, RollbackPolicy
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState, Tally
from backstay.core.signals import Result, Signal, Verdict
from backstay.core.transition import move, ring_reports, stay, watch_of
from tests.laws.release_world import START, World, plan_of, world_of

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SLOW = Signal("slow", "q", (Plane.MODEL,), interval=MINUTE)
QUICK = Signal("quick", "q", (Plane.MODEL,), interval=7 * SECOND)
VERDICT = Verdict("quick", Result.PASS, START, "q")
BECAUSE = Because(Reason.SOAKING, "all is well")


def seen(*signals: Signal, **changes: object) -> tuple[Observed, RevisionState]:
    plan = replace(
        plan_of(),
        signals=signals,
        rings=(Ring("canary", soak=MINUTE), Ring("everyone", soak=timedelta(0))),
        rollback=RollbackPolicy(verify=30 * SECOND),
        stability=timedelta(minutes=5),
        **changes,  # type: ignore[arg-type]
    )
    observed = World(plan=plan).observe()
    state = RevisionState(observed.fleet.revision, 1, "abc", Phase.SOAKING, START, tallies=(Tally("quick", 1, START),))
    return replace(observed, verdicts={"quick": VERDICT}), state


@pytest.mark.parametrize(
    ("phase", "ring", "looks"),
    [
        (Phase.SOAKING, "canary", 9),
        (Phase.STABILIZING, None, 43),
        (Phase.ROLLING_BACK, None, 5),
        (Phase.VERIFYING, None, 5),
    ],
)
def test_watch_is_of_the_ring_that_soaks_or_of_everybody_and_counts_its_looks(
    phase: Phase, ring: str | None, looks: int
) -> None:
    observed, state = seen(SLOW, QUICK)
    state = replace(state, phase=phase)
    watch = Watch(state.revision, ring, looks, START)
    assert watch_of(observed, state) == watch
    assert stay(observed, state, START, because=(BECAUSE,)).watch == watch
    assert move(observed, replace(state, phase=Phase.ROLLING), START, phase, BECAUSE).watch == watch


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.ROLLING, Phase.REHEARSING, Phase.SUCCEEDED, Phase.HALTED])
def test_watch_is_of_nobody_in_the_other_phases(phase: Phase) -> None:
    observed, state = seen(SLOW)
    assert watch_of(observed, replace(state, phase=phase)) is None


def test_watch_without_signals_or_time_is_one_look() -> None:
    observed, state = seen()
    assert watch_of(observed, state) == Watch(state.revision, "canary", 1, START)
    assert watch_of(observed, replace(state, ring=1)) == Watch(state.revision, "everyone", 1, START)
    observed, state = seen(QUICK)
    assert watch_of(observed, replace(state, ring=1)) == Watch(state.revision, "everyone", 1, START)


def test_move_forgets_the_tallies_and_keeps_the_verdicts_on_view() -> None:
    observed, state = seen(QUICK)
    decision = move(observed, state, START + SECOND, Phase.REHEARSING, BECAUSE)
    assert decision.state == replace(state, phase=Phase.REHEARSING, since=START + SECOND, tallies=())
    assert (decision.actions, decision.wake_at, decision.because) == ((), START + SECOND, (BECAUSE,))
    assert decision.verdicts == (VERDICT,)
    assert stay(observed, state, START, because=(BECAUSE,)).verdicts == (VERDICT,)


@pytest.mark.parametrize(
    ("until", "wakes_at"),
    [(START, START + MINUTE), (START + SECOND, START + SECOND), (START + 2 * MINUTE, START + MINUTE)],
)
def test_stay_looks_again_at_the_first_of_all_times_also_when_a_hold_ends(until: datetime, wakes_at: datetime) -> None:
    observed, state = seen()
    observed = replace(observed, holds=(Hold("stop", until=until), Hold("for ever")))
    assert stay(observed, state, START, because=(), wakes=(None, START + MINUTE)).wake_at == wakes_at


def test_stay_does_not_look_again_when_nothing_is_to_be_seen() -> None:
    observed, state = seen()
    assert stay(observed, state, START, because=()).wake_at is None


def test_ring_reports_count_those_whose_deadline_is_over() -> None:
    world = world_of(rings=(Ring("canary", size=Count(2), in_flight=Count(2)), Ring("everyone")))
    world.settle()
    observed = world.observe()
    canary, everyone = ring_reports(observed, START + timedelta(minutes=5))
    assert canary == RingReport("canary", observed.fleet.counts(0), 2)
    assert everyone == RingReport("everyone", observed.fleet.counts(1), 0)
