"""The operator as a whole: win the lease, see everything, then decide for each plan until told to stop."""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

import kopf

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.adapters.kube.events import EventJournal
from backstay.adapters.kube.informer import Informer
from backstay.adapters.kube.lease import Leadership
from backstay.controllers.device_reader import DeviceReader
from backstay.controllers.enrolment import Enrolment
from backstay.controllers.handlers import registry_for, settings
from backstay.controllers.leader_service import LeaderService, LeadersPort
from backstay.controllers.metrics import OperatorMetrics, counted, one
from backstay.controllers.orders import OrderBook
from backstay.controllers.overview import StoreOverview
from backstay.controllers.paging import Paging
from backstay.controllers.reconcile import PlanLoop, Services
from backstay.controllers.reports import Reports
from backstay.controllers.resolution import Resolver
from backstay.controllers.silence import Silence
from backstay.controllers.snapshots import Snapshots
from backstay.controllers.store import Store
from backstay.controllers.vitals import Vitals
from backstay.controllers.wakes import Key
from backstay.errors import Unavailable
from backstay.ports.clock import Clock
from backstay.ports.overview import Overview
from backstay.ports.pages import Pages
from backstay.ports.registry import Registry
from backstay.ports.signals import Signals
from backstay.ports.spans import Spans
from backstay.ports.verify import Verifier

