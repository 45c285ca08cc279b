"""A page is due for as long as decisions name it, is raised once, and outlives an Alertmanager that is away."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from backstay.adapters.failpoints import Failpoints
from backstay.controllers.paging import Paging
from backstay.controllers.wakes import Wakes
from backstay.core.actions import Alert, AlertKind
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane
from backstay.errors import Unavailable
from backstay.ports.pages import PageAlert, Severity
from tests.hand_clock import Hand

KEY = ("acme", "vision")
REVISION = RevisionName("abc-1")
BACK = Alert(AlertKind.ROLLING_BACK, "the model goes back", Plane.MODEL)


class Desk:
    """Where pages arrive, unless it is closed."""

    def __init__(self) -> None:
        self.arrived: list[PageAlert] = []
        self.is_closed = False

    async def raise_(self, alerts: Sequence[PageAlert]) -> None:
        if self.is_closed:
            raise Unavailable("nobody is at the desk")
        self.arrived.extend(alerts)


def paging(desk: Desk, clock: Hand) -> Paging:
    return Paging(desk, clock, Wakes(), Failpoints())


async def deliver(made: Paging) -> None:
    task = asyncio.create_task(made.run())
    await asyncio.sleep(0.02)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_page_keeps_its_start_and_moves_its_end_while_it_is_due() -> None:
    desk, clock = Desk(), Hand()
    made = paging(desk, clock)
    made.due(KEY, REVISION, [BACK])
    await deliver(made)
    clock.time += timedelta(seconds=30)
    made.due(KEY, REVISION, [BACK])
    await deliver(made)
    first, second = desk.arrived
    assert first.starts_at == second.starts_at
    assert second.ends_at - first.ends_at == timedelta(seconds=30)
    assert first.severity is Severity.CRITICAL
    assert (first.namespace, first.plan, first.plane) == ("acme", "vision", Plane.MODEL)


async def test_page_ends_when_decisions_no_longer_name_it() -> None:
    desk, clock = Desk(), Hand()
    made = paging(desk, clock)
    made.due(KEY, REVISION, [BACK])
    await deliver(made)
    made.due(KEY, REVISION, [])
    await deliver(made)
    assert desk.arrived[-1].ends_at == clock.time


async def test_page_ends_when_its_plan_is_gone() -> None:
    desk, clock = Desk(), Hand()
    made = paging(desk, clock)
    made.due(KEY, REVISION, [BACK])
    await deliver(made)
    made.forget(KEY)
    await deliver(made)
    assert desk.arrived[-1].ends_at == clock.time


async def test_page_and_its_end_are_delivered_later_when_nobody_takes_them_now() -> None:
    desk, clock = Desk(), Hand()
    desk.is_closed = True
    made = paging(desk, clock)
    made.due(KEY, REVISION, [BACK])
    await deliver(made)
    assert (made.problem, made.undelivered, made.kinds_due) == ("nobody is at the desk", 1, (BACK.kind,))
    made.due(KEY, REVISION, [])
    await deliver(made)
    assert (made.undelivered, made.kinds_due) == (1, ())
    desk.is_closed = False
    await deliver(made)
    assert (made.problem, made.undelivered) == ("", 0)
    assert [page.ends_at for page in desk.arrived] == [clock.time]
