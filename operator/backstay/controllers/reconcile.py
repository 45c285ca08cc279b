"""The loop of one plan: observe, decide, put it on record, act, and sleep until something changes.

observe ─► decide ─► phase changed? ─yes─► write it, say it, observe again
▲                       │no
└──── sleep ◄── act ◄───┘
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.kube.client import RELEASE_PLANS, KubeClient
from backstay.api import ReleasePlan
from backstay.api.state_conversion import outcome_from
from backstay.controllers.merge import merge_patch, without_nulls
from backstay.controllers.metrics import INTERNAL_ERROR, OperatorMetrics, Turn, result_of
from backstay.controllers.narration import Narrator
from backstay.controllers.observing import Observer, Sight
from backstay.controllers.orders import Context, Done, OrderBook, Result
from backstay.controllers.paging import Paging
from backstay.controllers.plan_conditions import troubles
from backstay.controllers.plan_status import Picture, plan_status, unreadable_status
from backstay.controllers.resolution import Resolver, Resolving
from backstay.controllers.shelf import Seen
from backstay.controllers.signal_watch import SignalWatch
from backstay.controllers.snapshots import Snapshots
from backstay.controllers.store import Store
from backstay.controllers.wakes import Key
from backstay.core.actions import Decision
from backstay.core.decide import decide
from backstay.core.retention import unneeded
from backstay.core.revision import Phase, RevisionState
from backstay.errors import BackstayError, Conflict, NotFound
from backstay.logs import about, always_about
from backstay.ports.clock import Clock
from backstay.ports.journal import Journal
from backstay.ports.leadership import Leader
from backstay.ports.overview import Decided
from backstay.ports.signals import Signals
from backstay.ports.spans import Spans

GATHER_SECONDS: Final = 0.02
"""Changes that come together are decided on together."""
CLEARS_SECONDS: Final = 300.0
"""Records of earlier revisions are looked through no more often than this."""
COUNTERS_SECONDS: Final = 1.0
"""Counters alone are written no more often than this."""
FIRST_DELAY_SECONDS: Final = 0.5
LONGEST_DELAY_SECONDS: Final = 30.0
LONGEST_SLEEP: Final = timedelta(minutes=5)

Json = dict[str, Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What every plan's loop shares."""

    client: KubeClient
    store: Store
    snapshots: Snapshots
    resolver: Resolver
    orders: OrderBook
    signals: Signals
    paging: Paging
    journal: Journal
    clock: Clock
    leader: Leader
    failpoints: Failpoints
    metrics: OperatorMetrics
    spans: Spans


