"""Questions that are asked at once end together, and a cancellation is never lost among errors."""

import asyncio

import pytest

from backstay.errors import Unavailable
from backstay.web.together import together


async def answer(number: int) -> int:
    await asyncio.sleep(0.001 * (3 - number))
    return number


async def away() -> int:
    raise Unavailable("the API server is away")


async def test_answers_come_in_the_order_of_the_questions() -> None:
    assert await together(answer(number) for number in range(3)) == (0, 1, 2)
    assert await together([]) == ()


@pytest.mark.parametrize("nested", [False, True])
async def test_error_ends_the_others_and_is_no_cancellation_of_the_caller(nested: bool) -> None:
    ended: list[str] = []

    async def long() -> int:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("long")
        return 0

    async def inner() -> tuple[int, ...]:
        return await together([long(), away()])

    with pytest.raises(Unavailable, match="is away"):
        await (together([inner()]) if nested else inner())
    assert ended == ["long"]
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


@pytest.mark.parametrize("error", [Unavailable("away"), ValueError("odd")])
async def test_caller_that_goes_on_after_errors_ends_when_it_is_cancelled_with_one(error: Exception) -> None:
    async def fails_as_the_caller_is_cancelled() -> int:
        caller.cancel()
        raise error

    async def patient() -> None:
        while True:
            try:
                await together([fails_as_the_caller_is_cancelled(), answer(0)])
            except (Unavailable, ValueError):
                await asyncio.sleep(0)

    caller = asyncio.create_task(patient())
    async with asyncio.timeout(5):
        await asyncio.wait((caller,))
    assert caller.cancelled()
