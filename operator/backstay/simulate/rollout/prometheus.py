"""What a simulated Prometheus answers: how many of the watched devices are ill decides where a signal's value lies.

A signal is taken for a mean over devices. It sits inside its limit while all are well, and crosses it when more than
one in five is ill. A limit of zero is crossed by the first. A signal that asks how many probes fail, or whether devices
report, sees nothing of an illness that only shows elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import comb
from typing import Final

from backstay.core.planes import Plane
from backstay.core.signals import (
    FEWEST_COMPARED,
    Answer,
    Broken,
    Compared,
    Empty,
    Signal,
    TooFew,
    Value,
    Verdict,
    judge,
)

_TO_THE_LIMIT: Final = 0.1
"""How far inside its limit a healthy signal is, as a part of the limit."""
_ONE_IN: Final = 5
"""So many times as far it lies beyond where all are ill, less the part inside."""
_PROBES: Final = "backstay_probes_failing"
_MOST_COMPARED: Final = 200


@dataclass(slots=True)
class Watched:
    """The devices that a watch looks at."""

    devices: int
    ill: Mapping[Plane, int]
    """How many of them run a version that only signals show to be bad."""
    baseline: int
    """Devices that still run the old versions."""
    looks: int


def ask(signal: Signal, watched: Watched, at: datetime, *, is_away: bool, is_reporting: bool) -> Verdict:
    """What one signal says now."""
    return judge(signal, _answer(signal, watched, is_away=is_away, is_reporting=is_reporting), signal.query, at)


def _answer(signal: Signal, watched: Watched, *, is_away: bool, is_reporting: bool) -> Answer:
    if is_away:
        return Broken("Prometheus does not answer")
    if not watched.devices:
        return Empty()
    if is_reporting:
        return Value(1.0)
    blind = _PROBES in signal.query
    ill = 0 if blind else max((watched.ill.get(plane, 0) for plane in signal.blames), default=0)
    if signal.comparison is not None:
        return _compared(signal, watched, ill)
    return Value(_value(signal, ill / watched.devices))


def _value(signal: Signal, share: float) -> float:
    healthy, limit = _healthy_and_limit(signal)
    if healthy == limit:
        return limit + share
    return healthy + share * _ONE_IN * (limit - healthy)


def _healthy_and_limit(signal: Signal) -> tuple[float, float]:
    low, high = signal.minimum, signal.maximum
    if low is not None and high is not None:
        return float(low + high) / 2, float(high)
    if low is not None:
        return float(low) + abs(float(low)) * _TO_THE_LIMIT, float(low)
    if high is not None:
        return float(high) - abs(float(high)) * _TO_THE_LIMIT, float(high)
    return 0.9, 1.0


def _compared(signal: Signal, watched: Watched, ill: int) -> Answer:
    """The ill devices stand above all others, and a permutation test finds them as certainly as their number allows."""
    samples, baseline = min(watched.devices, _MOST_COMPARED), min(watched.baseline, _MOST_COMPARED)
    if samples < FEWEST_COMPARED or baseline < FEWEST_COMPARED:
        return TooFew(watched.devices, watched.baseline)
    among = round(ill / watched.devices * samples)
    effect = float(signal.comparison.effect) if signal.comparison else 0.0
    p_value = comb(samples, among) / comb(samples + baseline, among)
    return Compared(_ONE_IN * effect * ill / watched.devices, p_value, samples, baseline, watched.looks)