class PlanLoop:
    """Reconciles one plan until it is gone."""

    def __init__(self, key: Key, services: Services) -> None:
        self._key = key
        self._services = services
        self._flag = services.store.wakes.flag(key)
        self._observer = Observer(key, services.store, services.snapshots, services.resolver, self._flag.set)
        self._narrator = Narrator(key, services.journal, services.failpoints)
        self._written_at = float("-inf")
        self._cleared_at = float("-inf")
        self._must_read = False
        self._owes = False
        self._problems: tuple[str, ...] = ()
        self._delay = FIRST_DELAY_SECONDS

    async def run(self) -> None:
        """Go on until cancelled.

        Raises:
            LeadershipLost: another operator may lead.
        """
        namespace, name = self._key
        always_about(namespace=namespace, plan=name)
        services = self._services
        async with asyncio.TaskGroup() as tasks:
            watch = SignalWatch(services.signals, services.clock, tasks, self._flag.set, services.metrics)
            while True:
                self._flag.clear()
                with services.metrics.turn(self._key) as turn:
                    wake_at = await self._guarded_turn(watch, turn)
                await self._rest(wake_at)

    async def _guarded_turn(self, watch: SignalWatch, turn: Turn) -> datetime | None:
        """One turn; an error that can be named delays the next one and loses nothing."""
        namespace, name = self._key
        try:
            with self._services.spans.span("reconcile", namespace=namespace, plan=name):
                wake_at = await self._turn(watch)
        except Conflict as error:
            turn.result = result_of(error)
            self._must_read = True
            return self._services.clock.now()
        except BackstayError as error:
            turn.result = result_of(error)
            self._services.leader.assert_held()
            log.warning("%s/%s: %s", *self._key, error)
            return self._later()
        except Exception:
            turn.result = INTERNAL_ERROR
            self._services.leader.assert_held()
            # Something is wrong in the operator itself; the other plans must not stand still for it.
            log.exception("%s/%s: internal error; nothing was done, and it is tried again", *self._key)
            return self._later()
        self._delay = FIRST_DELAY_SECONDS
        return wake_at

    def _later(self) -> datetime:
        self._must_read = True
        delay, self._delay = self._delay, min(self._delay * 2, LONGEST_DELAY_SECONDS)
        return self._services.clock.now() + timedelta(seconds=delay)

    async def _turn(self, watch: SignalWatch) -> datetime | None:
        if self._must_read:
            await self._read_again()
        seen = self._services.store.plans.get(self._key)
        if seen is None:
            return None
        if seen.model is None:
            await self._write(seen, unreadable_status(seen, self._services.clock.now()), only_if_unchanged=False)
            return None
        async with self._services.store.turn(self._key[0]):
            return await self._observe_and_act(seen.model, seen, watch)

    async def _observe_and_act(self, plan: ReleasePlan, seen: Seen[ReleasePlan], watch: SignalWatch) -> datetime | None:
        spans = self._services.spans
        with spans.span("observe"):
            sight = self._observer.observe(plan, watch.verdicts)
        if isinstance(sight, Resolving):
            return None
        with spans.span("decide"):
            decision = decide(sight.observed, self._services.clock.now())
        self._services.store.note(*self._key, Decided(sight.observed, decision))
        where = _where(sight, decision)
        with about(**where), spans.span("apply", phase=decision.phase.value, **where):
            return await self._apply(plan, seen, sight, decision, watch)

    async def _apply(
        self, plan: ReleasePlan, seen: Seen[ReleasePlan], sight: Sight, decision: Decision, watch: SignalWatch
    ) -> datetime | None:
        self._services.metrics.decided(self._key, sight.observed, decision)
        if _has_moved(sight.observed.state, decision):
            await self._move(plan, seen, sight, decision, watch)
            return self._services.clock.now()
        self._services.metrics.stalled(self._key, _stalled(decision, sight, self._problems))
        await self._record(plan, seen, sight, decision)
        self._narrator.answered(plan, decision)
        watch.follow(decision.watch, sight.observed.plan)
        self._services.paging.due(self._key, decision.state.revision, decision.alerts)
        self._narrator.rehearsed(plan, sight.observed.state, decision)
        self._narrator.stays(plan, decision)
        again_at = await self._act(plan, sight, decision)
        await self._forget_what_nothing_needs(plan, sight, decision)
        return _earliest(decision.wake_at, again_at, self._retry(sight), self._owed())

    async def _move(
        self, plan: ReleasePlan, seen: Seen[ReleasePlan], sight: Sight, decision: Decision, watch: SignalWatch
    ) -> None:
        """Put a new phase on record, only if nobody changed the plan meanwhile, before anything is done in it."""
        state = decision.state
        if sight.observed.state is not None and sight.observed.state.phase is Phase.PENDING:
            snapshot = replace(sight.snapshot, revision=state.revision, counter=state.counter)
            await self._services.snapshots.save(plan, snapshot)
        self._services.failpoints.passing("before-phase-write")
        await self._write(seen, self._status(plan, seen, sight, decision), only_if_unchanged=True)
        self._services.failpoints.passing("after-phase-write")
        self._narrator.answered(plan, decision)
        self._narrator.moved(plan, sight.observed.plan, decision)
        watch.follow(decision.watch, sight.observed.plan)

    async def _record(self, plan: ReleasePlan, seen: Seen[ReleasePlan], sight: Sight, decision: Decision) -> None:
        """Write what has changed: at once what a decision depends on, counters and words a little later."""
        status = self._status(plan, seen, sight, decision)
        must = (
            decision.state != sight.observed.state
            or seen.status.get("observedGeneration") != status["observedGeneration"]
        )
        if must or self._services.clock.monotonic() - self._written_at >= COUNTERS_SECONDS:
            await self._write(seen, status, only_if_unchanged=False)
            self._owes = False
        else:
            self._owes = bool(merge_patch(seen.status, without_nulls(status)))

    async def _act(self, plan: ReleasePlan, sight: Sight, decision: Decision) -> datetime | None:
        if not decision.actions:
            self._problems = ()
            return None
        context = Context(plan, decision.state.revision, sight.snapshot)
        results = await self._services.orders.carry_out(decision.actions, context)
        self._narrator.acted(plan, results)
        refused = tuple(result.problem for result in results if result.done is Done.REFUSED)
        self._problems = refused[:3]
        return self._after(results)

    async def _forget_what_nothing_needs(self, plan: ReleasePlan, sight: Sight, decision: Decision) -> None:
        """Delete records of earlier revisions, now and then; a release never waits for it."""
        snapshots, now = self._services.snapshots, self._services.clock.monotonic()
        records = snapshots.records(self._key)
        if len(records) < 2 or now - self._cleared_at < CLEARS_SECONDS:  # noqa: PLR2004 - the running one and another
            return
        self._cleared_at = now
        gone = unneeded(
            records,
            state=decision.state,
            history=tuple(map(outcome_from, plan.status.history)),
            in_use=self._services.store.fleets.contents(self._key[0]),
            retain=sight.observed.plan.retain,
            now=self._services.clock.now(),
        )
        self._services.leader.assert_held()
        try:
            await snapshots.drop(self._key, gone)
        except BackstayError as error:
            log.warning("%s/%s: %s", *self._key, error)

    def _after(self, results: list[Result]) -> datetime | None:
        """Look again at once where something was overtaken, and a little later where it was refused or lost."""
        now = self._services.clock.now()
        if any(result.done is Done.REFUSED for result in results):
            return now + timedelta(seconds=LONGEST_DELAY_SECONDS)
        return now if any(result.done is not Done.DONE for result in results) else None

    def _status(self, plan: ReleasePlan, seen: Seen[ReleasePlan], sight: Sight, decision: Decision) -> Json:
        standing = replace(sight.standing, paging_problem=self._services.paging.problem, problems=self._problems)
        picture = Picture(
            plan,
            sight.observed.plan,
            decision,
            standing,
            len(sight.observed.fleet),
            self._services.clock.now(),
            self._ended_versions(decision),
        )
        return plan_status(picture, seen.status)

    def _ended_versions(self, decision: Decision) -> dict[str, str]:
        """What the revision shipped that a decision ends; one that never started shipped nothing."""
        ended = decision.ended and self._services.snapshots.get(self._key, decision.ended.revision)
        return {plane.value: release.version for plane, release in ended.releases.items()} if ended else {}

    async def _write(self, seen: Seen[ReleasePlan], status: Json, *, only_if_unchanged: bool) -> None:
        patch = merge_patch(seen.status, without_nulls(status))
        if not patch:
            return
        body: Json = {"status": patch}
        if only_if_unchanged:
            body["metadata"] = {"resourceVersion": seen.version}
        services, (namespace, name) = self._services, self._key
        services.leader.assert_held()
        services.failpoints.passing("before-status-write")
        try:
            with services.spans.span("write", resource="releaseplans/status"):
                raw = await services.client.merge_patch(RELEASE_PLANS, name, body, namespace, subresource="status")
        except NotFound:
            services.store.plans.remove(namespace, name)
            raise
        services.failpoints.passing("after-status-write")
        self._written_at = services.clock.monotonic()
        services.store.plans.put(raw)

    async def _read_again(self) -> None:
        """See the plan as it is: another writer was faster, or nobody knows whether our own write arrived."""
        namespace, name = self._key
        try:
            self._services.store.plans.put(await self._services.client.get(RELEASE_PLANS, name, namespace))
        except NotFound:
            self._services.store.plans.remove(namespace, name)
        self._must_read = False

    def _retry(self, sight: Sight) -> datetime | None:
        refused = sight.standing.refused
        if refused is None or refused.retry_after_seconds is None:
            return None
        return self._services.clock.now() + timedelta(seconds=refused.retry_after_seconds)

    def _owed(self) -> datetime | None:
        """When counters that were held back are due."""
        if not self._owes:
            return None
        wait = COUNTERS_SECONDS - (self._services.clock.monotonic() - self._written_at)
        return self._services.clock.now() + timedelta(seconds=max(0.0, wait))

    async def _rest(self, wake_at: datetime | None) -> None:
        now = self._services.clock.now()
        until = min(wake_at, now + LONGEST_SLEEP) if wake_at else now + LONGEST_SLEEP
        try:
            async with asyncio.timeout(max(0.0, (until - now).total_seconds())):
                await self._flag.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER_SECONDS)


def headline(status: Json) -> tuple[object, ...]:
    """What people and tools wait for in a status; the rest are counters and words."""
    conditions = status.get("conditions") or ()
    said = tuple((one["type"], one["status"], one["reason"]) for one in conditions)
    return status.get("observedGeneration"), status.get("phase"), said


def _has_moved(before: RevisionState | None, decision: Decision) -> bool:
    if decision.state.counter == 0:
        return False
    if before is None:
        return True
    return (before.revision, before.phase) != (decision.state.revision, decision.state.phase)


def _where(sight: Sight, decision: Decision) -> dict[str, str]:
    """What the log lines of carrying out a decision are about, beside the plan."""
    state, rings = decision.state, sight.observed.plan.rings
    found = {"revision": str(state.revision)} if state.revision else {}
    return found | ({"ring": rings[state.ring].name} if state.ring < len(rings) else {})


def _stalled(decision: Decision, sight: Sight, problems: tuple[str, ...]) -> list[str]:
    stuck = troubles(decision, replace(sight.standing, problems=problems))
    return [because.reason.value for because in stuck]


def _earliest(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time is not None), default=None)
