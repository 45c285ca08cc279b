"""The comparison with a baseline, against answers that can be counted by hand or by a second method."""

import itertools
import random
from decimal import Decimal
from math import comb, inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.adapters.comparison import compare
from backstay.core.signals import Broken, Compared, Comparison, Direction, TooFew, allowed_chance

ACCURACY = Comparison(Direction.DECREASE, Decimal("0.05"))
LATENCY = Comparison(Direction.INCREASE, Decimal("0.010"))


def counted(ring: list[int], baseline: list[int]) -> float:
    """The chance of a mean at least as high as the ring's, by trying every exchange in whole numbers."""
    pooled = ring + baseline
    sums = [sum(chosen) for chosen in itertools.combinations(pooled, len(ring))]
    return sum(found >= sum(ring) for found in sums) / len(sums)


def compared(comparison: Comparison, ring: list[float], baseline: list[float], looks: int = 1) -> Compared:
    found = compare(comparison, ring, baseline, looks)
    assert isinstance(found, Compared), found
    return found


def test_compare_is_exact_when_every_exchange_can_be_tried():
    found = compared(ACCURACY, [0.6, 0.62, 0.61, 0.63, 0.64], [0.94, 0.95, 0.96, 0.97, 0.98])
    assert found.p_value == pytest.approx(1 / comb(10, 5))
    assert found.difference == pytest.approx(0.34)
    assert (found.samples, found.baseline_samples, found.looks) == (5, 5, 1)


def test_compare_sees_an_improvement_as_negative_when_the_direction_is_the_other():
    found = compared(LATENCY, [0.6, 0.62, 0.61, 0.63, 0.64], [0.94, 0.95, 0.96, 0.97, 0.98])
    assert found.difference == pytest.approx(-0.34)
    assert found.p_value == pytest.approx(1.0)


def test_compare_finds_nothing_when_all_values_are_equal():
    found = compared(ACCURACY, [0.1] * 6, [0.1] * 7)
    assert found.difference == pytest.approx(0.0)
    assert found.p_value == pytest.approx(1.0)


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 4), min_size=5, max_size=6),
    st.lists(st.integers(0, 4), min_size=5, max_size=7),
)
def test_law_ties_are_counted_as_at_least_as_bad(ring, baseline):
    found = compared(LATENCY, [float(value) for value in ring], [float(value) for value in baseline])
    assert found.p_value == pytest.approx(counted(ring, baseline))


def test_compare_gives_the_same_answer_when_it_draws_exchanges():
    ring, baseline = [0.01 * n for n in range(12)], [0.01 * n - 0.02 for n in range(60)]
    first, second = compared(LATENCY, ring, baseline, 10), compared(LATENCY, ring, baseline, 10)
    assert first == second


def test_compare_can_tell_from_the_limit_when_a_long_soak_shares_one_budget():
    looks = 720
    bad, good = [0.80 + 0.001 * n for n in range(15)], [0.95 + 0.001 * n for n in range(45)]
    assert compared(ACCURACY, bad, good, looks).p_value <= allowed_chance(ACCURACY.confidence, 1, looks)


@pytest.mark.parametrize("looks", [1, 12, 720])
def test_compare_can_tell_from_the_limit_when_a_soak_overruns(looks):
    bad, good = [0.80 + 0.001 * n for n in range(15)], [0.95 + 0.001 * n for n in range(45)]
    limits = [allowed_chance(ACCURACY.confidence, looks + beyond, looks) for beyond in range(1, 11)]
    assert compared(ACCURACY, bad, good, looks).p_value <= min(limits) / 2


def test_compare_convicts_no_more_often_than_its_limit_when_nothing_differs():

    draw = random.Random(7)
    chances = []
    for _ in range(60):
        values = [draw.gauss(0.95, 0.02) for _ in range(13)]
        chances.append(compared(ACCURACY, values[:6], values[6:]).p_value)
    assert sum(chance <= 0.05 for chance in chances) <= 8


@pytest.mark.parametrize(("ring", "baseline"), [(4, 50), (50, 4), (0, 9), (9, 0)])
def test_compare_says_too_few_when_a_side_has_fewer_than_five(ring, baseline):
    assert compare(ACCURACY, [0.9] * ring, [0.9] * baseline, 1) == TooFew(ring, baseline)


def test_compare_says_too_few_when_nothing_could_convict_within_the_budget():
    worst, best = [0.0] * 5, [1.0] * 5
    assert isinstance(compare(ACCURACY, worst, best, 11), Compared)
    assert compare(ACCURACY, worst, best, 12) == TooFew(5, 5)


def test_compare_counts_exchanges_when_they_are_more_than_a_float_holds():
    assert isinstance(compare(ACCURACY, [0.9] * 1500, [0.9] * 1500, 1), Compared)


def test_compare_says_too_few_when_full_confidence_is_asked_for():
    certain = Comparison(Direction.DECREASE, Decimal("0.05"), Decimal(1))
    assert compare(certain, [0.0] * 50, [1.0] * 50, 1) == TooFew(50, 50)


@pytest.mark.parametrize("value", [inf, -inf, nan])
def test_compare_refuses_when_a_value_is_not_finite(value):
    found = compare(LATENCY, [value, 1.0, 1.0, 1.0, 1.0], [1.0] * 5, 1)
    assert isinstance(found, Broken)
    assert "1 devices have no finite value" in found.why


def test_compare_refuses_when_a_sum_overflows():
    assert isinstance(compare(LATENCY, [1e308] * 5, [1.0] * 5, 1), Broken)
