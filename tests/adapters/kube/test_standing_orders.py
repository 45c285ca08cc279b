"""Reading holds and groups: whoever reads can be ended at any moment, also while it is refused."""

import asyncio
from datetime import timedelta

import pytest

from backstay.adapters.kube.client import HOLDS
from backstay.adapters.kube.standing_orders import OrdersReader
from backstay.adapters.system_clock import SystemClock
from backstay.errors import Forbidden


class RefusedLater:
    """An API server that takes a few turns of the loop, refuses to list holds, and says nothing of groups."""

    def __init__(self, turns: int) -> None:
        self.turns = turns

    async def list(self, resource, namespace):
        if resource is not HOLDS:
            await asyncio.Event().wait()
        for _ in range(self.turns):
            await asyncio.sleep(0)
        raise Forbidden("holds may not be listed")


class Nobody:
    """A view that nothing is ever read into."""

    namespace = "acme"
    age = timedelta.max

    def take_orders(self, orders):
        raise AssertionError


@pytest.mark.parametrize("turns", range(6))
async def test_reader_ends_when_it_is_cancelled_while_it_is_refused(turns: int):
    for after in range(10):
        reader = OrdersReader(RefusedLater(turns), Nobody(), SystemClock())
        task = asyncio.create_task(reader._keep_reading())
        for _ in range(after):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=0.2)
        assert task.cancelled(), after
