from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from math import inf, nan, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.core.planes import Plane
from backstay.core.signals import (
    Broken,
    Compared,
    Comparison,
    Direction,
    Empty,
    Result,
    Signal,
    TooFew,
    Value,
    Verdict,
    WhenUnclear,
    allowed_chance,
    judge,
    worse_than_baseline,
)

AT = datetime(2026, 1, 5, tzinfo=UTC)
ACCURACY = Signal("accuracy", "q", (Plane.MODEL,), minimum=Decimal("0.9"))
LATENCY = Signal("latency", "q", (Plane.MODEL,), maximum=Decimal("0.120"))
COMPARED = Signal("replay", "q", (Plane.MODEL,), comparison=Comparison(Direction.DECREASE, Decimal("0.05")))


@pytest.mark.parametrize(
    ("signal", "answer", "result"),
    [
        (ACCURACY, Value(0.9), Result.PASS),
        (ACCURACY, Value(0.8999), Result.FAIL),
        (ACCURACY, Value(nan), Result.NO_DATA),
        (ACCURACY, Value(-inf), Result.FAIL),
        (ACCURACY, Empty(), Result.NO_DATA),
        (ACCURACY, Broken("refused"), Result.PROVIDER_ERROR),
        (LATENCY, Value(0.120), Result.PASS),
        (LATENCY, Value(inf), Result.FAIL),
        (LATENCY, Value(nan), Result.NO_DATA),
        (COMPARED, TooFew(2, 40), Result.INCONCLUSIVE),
        (COMPARED, Compared(0.2, 0.001, 10, 40, 1), Result.FAIL),
        (COMPARED, Compared(0.2, 0.2, 10, 40, 1), Result.PASS),
        (COMPARED, Compared(0.01, 0.0001, 10, 40, 1), Result.PASS),
        (COMPARED, Compared(-0.2, 0.0001, 10, 40, 1), Result.PASS),
        (ACCURACY, Compared(0.2, 0.001, 10, 40, 1), Result.PROVIDER_ERROR),
    ],
)
def test_answer_is_judged(signal: Signal, answer: object, result: Result) -> None:
    assert judge(signal, answer, "q", AT).result is result  # type: ignore[arg-type]


def test_comparison_spends_one_error_budget_over_all_looks() -> None:
    borderline = Compared(0.2, 0.01, 10, 40, looks=4)
    assert judge(COMPARED, borderline, "q", AT).result is Result.FAIL
    assert judge(COMPARED, Compared(0.2, 0.01, 10, 40, looks=20), "q", AT).result is Result.PASS


def test_verdict_keeps_query_value_and_limit_for_the_person_who_is_paged() -> None:
    verdict = judge(ACCURACY, Value(0.41), "avg(x)", AT)
    assert (verdict.query, verdict.value, verdict.at) == ("avg(x)", 0.41, AT)
    assert verdict.message == "0.41 is below the minimum of 0.9"


def test_verdict_says_why_there_is_nothing_to_judge() -> None:
    assert judge(ACCURACY, Broken("connection refused"), "q", AT) == Verdict(
        "accuracy", Result.PROVIDER_ERROR, AT, "q", None, "connection refused"
    )
    assert judge(ACCURACY, Empty(), "q", AT).message == "the query returned no series"
    assert judge(ACCURACY, Value(nan), "q", AT).message == "the query returned NaN"


@pytest.mark.parametrize(("baseline", "lacks"), [(4, True), (5, False), (40, False)])
def test_comparison_of_too_few_says_whether_it_is_the_baseline_that_lacks(baseline: int, lacks: bool) -> None:
    verdict = judge(COMPARED, TooFew(2, baseline), "q", AT)
    assert verdict.message == f"2 devices against {baseline} of the baseline are too few to compare"
    assert verdict.lacks_baseline is lacks


def test_comparison_keeps_what_it_found_for_those_who_judge_it_again() -> None:
    found = Compared(0.2, 0.01, 10, 40, looks=1)
    verdict = judge(COMPARED, found, "q", AT)
    assert (verdict.result, verdict.value, verdict.compared) == (Result.FAIL, 0.2, found)
    assert verdict.message == "+0.2 against the baseline, p = 0.01 (limit 0.045)"


