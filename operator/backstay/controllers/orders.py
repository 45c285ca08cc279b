"""Carries out what a decision asks for: orders to devices, their withdrawal, and freezes."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, assert_never

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.kube.client import EDGE_DEVICES, HOLDS, KubeClient
from backstay.api import Hold, ReleasePlan
from backstay.api.device_conversion import device_from
from backstay.controllers.probes import FAILS_ON_PURPOSE, probes_for
from backstay.controllers.snapshots import PLAN_LABEL, Snapshot, label_value
from backstay.controllers.store import Store
from backstay.controllers.times import rfc3339
from backstay.core.actions import Action, Dispatch, Freeze, Withdraw
from backstay.core.devices import DeviceName, Drill
from backstay.core.planes import Plane, Release
from backstay.errors import Conflict, NotFound, Refused, Unavailable
from backstay.logs import about
from backstay.ports.clock import Clock
from backstay.ports.leadership import Leader
from backstay.ports.spans import Spans

Json = dict[str, Any]

AT_ONCE: Final = 16
"""So many writes are under way at one time, for each plan."""
CONVICTION_LABEL: Final = "backstay.dev/conviction"
LONGEST_REASON: Final = 2048

log = logging.getLogger(__name__)


class Done(StrEnum):
    """How an action ended."""

    DONE = "Done"
    OVERTAKEN = "Overtaken"
    """The object had changed; the new one is in the view now, and the next decision sees it."""
    REFUSED = "Refused"
    """The API server does not take it, and will not the next time."""
    LOST = "Lost"
    """Nobody knows whether it happened, or it did not: the object must be read before anything else is decided."""


@dataclass(frozen=True, slots=True)
class Result:
    """An action and how it ended."""

    action: Action
    done: Done
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """In whose name actions are carried out."""

    plan: ReleasePlan
    revision: str
    snapshot: Snapshot

    @property
    def namespace(self) -> str:
        """The namespace of the plan and of everything that it may touch."""
        return self.plan.metadata.namespace


class OrderBook:
    """Writes orders; only the operator that leads may, which is asked again before every write."""

    def __init__(
        self, client: KubeClient, store: Store, clock: Clock, failpoints: Failpoints, leader: Leader, spans: Spans
    ) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._failpoints = failpoints
        self._leader = leader
        self._spans = spans

    async def carry_out(self, actions: tuple[Action, ...], context: Context) -> list[Result]:
        """Do all of them, some at a time; each ends for itself.

        Raises:
            LeadershipLost: nothing more may be written.
        """
        gate = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._one(action, context, gate)) for action in actions]
        return [task.result() for task in tasks]

    async def _one(self, action: Action, context: Context, gate: asyncio.Semaphore) -> Result:
        async with gate:
            try:
                await self._do(action, context)
            except (Conflict, NotFound) as error:
                await self._read_again(action, context)
                return Result(action, Done.OVERTAKEN, str(error))
            except Refused as error:
                return Result(action, Done.REFUSED, str(error))
            except Unavailable as error:
                await self._read_again(action, context)
                return Result(action, Done.LOST, str(error))
        return Result(action, Done.DONE)

    async def _do(self, action: Action, context: Context) -> None:
        match action:
            case Dispatch():
                self._failpoints.passing("before-dispatch")
                patch = order_patch(action, context, self._device_class(action, context), self._clock.now())
                await self._patch(action.device, patch, context)
                self._failpoints.passing("after-dispatch")
            case Withdraw():
                await self._patch(action.device, withdrawal_patch(action), context)
            case Freeze():
                self._failpoints.passing("before-freeze")
                await self._freeze(action, context)
                self._failpoints.passing("after-freeze")
            case _:
                assert_never(action)

    def _device_class(self, action: Dispatch, context: Context) -> str:
        device = self._store.fleets.get(context.namespace, action.device)
        return device.device_class if device else ""

    async def _patch(self, device: DeviceName, patch: Json, context: Context) -> None:
        self._leader.assert_held()
        with self._spans.span("write", resource="edgedevices", device=device):
            raw = await self._client.merge_patch(EDGE_DEVICES, device, patch, context.namespace)
        self._store.fleets.put_answer(context.namespace, device_from(raw))

    async def _freeze(self, freeze: Freeze, context: Context) -> None:
        self._leader.assert_held()
        try:
            with self._spans.span("write", resource="holds"):
                raw = await self._client.create(HOLDS, hold_document(freeze, context), context.namespace)
        except Conflict:
            raw = await self._client.get(HOLDS, freeze.hold_name, context.namespace)
        self._store.holds.put(raw)

    async def _read_again(self, action: Action, context: Context) -> None:
        """Bring the view up to date with what a failed write was about; until that works nothing else is decided."""
        if isinstance(action, Freeze):
            return
        with about(device=action.device):
            await self._read_device_again(action.device, context)

    async def _read_device_again(self, device: DeviceName, context: Context) -> None:
        while True:
            self._leader.assert_held()
            try:
                raw = await self._client.get(EDGE_DEVICES, device, context.namespace)
            except NotFound:
                self._store.fleets.remove(context.namespace, device)
                return
            except Unavailable as error:
                log.warning("%s/%s: %s", context.namespace, device, error)
                await asyncio.sleep(1.0)
                continue
            self._store.fleets.put_answer(context.namespace, device_from(raw))
            return


def _ranges(release: Release) -> dict[str, str | None]:
    """Each plane's ranges in one, and null for the others: a merge patch keeps what it does not name."""
    return {
        plane.value: ",".join(need.range.text for need in release.requires if need.plane is plane) or None
        for plane in Plane
    }


