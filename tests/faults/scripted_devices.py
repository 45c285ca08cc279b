"""Devices that a test writes the script of: they report to the API server what a bridge would report of them."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.errors import NotFound, Unavailable

Json = dict[str, Any]

FACTORY = {plane: f"sha256:{hashlib.sha256(plane.encode()).hexdigest()}" for plane in ("firmware", "model", "config")}
CAMERA = {"kind": "camera"}
RETRY_SECONDS = 0.2


@dataclass
class ScriptedDevices:
    """Some devices of one namespace: each does one step at a time, in the order in which it was told."""

    kube: KubeClient
    namespace: str
    names: Sequence[str]
    step_seconds: tuple[float, float] = (0.05, 0.1)
    random: Random = field(default_factory=lambda: Random(0))
    fails: dict[tuple[str, str], str] = field(default_factory=dict)
    """(content, ring) → the reason with which every device of that ring falls back from that content."""
    lies: set[str] = field(default_factory=set)
    """Contents of which devices say that they confirmed them, while they still run something else."""
    meanings: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    """Every content that a device was ever offered under a number."""
    _flash: dict[str, dict[str, Json]] = field(default_factory=dict)
    _told: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _done: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _one_at_a_time: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def in_flight(self) -> int:
        """How many devices have a step that they have not answered yet."""
        return sum(self._told[name] > self._done[name] for name in self.names)

    def running(self, plane: str) -> set[str]:
        """What the devices run in a plane."""
        return {self._flash[name][plane]["running"] for name in self.names}

    async def create(self) -> None:
        """Put the devices on the server, as they left the factory."""
        async with asyncio.TaskGroup() as tasks:
            for name in self.names:
                tasks.create_task(self._create(name))

    @asynccontextmanager
    async def obeying(self) -> AsyncIterator[None]:
        """Let them do what they are told until the block ends."""
        task = asyncio.create_task(self._obey())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _create(self, name: str) -> None:
        body = {
            "apiVersion": "backstay.dev/v1alpha1",
            "kind": "EdgeDevice",
            "metadata": {"name": name, "labels": CAMERA},
            "spec": {"class": "esp32", "gateway": "gw"},
        }
        await self.kube.create(EDGE_DEVICES, body, self.namespace)
        self._flash[name] = {plane: {"running": content, "version": "0.9.0"} for plane, content in FACTORY.items()}
        reachable = {"type": "Reachable", "status": "True", "reason": "Reporting", "lastTransitionTime": now()}
        planes = {plane: dict(found) for plane, found in self._flash[name].items()}
        await self._report(name, {"planes": planes, "health": {"state": "Healthy"}, "conditions": [reachable]})

    async def _obey(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    items = await self.kube.list(EDGE_DEVICES, self.namespace)
                    for item in items:
                        self._look(item, tasks)
                    version = max((int(item["metadata"]["resourceVersion"]) for item in items), default=0)
                    async for event in self.kube.watch(EDGE_DEVICES, self.namespace, resource_version=str(version)):
                        if event.type == "MODIFIED":
                            self._look(event.object, tasks)
                except Unavailable:
                    await asyncio.sleep(RETRY_SECONDS)

    def _look(self, item: Json, tasks: asyncio.TaskGroup) -> None:
        name, desired = item["metadata"]["name"], item["spec"].get("desired") or {}
        step = desired.get("step")
        if not step or step.get("withdrawn"):
            return
        wanted = desired[step["plane"]]
        self.meanings[name, step["number"]].add(f"{step['type']} {step['plane']} {wanted['content']}")
        if step["number"] > self._told[name]:
            self._told[name] = step["number"]
            tasks.create_task(self._carry_out(name, step, wanted))

    async def _carry_out(self, name: str, step: Json, wanted: Json) -> None:
        plane, number = step["plane"], step["number"]
        async with self._one_at_a_time[name]:
            await self._report(name, {"planes": {plane: {"state": "Downloading", "step": number, "since": now()}}})
            await asyncio.sleep(self.random.uniform(*self.step_seconds))
            state, reason = "Confirmed", ""
            if why := self.fails.get((wanted["content"], wanted["ring"])):
                state, reason = "RolledBack", why
            elif wanted["content"] not in self.lies:
                self._run(name, plane, wanted)
            end = {"state": state, "step": number, "reason": reason, "since": now(), **self._flash[name][plane]}
            self._done[name] = number
            await self._report(name, {"planes": {plane: end}})

    def _run(self, name: str, plane: str, wanted: Json) -> None:
        before = self._flash[name][plane]
        if wanted["content"] != before["running"]:
            self._flash[name][plane] = {
                "running": wanted["content"], "version": wanted.get("version", ""),
                "fallback": before["running"], "fallbackVersion": before["version"],
            }  # fmt: skip

    async def _report(self, name: str, status: Json) -> None:
        """Say it until it is heard, as a bridge does; a device that was deleted says nothing."""
        while True:
            try:
                await self.kube.merge_patch(
                    EDGE_DEVICES, name, {"status": status}, self.namespace, subresource="status"
                )
            except NotFound:
                return
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
