"""Argo CD itself with our manifests: a release out of Git, as its page shows it and as people act on it there."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from backstay.adapters.kube.client import EDGE_DEVICES, RELEASE_PLANS, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.argocd.argo_stage import (
    APPLICATION_SETS,
    APPLICATIONS,
    NAMESPACE,
    ArgoCd,
    Repository,
    running_argo_cd,
)
from tests.cluster.conftest import ROOT, apply_ours
from tests.cluster.operator_stage import Devices, Plan, cameras, obeying, plan, push, ring, running_operator

Json = dict[str, Any]

TENANT = "acme"
EXAMPLES = ROOT / "manifests" / "argocd"
APPLICATION = "vision-releases"
IN_GIT = ("cam-0", "cam-1")
"""The devices that the repository holds; the third is none of its business."""
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can give Argo CD a network of its own"),
]


@dataclass
class Stage:
    """A fleet, an operator, Argo CD, and the repository from which it releases."""

    sandbox: Sandbox
    kube: KubeClient
    argo: ArgoCd
    fleet: Devices
    repository: Repository
    directory: Path

    def commit(self, message: str, vision: Json) -> str:
        """Commit the plan, beside two devices of the fleet, and give the commit."""
        devices = [device(name) for name in IN_GIT]
        return self.repository.commit(message, vision, *devices)

    @property
    def plan(self) -> Plan:
        return Plan(self.kube, TENANT, "vision")


async def is_ready(sandbox: Sandbox, name: str) -> None:
    """Say of a device what its bridge would."""
    since = "2026-01-01T00:00:00Z"
    said = {
        "Reachable": {"status": "True", "reason": "Reporting"},
        "Ready": {"status": "True", "reason": "UpToDate", "message": "it runs what it should"},
    }
    conditions = [{"type": kind, "lastTransitionTime": since, **one} for kind, one in said.items()]
    patch = json.dumps({"status": {"conditions": conditions}})
    words = ("patch", "edgedevice", name, "-n", TENANT, "--subresource=status", "--type=merge", "-p", patch)
    await sandbox.kubectl(*words)


def device(name: str) -> Json:
    return {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "EdgeDevice",
        "metadata": {"name": name, "labels": {"kind": "camera"}},
        "spec": {"class": "esp32", "gateway": "gw"},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """All of it in a sandbox of this module's own: Argo CD's kinds and its namespace are nobody else's."""
    directory = tmp_path_factory.mktemp("argo")
    processes = tmp_path_factory.mktemp("argo-cd")
    async with (
        Sandbox.start(directory / "sandbox", audit=False) as sandbox,
        KubeClient.connect(sandbox.kubeconfig) as kube,
    ):
        await apply_ours(sandbox)
        await sandbox.kubectl("create", "namespace", TENANT)
        fleet = Devices(kube, TENANT)
        await cameras(kube, TENANT)
        await fleet.create(*(f"cam-{number}" for number in range(3)), kind="camera")
        for name in IN_GIT:
            await is_ready(sandbox, name)
        async with (
            obeying(fleet),
            running_operator(sandbox, directory / "operator"),
            running_argo_cd(sandbox, kube, processes) as argo,
        ):
            for manifest in ("argocd-cm.yaml", "actions-rbac.yaml"):
                await sandbox.kubectl("apply", "--server-side", "-f", str(EXAMPLES / manifest))
            yield Stage(sandbox, kube, argo, fleet, Repository(directory / "releases"), directory)


def example(name: str, repository: Repository) -> Json:
    """An example, with this repository in place of the one that it names."""
    text = (EXAMPLES / name).read_text()
    return dict(yaml.safe_load(text.replace("https://git.example/acme/releases.git", repository.url)))


async def test_application_shows_a_release_from_git_and_lets_people_act(stage: Stage) -> None:
    argo, vision = stage.argo, stage.plan
    model = await push(stage.sandbox, stage.directory / "1", Plane.MODEL, "1.0.0")
    rings = [ring("canary", size=1, soak="6s"), ring("everyone", size="100%", inFlight="100%", approval="Manual")]
    stage.commit("Release model 1.0.0", plan("vision", model, rings=rings))
    await stage.kube.create(APPLICATIONS, example("application.yaml", stage.repository), NAMESPACE)

    soaks = await argo.shows(
        APPLICATION, lambda _, health: health.get("message", "").startswith("Soaking, ring canary: ")
    )
    assert soaks["status"] == "Progressing"
    waits = await argo.shows(APPLICATION, lambda _, health: "WaitingForApproval" in health.get("message", ""))
    assert waits["status"] == "Progressing"

    await argo.act(APPLICATION, "approve", "vision", TENANT)
    await vision.reaches("Succeeded")
    await argo.shows(APPLICATION, in_state("Synced", "Healthy"))
    assert (await vision.status())["requestAnswer"]["reason"] == "Approved"

    assert await history(argo) == 1, "nothing that the operator wrote was put back"
    for name in IN_GIT:
        found = await stage.kube.get(EDGE_DEVICES, name, TENANT)
        assert found["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"].startswith(APPLICATION)
        assert found["spec"]["desired"]["model"]["version"] == "1.0.0"


