"""A stage for the operator: the real process with its own identity, real artifacts, and devices that a test directs."""

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from backstay.adapters.kube.client import DEVICE_GROUPS, EDGE_DEVICES, HOLDS, RELEASE_PLANS, KubeClient, WatchExpired
from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.core.planes import Plane
from backstay.errors import NotFound, Unavailable
from backstay.ports.registry import ArtifactDescription, Repository
from backstay.sandbox import Sandbox

Json = dict[str, Any]

BACKSTAY = Path(sys.executable).with_name("backstay")
ADMINISTRATOR = "backstay-sandbox-admin"
"""Whom the API server takes the tests' own client for."""
OLD = {plane: f"sha256:{hashlib.sha256(f'factory {plane}'.encode()).hexdigest()}" for plane in Plane}


def stamp() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Operator:
    """A running operator process and what it has said."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    async def hears(self, words: str, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while words not in self.said:
                if self.process.returncode is not None:
                    raise AssertionError(f"the operator ended with {self.process.returncode}:\n{self.said}")
                await asyncio.sleep(0.05)

    async def ends(self, seconds: float = 20) -> int:
        async with asyncio.timeout(seconds):
            return await self.process.wait()


@asynccontextmanager
async def running_operator(
    sandbox: Sandbox,
    directory: Path,
    *options: str,
    kubeconfig: Path | None = None,
    prometheus: str | None = None,
    environment: dict[str, str] | None = None,
) -> AsyncIterator[Operator]:
    """Run `backstay operator run` with the operator's own identity until the block ends."""
    log = _new_log(directory)
    identity = kubeconfig or await sandbox.service_account_kubeconfig("backstay-system", "backstay-operator")
    arguments = [
        "operator", "run", "--kubeconfig", str(identity), "--prometheus", prometheus or sandbox.prometheus_url,
        "--alertmanager", sandbox.alertmanager_url, "--lease-duration", "2", *options,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            BACKSTAY, *arguments, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    operator = Operator(process, log)
    try:
        yield operator
    except BaseException as error:
        error.add_note(f"the operator said:\n{operator.said[-6000:]}")
        raise
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await operator.ends(15)
            except TimeoutError:
                process.kill()
                await process.wait()


def _new_log(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"operator-{len(list(directory.glob('operator-*.log')))}.log"


async def push(sandbox: Sandbox, directory: Path, plane: Plane, version: str, **requires: str) -> ArtifactDescription:
    """Put an artifact into the real registry."""
    artifact = _written(directory, plane, version, requires)
    async with aiohttp.ClientSession() as session:
        registry = OciRegistry(Transport(session))
        return await push_artifact(registry, Repository.parse(f"{sandbox.registry}/vision/{plane}"), artifact)


def _written(directory: Path, plane: Plane, version: str, requires: dict[str, str]) -> NewArtifact:
    directory.mkdir(parents=True, exist_ok=True)
    payload = directory / f"{plane}-{version}"
    schema = None
    if plane is Plane.CONFIG:
        payload.write_text(json.dumps({"version": version}))
        schema = directory / "schema.json"
        schema.write_text(json.dumps({"type": "object"}))
    else:
        payload.write_text(f"{plane} {version} for {directory}")
    return NewArtifact(plane, version, "esp32", payload, requires, schema)


@dataclass
class Devices:
    """Devices that do what they are told, as a bridge would report it, except where a test says otherwise."""

    kube: KubeClient
    namespace: str
    breaks: dict[str, str] = field(default_factory=dict)
    """Content digest → the reason with which a device falls back from it."""
    silent: set[str] = field(default_factory=set)
    """Devices that answer nothing."""
    seconds: float = 0.05
    """How long a step takes."""
    most_in_flight: int = 0
    orders: list[tuple[str, int, str, str, str]] = field(default_factory=list)
    """Name, number, type, plane and content of every order that was ever seen."""
    _open: set[str] = field(default_factory=set)
    _seen: set[tuple[str, int]] = field(default_factory=set)

    async def create(self, *names: str, **labels: str) -> None:
        for name in names:
            body = {
                "apiVersion": "backstay.dev/v1alpha1",
                "kind": "EdgeDevice",
                "metadata": {"name": name, "namespace": self.namespace, "labels": labels},
                "spec": {"class": "esp32", "gateway": "gw"},
            }
            await self.kube.create(EDGE_DEVICES, body, self.namespace)
            planes = {
                plane.value: {
                    "running": OLD[plane],
                    "version": "0.9.0",
                    "fallback": OLD[plane],
                    "fallbackVersion": "0.9.0",
                }
                for plane in Plane
            }
            await self._report(name, {"planes": planes, "conditions": [_reachable()], "health": {"state": "Healthy"}})

    async def run(self) -> None:
        """Obey until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                with suppress(WatchExpired, Unavailable):
                    items = await self.kube.list(EDGE_DEVICES, self.namespace)
                    for item in items:
                        self._look(item, tasks)
                    version = max((int(item["metadata"]["resourceVersion"]) for item in items), default=0)
                    async for event in self.kube.watch(EDGE_DEVICES, self.namespace, resource_version=str(version)):
                        if event.type in {"ADDED", "MODIFIED"}:
                            self._look(event.object, tasks)

    async def get(self, name: str) -> Json:
        return await self.kube.get(EDGE_DEVICES, name, self.namespace)

    async def running(self, plane: Plane) -> dict[str, str]:
        """What every device runs in a plane."""
        items = await self.kube.list(EDGE_DEVICES, self.namespace)
        return {item["metadata"]["name"]: item["status"]["planes"][plane]["running"] for item in items}

    def _look(self, item: Json, tasks: asyncio.TaskGroup) -> None:
        name, desired = item["metadata"]["name"], item["spec"].get("desired") or {}
        step = desired.get("step")
        if not step or step.get("withdrawn") or name in self.silent or (name, step["number"]) in self._seen:
            return
        self._seen.add((name, step["number"]))
        content = desired[step["plane"]]["content"]
        self.orders.append((name, step["number"], step["type"], step["plane"], content))
        self._open.add(name)
        self.most_in_flight = max(self.most_in_flight, len(self._open))
        tasks.create_task(self._obey(name, step, desired[step["plane"]], item["status"]["planes"][step["plane"]]))

    async def _obey(self, name: str, step: Json, wanted: Json, before: Json) -> None:
        plane, number = step["plane"], step["number"]
        await self._report(name, {"planes": {plane: {"state": "Downloading", "step": number, "since": stamp()}}})
        await asyncio.sleep(self.seconds)
        end: Json = {"state": "Confirmed", "step": number, "reason": "", "since": stamp()}
        if step.get("rehearsal") == "Break":
            end |= {"state": "RolledBack", "reason": "ProbeFailed: rehearsal"}
        elif wanted["content"] in self.breaks:
            end |= {"state": "RolledBack", "reason": self.breaks[wanted["content"]]}
        elif wanted["content"] != before["running"]:
            end |= {
                "running": wanted["content"], "version": wanted["version"],
                "fallback": before["running"], "fallbackVersion": before["version"],
            }  # fmt: skip
        self._open.discard(name)
        await self._report(name, {"planes": {plane: end}})

    async def _report(self, name: str, status: Json) -> None:
        with suppress(NotFound):
            await self.kube.merge_patch(EDGE_DEVICES, name, {"status": status}, self.namespace, subresource="status")


def _reachable() -> Json:
    return {"type": "Reachable", "status": "True", "reason": "Reporting", "lastTransitionTime": stamp()}


@asynccontextmanager
async def obeying(devices: Devices) -> AsyncIterator[Devices]:
    """Let devices obey until the block ends."""
    task = asyncio.create_task(devices.run())
    try:
        yield devices
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def ring(name: str, **fields: object) -> Json:
    return {"name": name, "soak": "1s", **fields}


def plan(name: str, *artifacts: ArtifactDescription, **spec: object) -> Json:
    """A plan over the group `cameras` with quick windows."""
    versions = {one.plane.value: {"version": one.version, "artifact": str(one.reference)} for one in artifacts}
    defaults: Json = {
        "groups": ["cameras"],
        "versions": versions,
        "rings": [ring("canary", size=1), ring("everyone", size="100%", inFlight="50%")],
        "rollback": {"verify": "1s"},
        "stabilityWindow": "1s",
    }
    return {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "ReleasePlan",
        "metadata": {"name": name},
        "spec": defaults | spec,
    }


async def cameras(kube: KubeClient, namespace: str) -> None:
    """The group of every camera."""
    body = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "DeviceGroup",
        "metadata": {"name": "cameras"},
        "spec": {"selector": {"matchLabels": {"kind": "camera"}}},
    }
    await kube.create(DEVICE_GROUPS, body, namespace)


@dataclass
class Plan:
    """A plan on the server."""

    kube: KubeClient
    namespace: str
    name: str

    async def get(self) -> Json:
        return await self.kube.get(RELEASE_PLANS, self.name, self.namespace)

    async def status(self) -> Json:
        found: Json = (await self.get()).get("status") or {}
        return found

    async def condition(self, kind: str) -> Json:
        conditions = (await self.status()).get("conditions", [])
        found: Json = next((one for one in conditions if one["type"] == kind), {})
        return found

    async def edit(self, **spec: object) -> None:
        await self.kube.merge_patch(RELEASE_PLANS, self.name, {"spec": spec}, self.namespace)

    async def ask(self, verb: str, ring: str = "-", *, revision: str | None = None, nonce: str = "1") -> str:
        """Ask something of the plan as the administrator, and return the request."""
        revision = revision or (await self.status())["revision"]
        request = f"{verb}@{revision}/{ring}/{nonce}"
        annotations = {"backstay.dev/request": request, "backstay.dev/requested-by": ADMINISTRATOR}
        await self.kube.merge_patch(
            RELEASE_PLANS, self.name, {"metadata": {"annotations": annotations}}, self.namespace
        )
        return request

    async def until(self, holds: Callable[[Json], bool], seconds: float = 30) -> Json:
        """The status, once it is so."""
        status: Json = {}
        try:
            async with asyncio.timeout(seconds):
                while not holds(status := await self.status()):
                    await asyncio.sleep(0.1)
        except TimeoutError as error:
            error.add_note(json.dumps(status, indent=1))
            raise
        return status

    async def reaches(self, phase: str, seconds: float = 30) -> Json:
        return await self.until(lambda status: status.get("phase") == phase, seconds)


async def holds(kube: KubeClient, namespace: str) -> list[Json]:
    return list(await kube.list(HOLDS, namespace))


async def applied(kube: KubeClient, namespace: str, document: dict[str, object]) -> Plan:
    """Create a plan, and follow it."""
    await kube.create(RELEASE_PLANS, document, namespace)
    return Plan(kube, namespace, str(document["metadata"]["name"]))  # type: ignore[index]
