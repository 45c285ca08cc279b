from datetime import UTC, datetime
from decimal import Decimal
from math import inf, nan

import pytest

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
    judge,
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
