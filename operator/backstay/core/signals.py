"""Health signals: what a query's answer means.

A query that failed is not health that failed, and neither is ever a pass: the five results stay apart.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from math import isnan
from typing import assert_never

from backstay.core.planes import Plane


class Result(StrEnum):
    """What a signal says about a ring."""

    PASS = "Pass"  # noqa: S105 - a verdict, not a password
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"
    NO_DATA = "NoData"
    PROVIDER_ERROR = "ProviderError"


class Direction(StrEnum):
    """Which way a compared signal gets worse."""

    INCREASE = "Increase"
    DECREASE = "Decrease"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the ring is set against devices that still run the old set."""

    direction: Direction
    effect: Decimal
    confidence: Decimal = Decimal("0.95")


@dataclass(frozen=True, slots=True)
class Signal:
    """One query and its limits; the bounds are inclusive: a value on them passes."""

    name: str
    query: str
    blames: tuple[Plane, ...]
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    comparison: Comparison | None = None
    failure_limit: int = 1
    """So many failures in a row fail the gate."""
    interval: timedelta = timedelta(seconds=30)
    rule: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """The provider answered with one number."""

    number: float


@dataclass(frozen=True, slots=True)
class Compared:
    """The ring against its baseline: the difference for the worse, and how likely chance alone makes it."""

    difference: float
    p_value: float
    samples: int
    baseline_samples: int
    looks: int
    """How often this comparison is made over the whole soak: all looks share one error budget."""


@dataclass(frozen=True, slots=True)
class TooFew:
    """The comparison had too few devices on one side to say anything."""

    samples: int
    baseline_samples: int


@dataclass(frozen=True, slots=True)
class Empty:
    """The provider answered, and had nothing."""


@dataclass(frozen=True, slots=True)
class Broken:
    """The provider did not answer, or refused the query."""

    why: str


Answer = Value | Compared | TooFew | Empty | Broken


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one signal said at one time, with all that a person needs to see for themselves."""

    signal: str
    result: Result
    at: datetime
    query: str
    value: float | None = None
    message: str = ""


def judge(signal: Signal, answer: Answer, query: str, at: datetime) -> Verdict:
    """Turn a provider's answer into a verdict; NaN compares false with everything, so it counts as no data."""
    match answer:
        case Broken(why):
            return Verdict(signal.name, Result.PROVIDER_ERROR, at, query, None, why)
        case Empty():
            return Verdict(
                signal.name,
                Result.NO_DATA,
                at,
                query,
                None,
                "the query returned no series",
            )
        case TooFew(samples, baseline):
            words = f"{samples} devices against {baseline} of the baseline are too few to compare"
            return Verdict(signal.name, Result.INCONCLUSIVE, at, query, None, words)
        case Value(number) if isnan(number):
            return Verdict(signal.name, Result.NO_DATA, at, query, None, "the query returned NaN")
        case Value(number):
            result, words = _within(signal, number)
            return Verdict(signal.name, result, at, query, number, words)
        case Compared():
            result, words = _worse(signal, answer)
            return Verdict(signal.name, result, at, query, answer.difference, words)
        case _:
            assert_never(answer)


def _within(signal: Signal, number: float) -> tuple[Result, str]:
    if signal.minimum is not None and number < float(signal.minimum):
        return Result.FAIL, f"{number:.4g} is below the minimum of {signal.minimum}"
    if signal.maximum is not None and number > float(signal.maximum):
        return Result.FAIL, f"{number:.4g} is above the maximum of {signal.maximum}"
    return Result.PASS, f"{number:.4g} is within its limits"


def _worse(signal: Signal, found: Compared) -> tuple[Result, str]:
    if signal.comparison is None:
        return (
            Result.PROVIDER_ERROR,
            "a comparison was answered that the signal does not ask for",
        )
    allowed = (1.0 - float(signal.comparison.confidence)) / max(1, found.looks)
    words = f"{found.difference:+.4g} against the baseline, p = {found.p_value:.3g} (limit {allowed:.3g})"
    is_large = found.difference >= float(signal.comparison.effect)
    return (Result.FAIL if is_large and found.p_value <= allowed else Result.PASS), words
