"""The agent while it runs: it follows its EdgeDevice, lets the machine carry out what is ordered, and reports.

Nothing that the machine does waits for the API server, and nothing that is said to the API server is needed by it: what
could not be written is found to differ, and written when the server is back.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.adapters.kube.informer import Informer, is_newer
from backstay.adapters.kube.standing_orders import OrdersReader, StandingOrders
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.agent.fetching import Fetched, Fetching
from backstay.agent.keeping import Keeping
from backstay.agent.machine import Machine
from backstay.agent.mandate import Mandate, mandate_from
from backstay.agent.proving import Proving
from backstay.agent.report import status_of
from backstay.agent.safety import FILE, Safety
from backstay.agent.sign_of_life import SignOfLife
from backstay.api.device_status import Status, difference
from backstay.core.device import Cause, Order, ProbeResult, Reason
from backstay.core.devices import PlaneState
from backstay.core.holds import MayNotStart, may_start
from backstay.core.planes import Plane
from backstay.core.selectors import picked_by
from backstay.errors import BackstayError, Conflict, NotFound, Unavailable
from backstay.ports.clock import Clock

TICK_SECONDS: Final = 1.0
GAP_SECONDS: Final = 3.0
"""The least time between two writes of a status that is no answer, so that a flapping probe is not a flood."""
HEALTH_SECONDS: Final = 30.0
TIDY_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 5.0
DEVICE_WATCH_SECONDS: Final = 240

Json = dict[str, Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Commander:
    """The one EdgeDevice that may command this node, as a root-owned file on the node names it."""

    namespace: str
    name: str


@dataclass
class Node:
    """One node and its agent."""

    commander: Commander
    node: str
    """The node's own name: an EdgeDevice of another node commands nothing here."""
    client: KubeClient
    machine: Machine
    fetching: Fetching
    surroundings: Surroundings
    life: SignOfLife
    clock: Clock
    failpoints: Failpoints
    at_start: Callable[[], Awaitable[None]] | None = None
    """What an installer has to do once in each boot."""
    keeping: Keeping | None = None
    """Deletes what nobody needs; None where nothing is ever deleted."""
    safe_mode_file: Path = FILE
    mandate: Mandate | None = None
    safety: Safety = field(init=False)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the journal is read, and what is there has been looked at."""
    _orders: StandingOrders | None = None
    proving: Proving = field(init=False)
    _reader: OrdersReader = field(init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _beginning: asyncio.Task[None] | None = None
    _fetch: asyncio.Task[Fetched | Cause] | None = None
    _fetching_for: Order | None = None
    _health: tuple[ProbeResult, ...] = ()
    _looked_at: datetime | None = None
    _next_write: float = 0.0
    _next_look: float = 0.0
    _next_tidy: float = 0.0
    _looked_for: Order | None = None

    def __post_init__(self) -> None:
        self.proving = Proving(replace(self.surroundings, connected=self.reaches_home))
        self.machine.before = self.proving.before
        self.safety = Safety(self.machine, self.clock, self.safe_mode_file)
        self._reader = OrdersReader(self.client, self, self.clock)
        self._informer: Informer[Json] = Informer(
            self.client,
            EDGE_DEVICES,
            self,
            parse=lambda raw: raw,
            clock=self.clock,
            namespace=self.namespace,
            field_selector=f"metadata.name={self.commander.name}",
            watch_seconds=DEVICE_WATCH_SECONDS,
        )

    @property
    def namespace(self) -> str:
        """The tenant's namespace."""
        return self.commander.namespace

    @property
    def age(self) -> timedelta:
        """How long ago the last whole reading of holds began."""
        if self._orders is None:
            return timedelta.max
        return timedelta(seconds=max(0.0, self.clock.monotonic() - self._orders.began))

    @property
    def health(self) -> tuple[ProbeResult, ...]:
        """What the probes have shown last."""
        return self._health

    @property
    def looked_at(self) -> datetime | None:
        """When they were run."""
        return self._looked_at

    @property
    def api_age_seconds(self) -> float:
        """How long ago the API server last confirmed what is known of the EdgeDevice; infinite before it ever has."""
        return self._informer.age_seconds

    def take_orders(self, orders: StandingOrders) -> None:
        """Rest on a new reading of holds and groups."""
        self._orders = orders

    def put(self, found: Json) -> None:
        """Take in the EdgeDevice, unless a newer version of it is known, or it is of another node."""
        if found["spec"].get("node") != self.node:
            log.error("EdgeDevice %s/%s is not of node %s: it commands nothing here", *self._who, self.node)
            self.mandate = None
            return
        try:
            mandate = mandate_from(found)
        except BackstayError as error:
            log.error("%s", error)  # noqa: TRY400 - the message says all
            return
        if not _is_older(mandate, self.mandate):
            self.mandate = mandate
        self._wake.set()

    def remove(self, namespace: str, name: str) -> None:
        """The EdgeDevice is gone: nothing new starts, and what is on trial ends by itself."""
        del namespace, name
        self.mandate = None

    async def run(self) -> None:
        """Go on until cancelled, or until the node has to be rebooted."""
        if self.at_start is not None:
            await self.at_start()
        await self.machine.start()
        await self.safety.begin()
        self.started.set()
        try:
            await self._run()
        except asyncio.CancelledError:
            self.safety.end()
            raise
        self.safety.end()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._informer.run(), name="follow the EdgeDevice"),
                tasks.create_task(self._reader.run(), name="follow holds"),
                tasks.create_task(self._publish(), name="report"),
                tasks.create_task(self.life.run(), name="give a sign of life"),
            ]
            try:
                await self._drive(tasks)
            finally:
                for task in (*running, self._beginning, self._fetch):
                    if task is not None:
                        task.cancel()

    async def _drive(self, tasks: asyncio.TaskGroup) -> None:
        while not self.machine.wants_reboot:
            try:
                await self._keep_safe()
                await self._follow(tasks)
                await self._bring(tasks)
                await self.machine.tick(self._prove)
                await self._look_after()
                await self._tidy()
            except Unavailable as error:
                log.warning("the node waits: %s", error)
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue
            finally:
                self._wake.clear()

    async def _keep_safe(self) -> None:
        """Do what a person asks for recovery, and let the node be in safe mode or out of it."""
        mandate, before = self.mandate, self.safety.why
        recovered = mandate is not None and await self.safety.recover(mandate.recover)
        await self.safety.look(ordered=None if mandate is None else mandate.safe)
        if recovered or self.safety.why != before:
            # What probes found before says nothing of now, and whoever asked waits for the answer.
            self._health, self._next_look, self._next_write = (), 0.0, 0.0

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """Take up the step that is ordered, once its beginning stands in the API server."""
        mandate = self.mandate
        order = None if mandate is None else mandate.order()
        if mandate is None or order is None or self.machine.progress_of(order) is not None:
            return
        if not await self.machine.makes_way_for(order):
            return
        if self.machine.resting:
            await self.machine.refuse(order, Cause(Reason.SAFE_MODE, self.machine.resting))
            self._next_write = 0.0
        elif mandate.device.begun:
            if objection := self.proving.objection(order.probes):
                await self.machine.refuse(order, Cause(Reason.REJECTED, objection))
            else:
                await self.machine.order(order)
            self._next_write = 0.0
        elif self._beginning is None or self._beginning.done():
            self._beginning = tasks.create_task(self._begin(mandate), name="begin")

    async def _begin(self, mandate: Mandate) -> None:
        """Ask the holds at the last moment, and write down that the step has begun: the operator counts on it."""
        if self._orders is None:
            # Just started: what holds there are is not known yet.
            await asyncio.sleep(TICK_SECONDS)
            return
        await self._reader.freshen()
        if (current := self.mandate) is None or current.step != mandate.step or (action := current.action()) is None:
            return
        groups = picked_by(self._orders.groups, current.device.labels)
        verdict = may_start(replace(action, groups=groups), self._orders.holds, self.age, self.clock.now())
        if isinstance(verdict, MayNotStart):
            log.info("step %s does not begin: %s", current.step.number if current.step else "?", verdict.message)
            await asyncio.sleep(TICK_SECONDS)
            return
        plane = action.plane
        if trouble := await self.machine.waits_for(plane):
            log.warning("step %s does not begin: %s", current.step.number if current.step else "?", trouble)
            await asyncio.sleep(TICK_SECONDS)
            return
        status = self._status(current)
        begun = replace(
            status.plane(plane),
            state=PlaneState.DOWNLOADING,
            step=current.step.number if current.step else 0,
            reason="",
            since=self.clock.now(),
        )
        try:
            await self._write(current, status.with_plane(plane, begun))
        except BackstayError as error:
            log.warning("the beginning of a step cannot be written: %s", error)
            await asyncio.sleep(TICK_SECONDS)

    async def _bring(self, tasks: asyncio.TaskGroup) -> None:
        """Fetch what the machine wants, or hand over what was fetched."""
        wanted = self.machine.download
        if self._fetch is not None and (wanted is None or not wanted.repeats(self._fetching_for)):
            self._fetch.cancel()
            self._fetch = None
        if wanted is None:
            return
        if self._fetch is None:
            known = self.mandate.device.assigned.get(wanted.plane) if self.mandate else None
            if known is not None and known.content == wanted.content and known.artifact:
                self._fetching_for = wanted
                fetch = self.fetching.fetch(wanted, known.artifact, self.machine.objection)
                self._fetch = tasks.create_task(fetch, name="fetch")
                self._fetch.add_done_callback(lambda _: self._wake.set())
        elif self._fetch.done():
            if trouble := await self.machine.waits_for(wanted.plane):
                log.warning("what was fetched for step %s waits: %s", wanted.number, trouble)
                return
            found, self._fetch = self._fetch.result(), None
            match found:
                case Fetched(artifact, payload, beside):
                    await self.machine.downloaded(wanted, artifact, payload, beside)
                case Cause(Reason.NO_SPACE) if self.keeping is not None and await self.keeping.make_room():
                    # The next look fetches again, and ends when nothing is left to delete.
                    return
                case Cause():
                    await self.machine.refused(wanted, found)

    async def _prove(self, order: Order) -> tuple[ProbeResult, ...]:
        # Whatever wakes the node: looks that are asked for in a row are not all taken in one moment.
        if order.repeats(self._looked_for) and self.clock.monotonic() < self._next_look:
            return self._health
        self._looked_for, self._next_look = order, self.clock.monotonic() + TICK_SECONDS
        entry = self.machine.entry(order.plane)
        began = entry.progress.confirm_by - order.window.total_seconds()
        since_change = timedelta(seconds=max(0.0, self.clock.monotonic() - began))
        self._health = await self.proving.after(order, entry.old, since_change)
        self._looked_at = self.clock.now()
        return self._health

    async def _look_after(self) -> None:
        """Run the probes of what was confirmed last, now and then: a node that falls ill later says so too."""
        now = self.clock.monotonic()
        if self.machine.in_flight is not None or self.machine.resting or now < self._next_look:
            return
        self._next_look = now + HEALTH_SECONDS
        orders = [order for plane in self.machine.ordered if (order := self.machine.entry(plane).progress.order)]
        if orders:
            self._health = await self.proving.health(max(orders, key=lambda order: order.number))
            self._looked_at = self.clock.now()

    async def _tidy(self) -> None:
        """Delete what nobody needs any more, now and then; not before it is known what is to be retained."""
        now = self.clock.monotonic()
        if self.keeping is None or self.mandate is None or now < self._next_tidy:
            return
        self._next_tidy = now + TIDY_SECONDS
        retain = self.mandate.retain
        await self.keeping.tidy(lambda plane: retain.get(plane, timedelta(0)))

    def reaches_home(self) -> bool:
        """Whether nothing speaks against a change staying because the API server cannot be reached.

        A model or a config cannot cut the node off, and must not be undone because somebody else is away.
        """
        progress = self.machine.in_flight
        on_trial = None if progress is None or progress.order is None else progress.order.plane
        return self._informer.connected or on_trial is not Plane.FIRMWARE

    async def _publish(self) -> None:
        """Write the status whenever it differs; answers at once, the rest with some distance."""
        while True:
            await asyncio.sleep(TICK_SECONDS / 4 if self.machine.in_flight else TICK_SECONDS)
            mandate = self.mandate
            if mandate is None or self.machine.is_acting or self.clock.monotonic() < self._next_write:
                continue
            status = self._status(mandate)
            if not difference(mandate.status, status):
                continue
            if _is_under_way(self.machine, status, mandate.status):
                continue
            try:
                await self._write(mandate, status)
                self._next_write = self.clock.monotonic() + (0.0 if self.machine.in_flight else GAP_SECONDS)
            except (NotFound, Conflict):
                # It was deleted, or made anew under its name; what is there now comes by the watch.
                self._next_write = self.clock.monotonic() + RETRY_SECONDS
            except BackstayError as error:
                log.warning("the status cannot be written now: %s", error)
                self._next_write = self.clock.monotonic() + RETRY_SECONDS

    async def _write(self, mandate: Mandate, status: Status) -> None:
        if patch := difference(mandate.status, status):
            body = {"metadata": {"uid": mandate.device.uid}, "status": patch}
            self.failpoints.passing("before-status-write")
            answer = await self.client.merge_patch(
                EDGE_DEVICES, self.commander.name, body, self.namespace, subresource="status"
            )
            self.failpoints.passing("after-status-write")
            self.put(answer)

    def _status(self, mandate: Mandate) -> Status:
        heard, safe = self.life.stands, self.safety.why
        return status_of(self.machine, mandate, self._health, self.clock.now(), heard=heard, safe=safe)

    @property
    def _who(self) -> tuple[str, str]:
        return self.commander.namespace, self.commander.name


def _is_older(mandate: Mandate, known: Mandate | None) -> bool:
    """Whether the same object is known in a version that is as new, or newer."""
    if known is None or known.device.uid != mandate.device.uid:
        return False
    return not is_newer(mandate.device.resource_version, known.device.resource_version)


def _is_under_way(machine: Machine, status: Status, written: Status) -> bool:
    """Whether all that differs is a plane that is being changed: its answer says it all, in the same write."""
    progress = machine.in_flight
    if progress is None or progress.order is None:
        return False
    plane = progress.order.plane
    return not difference(written, status.with_plane(plane, written.plane(plane)))