FAREWELL_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Everything outside that the operator speaks to."""

    kube: KubeClient
    registry: Registry
    verifier: Verifier
    signals: Signals
    pages: Pages
    metrics: OperatorMetrics
    vitals: Vitals
    spans: Spans


@dataclass(frozen=True, slots=True)
class Options:
    """How this operator runs."""

    name: str
    """How its Lease and its Events name it, with a suffix of its own: the Pod, or the machine."""
    namespace: str
    lease_seconds: int
    port: LeadersPort | None = None
    """What others reach by a Service that leads to whoever leads."""


class Stopped(Exception):
    """Not an error: somebody asked the operator to end."""


def _nobody_looks(_: Overview) -> None:
    """The operator decides as well with nobody looking."""


async def run(
    neighbours: Neighbours,
    options: Options,
    clock: Clock,
    failpoints: Failpoints,
    show: Callable[[Overview], None] = _nobody_looks,
) -> None:
    """Lead, and reconcile every plan, until a signal asks to stop; `show` is given a view of it all once there is one.

    Raises:
        LeadershipLost: another operator may lead.
        Forbidden: this identity lacks a right that the operator cannot do without.
    """
    identity = f"{options.name}-{os.getpid()}-{secrets.token_hex(3)}"
    leadership = Leadership(
        neighbours.kube,
        namespace=options.namespace,
        identity=identity,
        duration_seconds=options.lease_seconds,
        clock=clock,
    )
    stop = asyncio.Event()
    _listen_for_signals(stop)
    vitals = neighbours.vitals
    vitals.waits(lambda: leadership.seen_holder)
    neighbours.metrics.read("operator_leader", "1 while this process leads, else 0.", lambda: one(vitals.is_leading))
    if not await _won(leadership, stop):
        return
    vitals.syncs()
    operator = _Operator(neighbours, options, leadership, identity, clock, failpoints, show)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(leadership.keep())
            group.create_task(operator.run(stop))
            group.create_task(_until(stop))
    except* Stopped:
        log.info("stopping")
    vitals.ends()
    await operator.say_the_rest()
    await leadership.release()
    log.info("stopped; the lease is released")


async def _until(stop: asyncio.Event) -> NoReturn:
    await stop.wait()
    raise Stopped


async def _won(leadership: Leadership, stop: asyncio.Event) -> bool:
    """Wait for leadership, or for the signal to stop waiting."""
    async with asyncio.TaskGroup() as group:
        win = group.create_task(leadership.win())
        stopped = group.create_task(stop.wait())
        await asyncio.wait((win, stopped), return_when=asyncio.FIRST_COMPLETED)
        won = win.done()
        win.cancel()
        stopped.cancel()
    return won


class _Operator:
    """What a leader does."""

    def __init__(
        self,
        neighbours: Neighbours,
        options: Options,
        leadership: Leadership,
        identity: str,
        clock: Clock,
        failpoints: Failpoints,
        show: Callable[[Overview], None],
    ) -> None:
        self._neighbours = neighbours
        self._options = options
        self._leadership = leadership
        self._clock = clock
        self._failpoints = failpoints
        self._show = show
        self._store = Store()
        self._snapshots = Snapshots(neighbours.kube, failpoints)
        self._journal = EventJournal(neighbours.kube, instance=identity, clock=clock)
        heard = neighbours.metrics.delivered
        self._paging = Paging(neighbours.pages, clock, self._store.wakes, failpoints, heard)
        self._loops: dict[Key, tuple[str, asyncio.Task[None]]] = {}
        self._kopf_ready = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """See everything first, then decide, until cancelled."""
        kube, store = self._neighbours.kube, self._store
        await self._first_sight()
        async with asyncio.TaskGroup() as group:
            reader = DeviceReader(self._journal)
            enrolment = Enrolment(kube, store, self._journal, self._leadership)
            informer = Informer(kube, EDGE_DEVICES, enrolment, parse=reader.read, clock=self._clock)
            self._let_metrics_read(lambda: informer.age_seconds)
            group.create_task(informer.run())
            group.create_task(self._watch())
            await informer.synced.wait()
            await self._kopf_ready.wait()
            # kopf has put its own handlers in their place.
            _listen_for_signals(stop)
            group.create_task(store.keep_swept(kube))
            group.create_task(self._journal.run())
            group.create_task(self._paging.run())
            group.create_task(enrolment.run())
            group.create_task(Silence(kube, store, self._clock, self._leadership).run())
            group.create_task(Reports(kube, store, self._clock, self._leadership).run())
            group.create_task(self._reconcile_all())
            self._show(StoreOverview(store))
            if (port := self._options.port) is not None:
                group.create_task(LeaderService(kube, self._options.namespace, port, self._leadership).run())
            self._neighbours.vitals.leads(store, lambda: informer.age_seconds)
            log.info("reconciling %d plans", len(store.plans.all()))

    def _let_metrics_read(self, age_seconds: Callable[[], float]) -> None:
        """Let metrics read what stands in memory."""
        read, wakes, paging = self._neighbours.metrics.read, self._store.wakes, self._paging
        read(
            "operator_waiting_plans", "Plans that are to be looked at and have not been yet: the queue's depth.",
            lambda: one(len(wakes.waiting_seconds())),
        )  # fmt: skip
        read(
            "operator_longest_wait_seconds", "How long the plan has waited that waits longest.",
            lambda: one(max(wakes.waiting_seconds(), default=0.0)),
        )  # fmt: skip
        read("operator_plans", "Plans that are reconciled.", lambda: one(len(self._loops)))
        read("operator_devices", "Devices that the operator sees.", lambda: one(self._store.fleets.total))
        read(
            "operator_view_age_seconds", "Time since the API server last confirmed the view of the devices.",
            lambda: one(age_seconds()),
        )  # fmt: skip
        read("operator_pages_due", "Pages that are due.", lambda: counted(paging.kinds_due), ("kind",))
        read(
            "operator_pages_undelivered", "Pages that Alertmanager does not take now, and ends of pages.",
            lambda: one(paging.undelivered),
        )  # fmt: skip

    async def say_the_rest(self) -> None:
        """Write the Events that are still waiting, for a moment at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._journal.flush()

    async def _first_sight(self) -> None:
        """List with quorum what decisions must not lack, before the first of them."""
        while True:
            try:
                await self._store.sweep(self._neighbours.kube)
                await self._snapshots.load(self._plan_uids())
            except Unavailable as error:
                log.warning("%s", error)
                self._leadership.assert_held()
                await asyncio.sleep(1.0)
            else:
                return

    async def _watch(self) -> None:
        await kopf.operator(
            registry=registry_for(self._store, self._neighbours.kube),
            settings=settings(),
            clusterwide=True,
            standalone=True,
            ready_flag=self._kopf_ready,
        )

    async def _reconcile_all(self) -> None:
        """Keep one loop for every plan that exists; a plan that was made anew under its old name is another one."""
        async with asyncio.TaskGroup() as tasks:
            services = self._services(tasks)
            while True:
                self._store.plans_changed.clear()
                wanted = self._plan_uids()
                for key, (uid, _) in tuple(self._loops.items()):
                    if wanted.get(key) != uid:
                        self._drop(key)
                for key in sorted(wanted.keys() - self._loops.keys()):
                    self._loops[key] = (wanted[key], tasks.create_task(PlanLoop(key, services).run()))
                await self._store.plans_changed.wait()

    def _plan_uids(self) -> dict[Key, str]:
        return {key: seen.raw["metadata"]["uid"] for key, seen in self._store.plans.all()}

    def _services(self, tasks: asyncio.TaskGroup) -> Services:
        near, clock = self._neighbours, self._clock
        return Services(
            client=near.kube,
            store=self._store,
            snapshots=self._snapshots,
            resolver=Resolver(near.registry, near.verifier, clock, tasks),
            orders=OrderBook(near.kube, self._store, clock, self._failpoints, self._leadership, near.spans),
            signals=near.signals,
            paging=self._paging,
            journal=self._journal,
            clock=clock,
            leader=self._leadership,
            failpoints=self._failpoints,
            metrics=near.metrics,
            spans=near.spans,
        )

    def _drop(self, key: Key) -> None:
        """A plan is gone: nothing more starts in its name, and what it ordered ends by itself."""
        _, task = self._loops.pop(key)
        task.cancel()
        self._paging.forget(key)
        self._snapshots.forget(key)
        self._store.fleets.forget(key)
        self._store.wakes.forget(key)
        self._neighbours.metrics.forget(key)
        log.info("%s/%s: deleted", *key)


def _listen_for_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
