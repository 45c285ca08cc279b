"""What goes wrong around a release: each error has a clear message, and nothing is lost by it.

Here are those that need everything together. A registry that is down, an artifact that is missing, and what
devices may send to a bridge are in the tests of the operator and of the bridge.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backstay.adapters.kube.client import EDGE_DEVICES, HEALTH_RULES, RELEASE_PLANS, KubeClient, Resource
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import Operator, Plan, cameras, holds, plan, push, ring, running_operator
from tests.cluster.test_bridge import OLD, Device, Process, device_of, running_bridge
from tests.cluster.test_bridge import session as session  # noqa: PLC0414 - a fixture
from tests.cluster.test_bridge import tenant as tenant  # noqa: PLC0414 - a fixture
from tests.faults.release import Release
from tests.faults.scripted_devices import CAMERA, ScriptedDevices

Json = dict[str, Any]

FAILED, LOST_LEADERSHIP = 1, 3
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")


@pytest.fixture
async def devices(kube: KubeClient, namespace: str) -> AsyncIterator[ScriptedDevices]:
    found = ScriptedDevices(kube, namespace, [f"cam-{number}" for number in range(6)])
    await cameras(kube, namespace)
    await found.create()
    async with found.obeying():
        yield found


async def applied(kube: KubeClient, namespace: str, document: Json) -> Plan:
    await kube.create(RELEASE_PLANS, document, namespace)
    return Plan(kube, namespace, "vision")


async def failing(operator: Operator) -> str:
    """The words with which an operator ends that cannot work."""
    assert await operator.ends(40) == FAILED
    assert "Traceback" not in operator.said
    _, error, words = operator.said.rpartition("error: ")
    assert error, operator.said
    return words


KUBECONFIGS = {
    "not there": None,
    "not YAML": "clusters: [",
    "empty": "",
    "without a context": "apiVersion: v1\nkind: Config\nclusters: []\n",
    "with rubbish for a certificate": """
        apiVersion: v1
        kind: Config
        current-context: here
        contexts: [{name: here, context: {cluster: here, user: me}}]
        clusters: [{name: here, cluster: {server: "https://127.0.0.1:1", certificate-authority-data: cnViYmlzaA==}}]
        users: [{name: me, user: {token: abc}}]
    """,
}


@pytest.mark.parametrize("content", KUBECONFIGS.values(), ids=KUBECONFIGS.keys())
async def test_operator_names_the_kubeconfig_when_it_is(sandbox: Sandbox, tmp_path: Path, content: str | None) -> None:
    kubeconfig = tmp_path / "bad.kubeconfig"
    if content is not None:
        kubeconfig.write_text(content)
    async with running_operator(sandbox, tmp_path, kubeconfig=kubeconfig) as operator:
        assert str(kubeconfig) in await failing(operator)


async def test_operator_says_which_right_it_lacks_and_where_to_get_it_when_it_has_none(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}
    await kube.create(SERVICE_ACCOUNTS, account, namespace)
    nobody = await sandbox.service_account_kubeconfig(namespace, "nobody")
    async with running_operator(sandbox, tmp_path, kubeconfig=nobody) as operator:
        line = await failing(operator)
    assert f'User "system:serviceaccount:{namespace}:nobody" cannot get resource "leases"' in line
    assert "manifests/" in line


async def test_operator_loses_nothing_when_a_right_is_taken_away_for_a_while(
    sandbox: Sandbox, kube: KubeClient, namespace: str, devices: ScriptedDevices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path) as operator:
        await operator.hears("reconciling")
        role = json.loads(await sandbox.kubectl("get", "clusterrole", "backstay-operator", "-o", "json"))
        may_order = {"apiGroups": ["backstay.dev"], "resources": ["edgedevices"], "verbs": ["patch"]}
        without = {"rules": [rule for rule in role["rules"] if rule != may_order]}
        assert len(without["rules"]) == len(role["rules"]) - 1
        await sandbox.kubectl("patch", "clusterrole", "backstay-operator", "--type=merge", "-p", json.dumps(without))
        try:
            vision = await applied(kube, namespace, plan("vision", model))
            await vision.until(lambda status: status.get("phase") == "Rolling")
            await operator.hears("grant it with the roles in manifests/")
            stalled = await until_condition(vision, "Stalled", "True")
            assert 'cannot patch resource "edgedevices"' in stalled["message"]
        finally:
            rules = json.dumps({"rules": role["rules"]})
            await sandbox.kubectl("patch", "clusterrole", "backstay-operator", "--type=merge", "-p", rules)
        # What was refused is tried again after half a minute, or when anything changes.
        await kube.merge_patch(
            RELEASE_PLANS, "vision", {"metadata": {"annotations": {"example.com/seen": "yes"}}}, namespace
        )
        await vision.reaches("Succeeded", 60)
    assert devices.running("model") == {model.content}


async def until_condition(vision: Plan, kind: str, status: str, seconds: float = 30) -> Json:
    async with asyncio.timeout(seconds):
        while (found := await vision.condition(kind)).get("status") != status:
            await asyncio.sleep(0.1)
    return found


async def pages(sandbox: Sandbox, namespace: str) -> dict[str, str]:
    """The pages that Alertmanager shows of a namespace, with their words."""
    url = f"{sandbox.alertmanager_url}/api/v2/alerts"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        found = await answer.json()
    own = (alert for alert in found if alert["labels"].get("namespace") == namespace)
    return {alert["labels"]["alertname"]: alert["annotations"]["summary"] for alert in own}


async def until_paged(sandbox: Sandbox, namespace: str, name: str) -> str:
    """The words of a page, once Alertmanager shows it: what happened is on record first."""
    async with asyncio.timeout(20):
        while name not in (found := await pages(sandbox, namespace)):
            await asyncio.sleep(0.2)
    return found[name]


async def test_ring_never_passes_and_people_are_paged_while_prometheus_is_down(
    sandbox: Sandbox, kube: KubeClient, namespace: str, devices: ScriptedDevices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    signals = [
        {"name": "lamp", "blames": ["model"], "query": "count(backstay_device_info{${scope}}) or vector(1)", "max": "2"}
    ]
    rule = {"interval": "1s", "signals": signals}
    body = {"apiVersion": "backstay.dev/v1alpha1", "kind": "HealthRule", "metadata": {"name": "lamp"}, "spec": rule}
    await kube.create(HEALTH_RULES, body, namespace)
    async with running_operator(sandbox, tmp_path) as operator:
        await operator.hears("reconciling")
        await sandbox.stop("prometheus")
        try:
            vision = await applied(kube, namespace, plan("vision", model, health=["lamp"]))
            stalled = await until_condition(vision, "Stalled", "True")
            assert stalled["reason"] == "ProviderError"
            assert f"Prometheus at {sandbox.prometheus_url} did not answer" in stalled["message"]
            # The soak is one second; the ring must not pass in three.
            await asyncio.sleep(3)
            status = await vision.status()
            assert (status["phase"], status["ring"]) == ("Soaking", "canary")
            assert status["rings"][0]["verdict"] == "ProviderError"
            assert [found["started"] for found in status["rings"]] == [1, 0]
            assert "nothing is promoted" in (await pages(sandbox, namespace))["BackstayProviderError"]
        finally:
            await sandbox.start_component("prometheus")
        await vision.reaches("Succeeded", 60)
    assert devices.running("model") == {model.content}
    assert "BackstayRollingBack" not in await pages(sandbox, namespace)
    assert await holds(kube, namespace) == []


@contextmanager
def altered(sandbox: Sandbox, digest: str) -> Iterator[None]:
    """Let the registry's storage hold another version number under a digest until the block ends."""
    name = digest.removeprefix("sha256:")
    file = sandbox.directory / "data/registry/docker/registry/v2/blobs/sha256" / name[:2] / name / "data"
    before = file.read_bytes()
    assert b"1.0.0" in before
    file.write_bytes(before.replace(b"1.0.0", b"1.0.1"))
    try:
        yield
    finally:
        file.write_bytes(before)