def order_patch(dispatch: Dispatch, context: Context, device_class: str, now: datetime) -> Json:
    """The merge patch that gives a device its order, with all that it needs to carry it out offline."""
    release, spec = dispatch.release, context.snapshot.spec
    assignment = {
        "plan": context.plan.metadata.name,
        "revision": context.revision,
        "ring": dispatch.ring,
        "version": release.version,
        "artifact": release.artifact or None,
        "content": release.content,
        "retain": spec.retain,
        "requires": _ranges(release),
    }
    windows = {
        Plane.FIRMWARE: spec.confirm_window.firmware,
        Plane.MODEL: spec.confirm_window.model,
        Plane.CONFIG: spec.confirm_window.config,
    }
    step = {
        "number": dispatch.number,
        "plane": release.plane.value,
        "type": dispatch.type.value,
        "issued": rfc3339(now),
        # A merge patch keeps what it does not name.
        "withdrawn": None,
        "attempt": dispatch.attempt if dispatch.attempt > 1 else None,
        "again": dispatch.again or None,
        "rehearsal": None if dispatch.drill is None else dispatch.drill.value,
    }
    probes = probes_for(device_class, context.snapshot.rules)
    desired = {
        release.plane.value: assignment,
        "step": step,
        "probes": [*probes, FAILS_ON_PURPOSE] if dispatch.drill is Drill.BREAK else probes,
        "window": windows[release.plane],
        "expires": rfc3339(dispatch.expires),
    }
    return {"metadata": {"resourceVersion": dispatch.resource_version}, "spec": {"desired": desired}}


def withdrawal_patch(withdraw: Withdraw) -> Json:
    """The merge patch that takes an order back; its number stays used."""
    return {
        "metadata": {"resourceVersion": withdraw.resource_version},
        "spec": {"desired": {"step": {"withdrawn": True}}},
    }


def hold_document(freeze: Freeze, context: Context) -> Json:
    """The hold that freezes a version: without owner or end, because only a person may lift a conviction."""
    origin = f"plan {context.plan.metadata.name}, revision {context.revision}"
    segment = freeze.segment
    scope = {} if segment is None else {"scope": {"selector": {"matchLabels": {segment.key: segment.value}}}}
    reason = f"{freeze.conviction}: {freeze.plane} {freeze.version} of {origin}: {freeze.evidence}"
    return {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": Hold.kind_name(),
        "metadata": {
            "name": freeze.hold_name,
            "namespace": context.namespace,
            "labels": {
                PLAN_LABEL: label_value(context.plan.metadata.name),
                CONVICTION_LABEL: freeze.conviction.value,
            },
        },
        "spec": {
            **scope,
            "versions": [{"plane": freeze.plane.value, "digest": freeze.content}],
            "reason": reason[:LONGEST_REASON],
        },
    }
