"""The agent is killed at every step of its journal, its installers and its writes; the node has one of two versions.

It is the process that users start, with a node's own certificate. What it has said is judged by the audit log.
"""

import asyncio
import hashlib
import signal
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.failpoints import AGENT, VARIABLE
from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.agent.assembly import FILES
from backstay.agent.journal import Journal
from backstay.core.planes import Plane
from backstay.core.safe_mode import Starts
from backstay.ports.registry import ArtifactDescription
from backstay.sandbox import Sandbox
from tests.cluster.agent_process import Installation
from tests.cluster.agent_stage import push_for_node
from tests.cluster.test_agent import DEVICE, appoint
from tests.faults.test_bridge_kills import answers_written

Json = dict[str, Any]

PASSES = {"name": "memory", "kind": "MemoryHeadroom", "min": "1Mi"}
FAILS = {"name": "rehearsal", "kind": "FailOnPurpose"}
OF_A_FALL = ("before-fall-back", "after-fall-back")
SAMPLE = ("after-keep:2", "before-switch:1", "after-status-write:2")
"""Begun and not carried out; about to change the place; answered and not known to be."""


@dataclass
class Box:
    """A node that is ordered one model after another."""

    sandbox: Sandbox
    kube: KubeClient
    namespace: str
    installation: Installation
    directory: Path
    number: int = 0
    runs: str = ""
    """The content that the last step left."""

    async def order(self, probe: Json) -> ArtifactDescription:
        """Order a model that was never here."""
        self.number += 1
        model = await push_for_node(self.sandbox, self.directory / self.namespace, Plane.MODEL, f"{self.number}.0.0")
        now = datetime.now(UTC)
        assignment = {"plan": "vision", "revision": "3f9c2a1b-2", "ring": "canary", "version": model.version}
        desired = {
            "model": assignment | {"artifact": str(model.reference), "content": model.content},
            "step": {"number": self.number, "plane": "model", "type": "Install", "issued": now.isoformat()},
            "probes": [probe],
            "window": "1s" if probe is FAILS else "30s",
            "expires": (now + timedelta(minutes=10)).isoformat(),
        }
        await self.kube.merge_patch(EDGE_DEVICES, DEVICE, {"spec": {"desired": desired}}, self.namespace)
        return model

    async def lives_through(self, failpoint: str, probe: Json) -> bool:
        """Take a step in which the agent is killed at a place, and go on; False if the step never comes there."""
        model = await self.order(probe)
        killed = await self._killed(failpoint)
        there = self.content()
        assert there in {self.runs, model.content}, "neither the one version nor the other"
        Journal(self.installation.data / "state").read()
        if killed:
            async with self.installation.running():
                await self._answered()
        found = (await self._model())["state"]
        assert found == ("RolledBack" if probe is FAILS else "Confirmed"), failpoint
        wanted = self.runs if probe is FAILS else model.content
        assert self.content() == (await self._model()).get("running", "") == wanted, failpoint
        self.runs = wanted
        self._forget_starts()
        return killed

    def _forget_starts(self) -> None:
        """As if each agent had gone on for long: after so many that came to nothing the node would be in safe mode."""
        journal = Journal(self.installation.data / "state")
        journal.keep(replace(journal.read(), starts=Starts()))

    def content(self) -> str:
        """What whoever uses the model reads now."""
        path = self.installation.data / "model" / "current" / "current" / FILES[Plane.MODEL]
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" if path.exists() else ""

    async def _killed(self, failpoint: str) -> bool:
        process = await self.installation.start(**{VARIABLE: failpoint})
        dies = asyncio.create_task(process.wait())
        answers = asyncio.create_task(self._answered())
        await asyncio.wait((dies, answers), return_when=asyncio.FIRST_COMPLETED)
        # What follows the answer at once still belongs to the step.
        await asyncio.wait((dies,), timeout=1)
        answers.cancel()
        if not dies.done():
            process.send_signal(signal.SIGTERM)
            assert await dies == 0, self.installation.log.read_text()
            return False
        assert dies.result() == -signal.SIGKILL, self.installation.log.read_text()
        return True

    async def _answered(self) -> None:
        async with asyncio.timeout(30):
            while True:
                found = await self._model()
                if found.get("step") == self.number and found.get("state") in {"Confirmed", "RolledBack", "Failed"}:
                    return
                await asyncio.sleep(0.05)

    async def _model(self) -> Json:
        status = (await self.kube.get(EDGE_DEVICES, DEVICE, self.namespace)).get("status", {})
        found: Json = status.get("planes", {}).get("model", {})
        return found

    def answered_once(self) -> None:
        """Each step was begun once and answered once, by what the API server was sent."""
        written = answers_written(self.sandbox, self.namespace)
        assert len(written) == self.number
        for step, states in written.items():
            assert states in (["Downloading", "Confirmed"], ["Downloading", "RolledBack"]), (step, states)


@pytest.fixture
async def box(sandbox: Sandbox, kube: KubeClient, namespaces: tuple[str, str], tmp_path: Path) -> Box:
    namespace = namespaces[0]
    (tmp_path / "box").mkdir()
    node = f"box-{namespace}"
    await appoint(sandbox, kube, namespace, DEVICE, node)
    installation = Installation(tmp_path / "box", sandbox.node_kubeconfig(node), namespace, DEVICE)
    return Box(sandbox, kube, namespace, installation, tmp_path)


async def test_node_has_one_of_two_versions_and_answers_once_when_its_agent_is_killed(box: Box) -> None:
    for failpoint in SAMPLE:
        assert await box.lives_through(failpoint, PASSES), failpoint
    assert await box.lives_through("after-fall-back:1", FAILS)
    box.answered_once()


@pytest.mark.sweep
@pytest.mark.timeout(600)
@pytest.mark.parametrize("probe", [PASSES, FAILS], ids=["confirmed", "taken-back"])
async def test_node_has_one_of_two_versions_wherever_its_agent_is_killed(box: Box, probe: Json) -> None:
    await box.lives_through("before-keep:1000", PASSES)
    died = set()
    for place in AGENT:
        passage = 1
        while await box.lives_through(f"{place}:{passage}", probe):
            died.add(place)
            passage += 1
    never = {"before-confirm", "after-confirm"} if probe is FAILS else set(OF_A_FALL)
    assert died == set(AGENT) - never
    box.answered_once()
