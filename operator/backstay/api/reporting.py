"""The signals that `minReporting` of a health rule makes: whether devices are heard of at all.

Each is a share of the reachable devices. Where devices are reachable and none of them is heard of, the share is 0;
where none is reachable, there is no data. Neither is ever a pass.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Final

from backstay.api.durations import parse_duration
from backstay.api.healthrule import HealthRuleSpec
from backstay.api.scalars import parse_fraction
from backstay.core.planes import Plane
from backstay.core.signals import Signal

FAILURE_LIMIT: Final = 3
SHORTEST_DELAY: Final = timedelta(seconds=30)
INTERVALS_OF_DELAY: Final = 3

_SAME_DEVICE: Final = "on(namespace, device)"
_REACHABLE: Final = f"backstay_device_info{{${{scope}}}} and {_SAME_DEVICE} backstay_device_reachable == 1"
_HEALTH: Final = f"and {_SAME_DEVICE} backstay_probes_failing >= 0"
_VERSION: Final = f'unless {_SAME_DEVICE} backstay_device_info{{${{scope}}, firmware="", model="", config=""}}'
_FRESH_REPORT: Final = f"and {_SAME_DEVICE} backstay_last_report_timestamp_seconds > ${{since}}"
_FRESH_LOG: Final = f"and {_SAME_DEVICE} backstay_last_log_timestamp_seconds > ${{since}}"


def reporting_signals(rule: str, spec: HealthRuleSpec) -> tuple[Signal, ...]:
    """The built-in signals of a rule; none without `minReporting`.

    That nothing fresh has arrived yet is nothing bad at the beginning of a watch, so what must be fresh has an initial
    delay of three intervals.
    """
    if spec.min_reporting is None:
        return ()
    interval, share = parse_duration(spec.interval), parse_fraction(spec.min_reporting)
    delay = max(INTERVALS_OF_DELAY * interval, SHORTEST_DELAY)
    return (
        _signal(rule, "reporting", f"{_HEALTH} {_VERSION}", share, interval, timedelta(0)),
        _signal(rule, "metrics", _FRESH_REPORT, share, interval, delay),
        _signal(rule, "logs", _FRESH_LOG, share, interval, delay),
    )


def _signal(rule: str, name: str, heard: str, share: Decimal, interval: timedelta, delay: timedelta) -> Signal:
    return Signal(
        name=f"{rule}-{name}",
        query=f"(count({_REACHABLE} {heard}) or vector(0)) / count({_REACHABLE})",
        blames=tuple(Plane),
        minimum=share,
        failure_limit=FAILURE_LIMIT,
        initial_delay=delay,
        interval=interval,
        rule=rule,
    )
