"""Several questions at once, for callers that outlive an error."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from backstay.errors import first_in

T = TypeVar("T")


async def together(questions: Iterable[Coroutine[Any, Any, T]]) -> tuple[T, ...]:
    """All answers, in order; the first error ends the other questions and is raised as it is.

    A caller that is cancelled at the moment of an error is told of the cancellation: one that goes on after errors
    would never end otherwise.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            asked = tuple(tasks.create_task(question) for question in questions)
            # Waited for in here: a group that is left already counts its own abort as a cancellation of the caller.
            if asked:
                await asyncio.wait(asked)
    except BaseExceptionGroup as group:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from group
        raise first_in(group) from group
    return tuple(task.result() for task in asked)
