"""The signals that `minReporting` of a health rule makes: whether devices are heard of at all."""

from backstay.api.healthrule import HealthRuleSpec
from backstay.core.signals import Signal


def reporting_signals(rule: str, spec: HealthRuleSpec) -> tuple[Signal, ...]:  # noqa: ARG001 - none are made yet
    """The built-in signals of a rule; none without `minReporting`."""
    return ()