async def test_application_is_suspended_while_somebody_or_git_has_paused_the_plan(stage: Stage) -> None:
    argo, (found, *_) = stage.argo, await stage.kube.list(RELEASE_PLANS, TENANT)
    await argo.act(APPLICATION, "pause", "vision", TENANT)
    await argo.shows(APPLICATION, in_state("Synced", "Suspended"))
    assert await history(argo) == 1, "what somebody paused is not undone"
    await argo.act(APPLICATION, "resume", "vision", TENANT)
    await argo.shows(APPLICATION, in_state("Synced", "Healthy"))

    vision = {key: found[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "vision"}}
    stage.commit("Pause", vision | {"spec": found["spec"] | {"paused": True}})
    await argo.shows(APPLICATION, in_state("Synced", "Suspended"))
    assert await history(argo) == 2


async def test_application_is_degraded_and_synced_when_a_bad_release_has_gone_back(stage: Stage) -> None:
    bad = await push(stage.sandbox, stage.directory / "2", Plane.MODEL, "2.0.0")
    stage.fleet.breaks[bad.content] = "ProbeFailed: inference"
    stage.commit("Release model 2.0.0", plan("vision", bad))
    shown = await stage.argo.shows(APPLICATION, lambda _, health: health.get("message", "").startswith("RolledBack: "))
    assert shown["status"] == "Degraded"
    await stage.argo.shows(APPLICATION, in_state("Synced", "Degraded"))
    assert await history(stage.argo) == 3, "Git still names the bad version, and nothing fights over it"
    for name in IN_GIT:
        found = await stage.kube.get(EDGE_DEVICES, name, TENANT)
        argo_cds = [one for one in found["metadata"]["managedFields"] if one["manager"] == "argocd-controller"]
        assert argo_cds
        assert "f:desired" not in json.dumps(argo_cds), "orders are the operator's alone"


async def test_application_set_keeps_a_bad_release_of_the_canary_cell_from_the_next(stage: Stage) -> None:
    # The tenant's objects stay, and become the canary cell's.
    await stage.kube.delete(APPLICATIONS, APPLICATION, NAMESPACE)
    token = await cluster_token(stage.sandbox)
    for name, cell, server in (
        ("eu-1", "canary", stage.sandbox.api_url),
        ("eu-2", "everyone", stage.sandbox.api_url.replace("127.0.0.1", "localhost")),
    ):
        await stage.sandbox.apply(json.dumps(cluster(name, cell, server, token, stage.sandbox.ca)))
    await stage.kube.create(APPLICATION_SETS, example("applicationset.yaml", stage.repository), NAMESPACE)

    async with asyncio.timeout(60):
        while len(made := await stage.kube.list(APPLICATIONS, NAMESPACE)) < 2:
            await asyncio.sleep(0.2)
    assert {one["metadata"]["name"]: one["metadata"]["labels"]["cell"] for one in made} == {
        "vision-eu-1": "canary",
        "vision-eu-2": "everyone",
    }
    await stage.argo.shows("vision-eu-1", in_state("Synced", "Degraded"))
    second = (await stage.argo.application("vision-eu-2"))["status"]
    assert "history" not in second, "the second cell has not been given what the first could not bear"


async def history(argo: ArgoCd) -> int:
    """How often Argo CD has written."""
    return len((await argo.application(APPLICATION))["status"]["history"])


def in_state(sync: str, health: str) -> Any:
    def look(status: Json, _: Json) -> bool:
        return (status.get("sync", {}).get("status"), status.get("health", {}).get("status")) == (sync, health)

    return look


async def cluster_token(sandbox: Sandbox) -> str:
    """What Argo CD's controller is known by in the cells, which here are all the same cluster."""
    written = await sandbox.service_account_kubeconfig(NAMESPACE, "argocd-application-controller")
    return str(yaml.safe_load(written.read_text())["users"][0]["user"]["token"])


def cluster(name: str, cell: str, server: str, token: str, ca: Path) -> Json:
    """A cluster as Argo CD knows it."""
    authority = base64.b64encode(ca.read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"cluster-{name}",
            "namespace": NAMESPACE,
            "labels": {"argocd.argoproj.io/secret-type": "cluster", "backstay.dev/cell": cell},
        },
        "stringData": {
            "name": name,
            "server": server,
            "config": json.dumps({"bearerToken": token, "tlsClientConfig": {"caData": authority}}),
        },
    }