def test_comparison_that_was_not_asked_for_is_an_error_in_its_words() -> None:
    words = "a comparison was answered that the signal does not ask for"
    assert judge(ACCURACY, Compared(0.2, 0.001, 10, 40, 1), "q", AT).message == words


def test_comparison_fails_exactly_at_its_effect_and_its_limit() -> None:
    comparison = Signal(
        "replay", "q", (Plane.MODEL,), comparison=Comparison(Direction.DECREASE, Decimal("0.25"), Decimal("0.5"))
    )
    limit = allowed_chance(Decimal("0.5"), 1, 1)
    assert worse_than_baseline(comparison, Compared(0.25, limit, 10, 40, 1), 1)[0] is Result.FAIL
    assert worse_than_baseline(comparison, Compared(0.2499, limit, 10, 40, 1), 1)[0] is Result.PASS
    assert worse_than_baseline(comparison, Compared(0.25, limit * 1.001, 10, 40, 1), 1)[0] is Result.PASS


def test_large_difference_is_unclear_where_so_few_devices_can_never_be_that_certain() -> None:
    best = 1 / 252
    few = Compared(0.2, best, 5, 5, looks=11)
    assert few.smallest_p_value == best
    assert worse_than_baseline(COMPARED, few, 1)[0] is Result.FAIL
    result, words = worse_than_baseline(COMPARED, replace(few, looks=12), 1)
    assert result is Result.INCONCLUSIVE
    assert words == (
        "+0.2 against the baseline, p = 0.00397 (limit 0.00375);"
        " that is large, and 5 devices against 5 are too few to be that certain"
    )
    assert worse_than_baseline(COMPARED, replace(few, p_value=0.3), 1)[0] is Result.PASS
    assert worse_than_baseline(COMPARED, replace(few, difference=0.01), 12)[0] is Result.PASS
    assert worse_than_baseline(COMPARED, Compared(0.2, 1.0, 5, 6, looks=11), 1)[0] is Result.PASS
    exactly = replace(COMPARED, comparison=Comparison(Direction.DECREASE, Decimal("0.05"), Decimal("0.5")))
    assert worse_than_baseline(exactly, Compared(0.2, 1.0, 3, 3, looks=9), 1)[0] is Result.PASS


@pytest.mark.parametrize(
    ("result", "effect"),
    [
        (Result.NO_DATA, WhenUnclear.FAIL),
        (Result.PROVIDER_ERROR, WhenUnclear.HALT),
        (Result.INCONCLUSIVE, WhenUnclear.WAIT),
    ],
)
def test_each_unclear_result_does_what_its_own_rule_says(result: Result, effect: WhenUnclear) -> None:
    signal = Signal(
        "accuracy", "q", (), on_no_data=WhenUnclear.FAIL, on_provider_error=WhenUnclear.HALT,
        on_inconclusive=WhenUnclear.WAIT,
    )  # fmt: skip
    assert signal.when(result) is effect


@pytest.mark.parametrize(
    ("look", "planned", "chance"),
    [
        (1, 1, 0.045),
        (1, 0, 0.045),
        (1, 4, 0.01125),
        (4, 4, 0.01125),
        (5, 4, 0.005 * 6 / pi**2),
        (6, 4, 0.005 * 6 / pi**2 / 4),
        (7, 4, 0.005 * 6 / pi**2 / 9),
    ],
)
def test_chance_is_shared_evenly_by_planned_looks_and_shrinks_beyond_them(
    look: int, planned: int, chance: float
) -> None:
    assert allowed_chance(Decimal("0.95"), look, planned) == pytest.approx(chance, rel=1e-12)


@given(st.integers(0, 60), st.integers(1, 2000), st.decimals(Decimal("0.5"), Decimal("0.999"), places=3))
def test_all_looks_together_never_spend_more_than_the_budget(planned: int, looks: int, confidence: Decimal) -> None:
    spent = sum(allowed_chance(confidence, look, planned) for look in range(1, looks + 1))
    assert 0 < spent <= (1 - float(confidence)) * (1 + 1e-9)
