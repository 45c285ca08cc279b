"""The signals that `minReporting` makes; what they say of a fleet is in the contract suite."""

from datetime import timedelta
from decimal import Decimal

import pytest

from backstay.api.healthrule import HealthRule, HealthRuleSpec
from backstay.api.reporting import reporting_signals
from backstay.core.planes import Plane
from backstay.core.signals import WhenUnclear


def spec(**fields: object) -> HealthRuleSpec:
    document = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "HealthRule",
        "metadata": {"name": "basics", "namespace": "acme"},
        "spec": {"probes": [{"name": "agent", "kind": "AgentConnected", "blames": ["firmware"]}], **fields},
    }
    return HealthRule.from_document(document).spec


def test_rule_makes_no_signals_when_it_asks_for_no_share() -> None:
    assert reporting_signals("basics", spec()) == ()


def test_rule_makes_three_signals_when_it_asks_for_a_share() -> None:
    signals = reporting_signals("basics", spec(minReporting="97.5%", interval="10s"))
    assert [signal.name for signal in signals] == ["basics-reporting", "basics-metrics", "basics-logs"]
    for signal in signals:
        assert (signal.minimum, signal.maximum, signal.rule) == (Decimal("0.975"), None, "basics")
        assert (signal.failure_limit, signal.interval) == (3, timedelta(seconds=10))
        assert set(signal.blames) == set(Plane)
        assert signal.on_no_data is WhenUnclear.WAIT
        assert not signal.dry_run


@pytest.mark.parametrize(("interval", "seconds"), [("1s", 30), ("10s", 30), ("30s", 90), ("20m", 3600)])
def test_fresh_words_are_waited_for_when_the_watch_has_just_begun(interval: str, seconds: int) -> None:
    reporting, metrics, logs = reporting_signals("basics", spec(minReporting="95%", interval=interval))
    assert reporting.initial_delay == timedelta(0)
    assert metrics.initial_delay == logs.initial_delay == timedelta(seconds=seconds)
