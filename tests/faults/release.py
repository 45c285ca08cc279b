"""A release for the fault tests: twelve devices in three rings, two planes that depend on each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from backstay.adapters.kube.client import CONTROLLER_REVISIONS, HOLDS, RELEASE_PLANS, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import Plan, cameras, plan, push, ring
from tests.faults.recount import Recount, Ring, recount
from tests.faults.scripted_devices import ScriptedDevices

Json = dict[str, Any]

DEVICES = tuple(f"cam-{number}" for number in range(12))
SOAK = timedelta(milliseconds=300)
# name, size, share of the ring that may be in flight; the sizes count the devices of earlier rings
SHAPE = (("canary", 2, "50%"), ("half", 6, "75%"), ("everyone", 12, "66%"))


def rings_of_the_plan() -> list[Json]:
    return [ring(name, size=size, inFlight=share, soak="300ms") for name, size, share in SHAPE]


def rings_of_the_recount() -> tuple[Ring, ...]:
    """The same rings, worked out by hand: how many are new in each, and how many of them may be in flight."""
    found, before = [], 0
    for name, size, share in SHAPE:
        own, before = size - before, size
        found.append(Ring(name, ceil(own * int(share[:-1]) / 100), needed=own, soak=SOAK))
    return tuple(found)


@dataclass
class Release:
    """One plan in a namespace of its own, with its devices; it pushes what it releases."""

    sandbox: Sandbox
    kube: KubeClient
    namespace: str
    directory: Path
    random: Random = field(default_factory=lambda: Random(0))
    counter: int = 0
    bad: set[str] = field(default_factory=set)
    """The contents that devices fell back from."""
    devices: Any = None
    """Who takes the release; without any, devices that speak to the API server themselves."""

    def __post_init__(self) -> None:
        if self.devices is None:
            self.devices = ScriptedDevices(self.kube, self.namespace, DEVICES, random=self.random)
        self.plan = Plan(self.kube, self.namespace, "vision")

    async def prepare(self) -> None:
        await cameras(self.kube, self.namespace)
        await self.devices.create()

    async def begin(self, fails_in: str = "") -> Json:
        """Ask for a new model and a config that needs it; devices of a ring may fall back from the model."""
        self.counter += 1
        version = f"{self.counter}.0.0"
        model = await push(self.sandbox, self.directory / self.namespace, Plane.MODEL, version)
        needs = {"model": f">={version}"}
        config = await push(self.sandbox, self.directory / self.namespace, Plane.CONFIG, version, **needs)
        if fails_in:
            self.devices.fails[model.content, fails_in] = "ProbeFailed: camera"
            self.bad.add(model.content)
        document = plan("vision", model, config, rings=rings_of_the_plan(), rollback={"verify": "300ms"})
        document["spec"]["stabilityWindow"] = "300ms"
        if self.counter == 1:
            await self.kube.create(RELEASE_PLANS, document, self.namespace)
        else:
            await self.plan.edit(versions=document["spec"]["versions"])
        return {"model": model.content, "config": config.content}

    async def ends(self, fails_in: str, contents: Mapping[str, str], seconds: float = 60) -> Json:
        """The plan's status, once the revision that was begun last has ended as it should."""
        phase = "RolledBack" if fails_in else "Succeeded"
        before = self.devices.running("model")

        def is_over(status: Json) -> bool:
            return status.get("phase") == phase and status.get("revision", "").endswith(f"-{self.counter}")

        status = await self.plan.until(is_over, seconds)
        runs = self.devices.running("model")
        if fails_in:
            assert contents["model"] not in runs, "a device still runs what was rolled back"
        else:
            assert runs == {contents["model"]}, before
            assert self.devices.running("config") == {contents["config"]}
        return status

    async def frozen(self) -> dict[str, set[str]]:
        """The contents that holds freeze, by plane; two holds on one content are a failure."""
        found: dict[str, set[str]] = {"model": set(), "config": set()}
        for hold in await self.kube.list(HOLDS, self.namespace):
            for version in hold["spec"]["versions"]:
                assert version["digest"] not in found[version["plane"]], "frozen twice"
                found[version["plane"]].add(version["digest"])
        return found

    async def revisions(self) -> list[int]:
        """The counters of the ControllerRevisions."""
        return sorted(found["revision"] for found in await self.kube.list(CONTROLLER_REVISIONS, self.namespace))

    async def pages(self) -> list[tuple[str, str]]:
        """Kind and revision of every page of this plan that Alertmanager knows of."""
        url = f"{self.sandbox.alertmanager_url}/api/v2/alerts"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            alerts = await answer.json()
        labels = [alert["labels"] for alert in alerts if alert["labels"].get("namespace") == self.namespace]
        return [(found["alertname"], found["revision"]) for found in labels]

    def proved(self) -> Recount:
        """The recount of this namespace by the API server's audit log, after it has found nothing wrong."""
        assert self.sandbox.audit_log is not None
        counted = recount(self.sandbox.audit_log, self.namespace, "vision", rings_of_the_recount())
        counted.holds()
        offered = self.devices.meanings
        assert all(len(meanings) == 1 for meanings in offered.values()), "a number had two meanings"
        assert offered.keys() <= {(order.device, order.number) for order in counted.orders}, (
            "an order is not in the log"
        )
        return counted
