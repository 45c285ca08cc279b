"""Whether health came back, judged once, on what is measured after the whole window."""

from dataclasses import replace
from datetime import timedelta

from backstay.core.gates import FailedGate, Passed, Waiting
from backstay.core.observed import Observed
from backstay.core.plan import RollbackPolicy
from backstay.core.planes import Plane
from backstay.core.reasons import Because, Reason
from backstay.core.revision import Phase, RevisionState, Tally
from backstay.core.signals import Result, Signal, Verdict
from backstay.core.verification import recovery_gate
from tests.laws.release_world import START, World, plan_of

SECOND = timedelta(seconds=1)
END = START + 20 * SECOND
ACCURACY = Signal("accuracy", "q", (Plane.MODEL,), wait_limit=timedelta(minutes=1))
LATENCY = Signal("latency", "q", (Plane.CONFIG,))


def seen(*verdicts: Verdict, signals: tuple[Signal, ...] = (ACCURACY, LATENCY)) -> tuple[Observed, RevisionState]:
    plan = replace(plan_of(), signals=signals, rollback=RollbackPolicy(verify=20 * SECOND))
    observed = replace(World(plan=plan).observe(), verdicts={verdict.signal: verdict for verdict in verdicts})
    return observed, RevisionState(observed.fleet.revision, 1, "abc", Phase.VERIFYING, START, plane=Plane.MODEL)


def said(signal: Signal, result: Result, after: timedelta = timedelta(0)) -> Verdict:
    return Verdict(signal.name, result, END + after, "q", 0.5, f"says {result}")


def test_recovery_waits_for_the_whole_window_also_when_health_is_good_before() -> None:
    observed, state = seen(said(ACCURACY, Result.PASS), said(LATENCY, Result.PASS))
    words = "verifying that health returns, 8 s left"
    assert recovery_gate(observed, state, END - 7.5 * SECOND) == Waiting((Because(Reason.VERIFYING, words),), END)


def test_recovery_is_judged_on_verdicts_from_after_the_window() -> None:
    observed, state = seen(said(ACCURACY, Result.FAIL, -SECOND), said(LATENCY, Result.PASS))
    waits = (Because(Reason.VERIFYING, "waiting for a fresh verdict of accuracy"),)
    assert recovery_gate(observed, state, END) == Waiting(waits)


def test_recovery_passes_when_every_signal_does() -> None:
    observed, state = seen(said(ACCURACY, Result.PASS), said(LATENCY, Result.PASS))
    words = "health has returned: accuracy: says Pass; latency: says Pass"
    assert recovery_gate(observed, state, END) == Passed(Because(Reason.HEALTH_RETURNED, words))


def test_recovery_without_signals_has_only_the_devices_word() -> None:
    observed, state = seen(signals=())
    assert recovery_gate(observed, state, END) == Passed(
        Because(Reason.HEALTH_RETURNED, "every reachable device returned")
    )
    observed, state = seen(said(ACCURACY, Result.FAIL), signals=(replace(ACCURACY, dry_run=True),))
    assert isinstance(recovery_gate(observed, state, END), Passed)


def test_recovery_fails_when_any_signal_does_and_names_each() -> None:
    observed, state = seen(said(ACCURACY, Result.FAIL), said(LATENCY, Result.FAIL))
    words = "health has not returned: accuracy: says Fail; latency: says Fail"
    assert recovery_gate(observed, state, END) == FailedGate(Because(Reason.HEALTH_STILL_BAD, words), ())
    observed, state = seen(said(ACCURACY, Result.NO_DATA), said(LATENCY, Result.FAIL))
    assert isinstance(recovery_gate(observed, state, END), FailedGate)


def test_recovery_waits_while_a_signal_is_unclear_and_only_as_long_as_its_rule_says() -> None:
    observed, state = seen(said(ACCURACY, Result.PROVIDER_ERROR), said(LATENCY, Result.PASS))
    waits = (Because(Reason.PROVIDER_ERROR, "accuracy: says ProviderError"),)
    assert recovery_gate(observed, state, END) == Waiting(waits)
    unclear = replace(state, tallies=(Tally("accuracy", 0, END, unclear_since=END),))
    assert recovery_gate(observed, unclear, END + 59 * SECOND) == Waiting(waits)
    found = recovery_gate(observed, unclear, END + 60 * SECOND)
    assert isinstance(found, FailedGate)
    assert found.because.reason is Reason.UNCLEAR_TOO_LONG
