"""Promise 8 over `decide()`: failed queries and failed health are never taken for one another, nor are their pages."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import rule

from backstay.core.actions import AlertKind, Decision, Freeze
from backstay.core.observed import Observed
from backstay.core.planes import Plane
from backstay.core.reasons import Reason
from backstay.core.revision import Phase
from backstay.core.signals import Result, Signal
from tests.laws.release_rules import ReleaseRules, examples
from tests.laws.release_world import ACCURACY, World

LATENCY = Signal("latency", "q", (Plane.FIRMWARE,), failure_limit=1, interval=timedelta(seconds=5))
TELLS_OF_QUERIES = {Reason.PROVIDER_ERROR, Reason.NO_DATA, Reason.INCONCLUSIVE, Reason.UNCLEAR_TOO_LONG}
SOAKS = {Phase.SOAKING, Phase.STABILIZING}


def promise_8_only_failed_health_is_called_bad(world: World, observed: Observed, decision: Decision) -> None:
    before, cause = observed.state, decision.state.cause
    if before is None or before.phase not in SOAKS or decision.phase is before.phase or cause is None:
        return
    results = {verdict.result for verdict in decision.state.evidence}
    if cause.reason is Reason.SIGNAL_FAILED:
        assert results == {Result.FAIL}
    if cause.reason in TELLS_OF_QUERIES:
        assert results
        assert not results & {Result.FAIL, Result.PASS}
        assert decision.phase is Phase.HALTED


def promise_8_a_failed_query_pages_as_such_and_bad_health_never_does(
    world: World, observed: Observed, decision: Decision
) -> None:
    before = observed.state
    if before is None or before.phase not in SOAKS or decision.phase is not before.phase:
        return
    rings = range(before.ring if before.phase is Phase.SOAKING else 0, before.ring + 1)
    is_judged = any(observed.fleet.was_changed(ring) for ring in rings)
    if decision.answer is not None or observed.refusal is not None or not is_judged:
        return
    broken = [verdict.signal for verdict in decision.verdicts if verdict.result is Result.PROVIDER_ERROR]
    pages = [alert for alert in decision.alerts if alert.kind is AlertKind.PROVIDER_ERROR]
    assert bool(pages) == bool(broken)
    assert all(signal in page.summary for page in pages for signal in broken)
    healthy = {verdict.signal for verdict in decision.verdicts} - set(broken)
    assert not any(signal in page.summary for page in pages for signal in healthy)


def promise_8_nothing_is_frozen_because_a_query_failed(world: World, observed: Observed, decision: Decision) -> None:
    if any(isinstance(action, Freeze) for action in decision.actions):
        assert decision.state.cause is not None
        assert decision.state.cause.reason not in TELLS_OF_QUERIES
        assert {verdict.result for verdict in decision.state.evidence} <= {Result.FAIL}


class SignalLaws(ReleaseRules):
    """Two signals, each of which may fail, pass, or have nothing to say."""

    laws = (
        promise_8_only_failed_health_is_called_bad,
        promise_8_a_failed_query_pages_as_such_and_bad_health_never_does,
        promise_8_nothing_is_frozen_because_a_query_failed,
    )

    def starts(self) -> None:
        plan = self.world.plan
        self.world.plan = replace(plan, signals=(*plan.signals, LATENCY))

    @rule(signal=st.sampled_from([ACCURACY.name, LATENCY.name]), says=st.one_of(st.none(), st.sampled_from(Result)))
    def one_signal_says(self, signal: str, says: Result | None) -> None:
        self.world.said.pop(signal, None)
        if says is not None:
            self.world.said[signal] = says
        self.world.run(20)


TestSignalLaws = SignalLaws.TestCase
TestSignalLaws.settings = examples(60)
