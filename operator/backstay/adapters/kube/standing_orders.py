"""Reads a tenant's holds and groups, so that a hold is obeyed within a second and the view's age is honest.

The watch is only a doorbell: what counts comes from whole, consistent lists, one after the other, so that a late
or reordered event never brings back a lifted hold or drops a standing one. A silent watch may be a dead one; so the
list is read every ten seconds anyway, and again before anything starts on a reading older than half a second.

A hold or a group that cannot be read counts as one that covers everything: whatever a person wrote to stop devices must
never start them.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from backstay.adapters.kube.client import DEVICE_GROUPS, HOLDS, Json, KubeClient
from backstay.adapters.kube.informer import Informer
from backstay.api.standing_documents import group_selector_from_document, hold_from_document
from backstay.core.holds import Hold
from backstay.core.selectors import EVERYTHING, Selector
from backstay.errors import BackstayError, Refused
from backstay.ports.clock import Clock

READ_EVERY_SECONDS: Final = 10.0
READ_GAP_SECONDS: Final = 0.1
RETRY_SECONDS: Final = 1.0
FRESH_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StandingOrders:
    """Holds and groups as one reading found them; `began` is the monotonic time at which the reading began."""

    began: float
    holds: tuple[Hold, ...] = ()
    groups: Mapping[str, Selector] = field(default_factory=dict)


class Reader(Protocol):
    """Whoever rests on the standing orders."""

    @property
    def namespace(self) -> str:
        """Whose orders they are."""
        ...

    @property
    def age(self) -> timedelta:
        """How long ago the last whole reading began."""
        ...

    def take_orders(self, orders: StandingOrders) -> None:
        """Rest on a new reading."""
        ...


class _Doorbell:
    """Rings when an object of a kind changes, whatever it has become."""

    def __init__(self, bell: asyncio.Event) -> None:
        self._bell = bell

    def put(self, found: Json) -> None:
        del found
        self._bell.set()

    def remove(self, namespace: str, name: str) -> None:
        del namespace, name
        self._bell.set()


class OrdersReader:
    """Keeps the view's standing orders up to date."""

    def __init__(self, client: KubeClient, view: Reader, clock: Clock) -> None:
        self._client = client
        self._view = view
        self._clock = clock
        self._bell = asyncio.Event()
        self._read = asyncio.Condition()
        self.connected = False
        """Whether the last reading succeeded."""

    async def run(self) -> None:
        """Read and watch until cancelled.

        Raises:
            Forbidden: this identity may not watch holds or groups.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_reading(), name="read holds and groups")
            for resource in (HOLDS, DEVICE_GROUPS):
                informer = Informer(
                    self._client,
                    resource,
                    _Doorbell(self._bell),
                    parse=_as_it_is,
                    clock=self._clock,
                    namespace=self._view.namespace,
                )
                tasks.create_task(informer.run(), name=f"watch {resource.plural}")

    async def read(self) -> None:
        """Read holds and groups once.

        Raises:
            BackstayError: they could not be read; the view stays as it was.
        """
        began = self._clock.monotonic()
        namespace = self._view.namespace
        # One after the other: where both were asked at once and one is refused just as this is cancelled, the refusal
        # would be all that is seen, and whoever goes on after a refusal would never end.
        holds = await self._client.list(HOLDS, namespace)
        groups = await self._client.list(DEVICE_GROUPS, namespace)
        self._view.take_orders(
            StandingOrders(
                began,
                tuple(hold_record(item) for item in holds),
                {item["metadata"]["name"]: group_record(item) for item in groups},
            )
        )

    async def freshen(self) -> None:
        """Wait for a reading that began less than half a second ago, but never long: who asks decides by the age."""
        if not self.connected or self._view.age.total_seconds() < FRESH_SECONDS:
            return
        self._bell.set()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self._read:
                await self._read.wait_for(lambda: self._view.age.total_seconds() < FRESH_SECONDS or not self.connected)
        except TimeoutError:
            log.debug("holds could not be read again within %s s", PATIENCE_SECONDS)

    async def _keep_reading(self) -> None:
        while True:
            self._bell.clear()
            try:
                await self.read()
            except BackstayError as error:
                if self.connected:
                    log.warning("holds cannot be read; in 60 s nothing new starts any more: %s", error)
                self.connected = False
            else:
                self.connected = True
            async with self._read:
                self._read.notify_all()
            await self._pause()

    async def _pause(self) -> None:
        if not self.connected:
            await asyncio.sleep(RETRY_SECONDS)
            return
        await asyncio.sleep(READ_GAP_SECONDS)
        try:
            async with asyncio.timeout(READ_EVERY_SECONDS):
                await self._bell.wait()
        except TimeoutError:
            return


def _as_it_is(item: Json) -> Json:
    return item


def hold_record(item: Json) -> Hold:
    """Read a Hold; one that cannot be read holds everything."""
    try:
        return hold_from_document(item)
    except Refused as error:
        log.warning("a hold cannot be read and therefore stops every change here: %s", error)
        return Hold(item["metadata"]["name"], reason="this hold cannot be read, so it stops every change")


def group_record(item: Json) -> Selector:
    """Read whom a DeviceGroup picks; one that cannot be read picks every device, so that a hold on it stops them."""
    try:
        return group_selector_from_document(item)
    except Refused as error:
        log.warning("a group cannot be read and counts as all devices: %s", error)
        return EVERYTHING