async def test_plan_ships_nothing_and_says_why_while_its_manifest_is_altered_in_the_registry(
    sandbox: Sandbox, kube: KubeClient, namespace: str, devices: ScriptedDevices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        with altered(sandbox, model.reference.digest):
            vision = await applied(kube, namespace, plan("vision", model))
            accepted = await until_condition(vision, "Accepted", "False")
            assert accepted["reason"] == "ArtifactUnresolved"
            assert "altered" in accepted["message"]
            assert model.reference.digest in accepted["message"]
            assert not devices.meanings
        await vision.reaches("Succeeded", 60)
    assert devices.running("model") == {model.content}


@pytest.fixture
async def bridge(sandbox: Sandbox, namespace: str, tenant: bytes, tmp_path: Path) -> AsyncIterator[Process]:
    async with running_bridge(sandbox, namespace, tmp_path) as process:
        yield process


@pytest.fixture
async def camera(
    bridge: Process, session: aiohttp.ClientSession, kube: KubeClient, namespace: str, tenant: bytes
) -> Device:
    """A device behind a real bridge, which a plan's group selects."""
    await cameras(kube, namespace)
    device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
    await kube.merge_patch(EDGE_DEVICES, "cam-1", {"metadata": {"labels": CAMERA}}, namespace)
    assert await device.health(OLD) == 200
    return device


def alone(model: Any) -> Json:
    return plan("vision", model, rings=[ring("everyone", size="100%")])


async def test_device_gets_no_byte_while_its_artifact_is_altered_in_the_registry(
    sandbox: Sandbox, kube: KubeClient, namespace: str, bridge: Process, camera: Device, tmp_path: Path
) -> None:
    config = await push(sandbox, tmp_path, Plane.CONFIG, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        with altered(sandbox, config.content):
            vision = await applied(kube, namespace, alone(config))
            await vision.until(lambda status: (status.get("rings") or [{}])[0].get("inFlight") == 1)
            for _ in range(3):
                await asyncio.sleep(0.5)
                assert "deploymentBase" not in await camera.links()
            said = bridge.log.read_text()
            assert "altered in the registry or on the way; delete it there and push it again" in said
            assert config.content in said
        await camera.offered(seconds=30)
        await confirm(camera, 1, config.content)
        await vision.reaches("Succeeded")


async def confirm(device: Device, number: int, running: str) -> None:
    assert await device.feedback(number, "proceeding") == 200
    assert await device.health(running) == 200
    assert await device.feedback(number, "closed", "success") == 200


async def test_device_that_lies_about_its_version_fails_the_ring_when_it_claims_success(
    sandbox: Sandbox, kube: KubeClient, namespace: str, bridge: Process, camera: Device, tmp_path: Path
) -> None:
    config = await push(sandbox, tmp_path, Plane.CONFIG, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, alone(config))
        await camera.offered()
        await confirm(camera, 1, OLD)
        status = await vision.reaches("RolledBack")
        words = await until_paged(sandbox, namespace, "BackstayRolledBack")
    assert (status["rings"][0]["confirmed"], status["rings"][0]["failed"]) == (0, 1)
    assert status["summary"]["confirmed"] == "0/1"
    assert f"config DigestMismatch: the device reports that it runs {OLD[:19]} (1)" in status["culprit"]["reason"]
    assert "DigestMismatch" in words


async def test_liar_is_not_counted_as_confirmed_when_even_its_status_claims_it(
    sandbox: Sandbox, kube: KubeClient, namespace: str, devices: ScriptedDevices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    devices.lies.add(model.content)
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model))
        status = await vision.reaches("RolledBack")
    assert [(found["confirmed"], found["failed"]) for found in status["rings"]] == [(0, 1), (0, 0)]
    assert len(devices.meanings) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_rollout_ends_once_when_the_api_server_is_restarted_in_the_middle(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path, number: signal.Signals
) -> None:
    release = Release(sandbox, kube, namespace, tmp_path)
    await release.prepare()
    async with release.devices.obeying(), running_operator(sandbox, tmp_path) as first:
        wanted = await release.begin()
        await release.plan.until(lambda status: status.get("ring") == "half")
        sandbox.send("kube-apiserver", number)
        await sandbox.stop("kube-apiserver")
        await first.hears("the API server at")
        await sandbox.start_component("kube-apiserver")
        # It cannot renew its lease meanwhile; whatever keeps processes running starts it again.
        ended = asyncio.create_task(first.process.wait())
        over = asyncio.create_task(release.ends("", wanted))
        await asyncio.wait((ended, over), return_when=asyncio.FIRST_COMPLETED)
        if not over.done():
            assert ended.result() == LOST_LEADERSHIP
            assert "lost leadership: lease backstay-system/backstay-operator could not be renewed" in first.said
            async with running_operator(sandbox, tmp_path):
                await over
        await over
        ended.cancel()
    assert len(release.proved().orders) == 2 * len(release.devices.names)
