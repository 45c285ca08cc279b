"""How long an answer stands."""

import pytest

from backstay.web.remembered import Remembered
from tests.web.stage import StageClock


class Asked:
    def __init__(self) -> None:
        self.times = 0

    async def __call__(self) -> int:
        self.times += 1
        return self.times


async def test_answer_stands_for_its_time_and_no_longer() -> None:
    clock, asked = StageClock(), Asked()
    answers: Remembered[str, int] = Remembered(clock, seconds=10, most=5)
    assert await answers.answer("a", asked) == 1
    clock.pass_by(seconds=9)
    assert await answers.answer("a", asked) == 1
    clock.pass_by(seconds=2)
    assert await answers.answer("a", asked) == 2


async def test_answer_is_as_old_as_the_question_when_it_took_long() -> None:
    clock = StageClock()
    answers: Remembered[str, int] = Remembered(clock, seconds=10, most=5)

    async def slowly() -> int:
        clock.pass_by(seconds=9)
        return 1

    await answers.answer("a", slowly)
    clock.pass_by(seconds=2)
    assert await answers.answer("a", Asked()) == 1
    assert answers.last("a") == 1
    asked = Asked()
    await answers.answer("a", asked)
    assert asked.times == 0


async def test_failure_is_not_remembered() -> None:
    answers: Remembered[str, int] = Remembered(StageClock(), seconds=10, most=5)

    async def fails() -> int:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await answers.answer("a", fails)
    assert await answers.answer("a", Asked()) == 1


async def test_longest_unused_go_first_when_there_are_too_many() -> None:
    answers: Remembered[str, int] = Remembered(StageClock(), seconds=10, most=2)
    for key in ("a", "b", "a", "c"):
        await answers.answer(key, Asked())
    assert [answers.last(key) for key in "abc"] == [1, None, 1]
