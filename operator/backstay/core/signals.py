"""Health signals: what a query's answer means.

A query that failed is not health that failed, and neither is ever a pass: the five results stay apart.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import comb, isnan, pi
from typing import Final, assert_never

from backstay.core.planes import Plane

FEWEST_COMPARED: Final = 5
"""Devices that each side of a comparison must have."""


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


class WhenUnclear(StrEnum):
    """What an evaluation that says neither good nor bad does to the gate; it never passes."""

    WAIT = "Wait"
    HALT = "Halt"
    """The rollout stops for a person at the first."""
    FAIL = "Fail"
    """It counts as a failed evaluation."""


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
    total_failure_limit: int | None = None
    """So many failures in one phase fail the gate, however many passes lie between them; None for any number."""
    initial_delay: timedelta = timedelta(0)
    """Evaluations of the first part of a phase say nothing: the devices have only just changed."""
    on_no_data: WhenUnclear = WhenUnclear.WAIT
    on_provider_error: WhenUnclear = WhenUnclear.WAIT
    """Wait or Halt: a failed query is never failed health."""
    on_inconclusive: WhenUnclear = WhenUnclear.WAIT
    wait_limit: timedelta | None = None
    """How long a signal may stay unclear before the rollout stops for a person; None for any time."""
    dry_run: bool = False
    """Evaluated and shown, and no gate asks for it."""
    interval: timedelta = timedelta(seconds=30)
    rule: str = ""

    def when(self, result: Result) -> WhenUnclear:
        """What a result that is neither Pass nor Fail does."""
        match result:
            case Result.NO_DATA:
                return self.on_no_data
            case Result.PROVIDER_ERROR:
                return self.on_provider_error
            case _:
                return self.on_inconclusive


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

    @property
    def smallest_p_value(self) -> float:
        """How unlikely so few devices can make chance at all: every one of the ring worse than every other.

        Source: the exact one-sided rank test without ties, in which each choice of the ring's ranks is as likely.
        """
        return 1 / comb(self.samples + self.baseline_samples, self.samples)


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
    compared: Compared | None = None
    """What a comparison found: how certain it must be depends on how often it was made, which the decision knows."""
    lacks_baseline: bool = False
    """A comparison found too few devices that still run the old versions."""


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
            return Verdict(
                signal.name, Result.INCONCLUSIVE, at, query, None, words, lacks_baseline=baseline < FEWEST_COMPARED
            )
        case Value(number) if isnan(number):
            return Verdict(signal.name, Result.NO_DATA, at, query, None, "the query returned NaN")
        case Value(number):
            result, words = _within(signal, number)
            return Verdict(signal.name, result, at, query, number, words)
        case Compared():
            result, words = worse_than_baseline(signal, answer, 1)
            return Verdict(signal.name, result, at, query, answer.difference, words, answer)
        case _:
            assert_never(answer)


def _within(signal: Signal, number: float) -> tuple[Result, str]:
    if signal.minimum is not None and number < float(signal.minimum):
        return Result.FAIL, f"{number:.4g} is below the minimum of {signal.minimum}"
    if signal.maximum is not None and number > float(signal.maximum):
        return Result.FAIL, f"{number:.4g} is above the maximum of {signal.maximum}"
    return Result.PASS, f"{number:.4g} is within its limits"


_FOR_PLANNED_LOOKS: Final = Fraction(9, 10)
"""This much of the error budget is for the looks that a watch plans; the rest is for those of a watch that overruns."""


def allowed_chance(confidence: Decimal, look: int, planned: int) -> float:
    """How likely chance alone may make a difference for it to convict at one look.

    Looks are counted from 1. All looks of a watch, however many there are in the end, spend at most `1 - confidence`
    together: planned ones share nine tenths of it evenly, and the k-th beyond them takes 6 / (pi * k)^2 of the rest,
    of which all such parts add up to one.

    Source: the union bound; the sum of 1 / k^2 is pi^2 / 6.
    """
    budget = Fraction(1) - Fraction(confidence)
    planned = max(1, planned)
    if look <= planned:
        return float(budget * _FOR_PLANNED_LOOKS / planned)
    return float(budget * (1 - _FOR_PLANNED_LOOKS)) * 6 / (pi * (look - planned)) ** 2


def worse_than_baseline(signal: Signal, found: Compared, look: int) -> tuple[Result, str]:
    """Judge a comparison at its `look`-th look: only a difference that is large and certain enough fails."""
    if signal.comparison is None:
        return Result.PROVIDER_ERROR, "a comparison was answered that the signal does not ask for"
    allowed = allowed_chance(signal.comparison.confidence, look, found.looks)
    words = f"{found.difference:+.4g} against the baseline, p = {found.p_value:.3g} (limit {allowed:.3g})"
    if found.difference < float(signal.comparison.effect):
        return Result.PASS, words
    if found.p_value <= allowed:
        return Result.FAIL, words
    if found.smallest_p_value > allowed:
        few = f"{found.samples} devices against {found.baseline_samples}"
        return Result.INCONCLUSIVE, f"{words}; that is large, and {few} are too few to be that certain"
    return Result.PASS, words
