"""The bridge as a process with its own identity, against a real API server and a real registry."""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backstay.adapters.kube.client import DEVICE_GROUPS, EDGE_DEVICES, HOLDS, SECRETS, KubeClient
from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.bridge.tokens import gateway_token, target_token
from backstay.core.planes import Plane
from backstay.errors import Forbidden
from backstay.ports.registry import ArtifactDescription, Repository
from backstay.sandbox import Sandbox
from demo.processes import free_port
from tests.bridge.certificates import Authority

ROOT = Path(__file__).parents[2]
BACKSTAY = (sys.executable, "-c", "from backstay.cli.main import main; main()")
GATEWAY = "gw-eu"
OLD = f"sha256:{'0' * 64}"

Json = dict[str, Any]


@dataclass
class Process:
    """A bridge that runs, and where it listens."""

    process: asyncio.subprocess.Process
    url: str
    log: Path


@dataclass
class Device:
    """A scripted DDI client: it says what it is told to."""

    session: aiohttp.ClientSession
    bridge: str
    tenant: str
    name: str
    token: str

    @property
    def base(self) -> str:
        return f"{self.bridge}/{self.tenant}/controller/v1/{self.name}"

    async def ask(self, method: str, url: str, **options: Any) -> tuple[int, bytes, Any]:
        headers = {"Authorization": f"TargetToken {self.token}"} | options.pop("headers", {})
        url = url if url.startswith("http") else f"{self.base}{url}"
        async with self.session.request(method, url, headers=headers, **options) as response:
            return response.status, await response.read(), response.headers

    async def links(self) -> dict[str, str]:
        status, body, _ = await self.ask("GET", "")
        assert status == 200, body
        return {name: link["href"] for name, link in json.loads(body)["_links"].items()}

    async def offered(self, link: str = "deploymentBase", seconds: float = 10.0) -> str:
        """The link, once a poll carries it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := (await self.links()).get(link):
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"{self.name} was not offered {link} within {seconds} s")

    async def health(self, running: str, fallback: str = OLD, **more: Any) -> int:
        config = {"running": running, "version": "9.9.9", "fallback": fallback}
        body = {"planes": {"config": config}, "agent": "scripted/1", "interval": 1.0, **more}
        return (await self.ask("POST", "/health", json=body))[0]

    async def feedback(self, number: int, execution: str, finished: str = "none", *details: str) -> int:
        status = {"execution": execution, "result": {"finished": finished}, "details": list(details)}
        path = f"/deploymentBase/{number}/feedback"
        return (await self.ask("POST", path, json={"id": str(number), "status": status}))[0]


@pytest.fixture
async def artifact(sandbox: Sandbox, tmp_path: Path) -> ArtifactDescription:
    """A config in the registry that no other test has."""
    payload = tmp_path / "config.json"
    payload.write_text(json.dumps({"threshold": 0.5, "padding": secrets.token_hex(50_000)}))
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}))
    async with aiohttp.ClientSession() as session:
        registry = OciRegistry(Transport(session))
        repository = Repository.parse(f"{sandbox.registry}/bridge/config")
        config = NewArtifact(Plane.CONFIG, "3.1.0", "esp32", payload, {"model": ">=1.0.0"}, schema)
        return await push_artifact(registry, repository, config)


@pytest.fixture
async def tenant(sandbox: Sandbox, kube: KubeClient, namespace: str) -> bytes:
    """The namespace made ready for a bridge; gives the tenant's key."""
    key = secrets.token_bytes(32)
    data = {"key": base64.b64encode(key).decode()}
    await kube.create(
        SECRETS,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backstay-tenant-key"}, "data": data},
        namespace,
    )
    text = (ROOT / "manifests/tenant/bridge-rbac.yaml").read_text()
    await sandbox.apply(text.replace("TENANT", namespace).replace("GATEWAY", GATEWAY))
    return key


@asynccontextmanager
async def running_bridge(
    sandbox: Sandbox,
    namespace: str,
    directory: Path,
    *more: str,
    scheme: str = "http",
    gateway: str = GATEWAY,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Process]:
    """A bridge as users start one, with the rights of its own service account alone."""
    kubeconfig = await sandbox.service_account_kubeconfig(namespace, f"bridge-{gateway}")
    log = directory / "bridge.log"
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *BACKSTAY,
            *("bridge", "run", "--kubeconfig", str(kubeconfig), "--namespace", namespace, "--gateway", gateway),
            *("--listen", "127.0.0.1:0", "--cache", str(directory / "cache"), *more),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **(environment or {})},
        )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode().strip()
        assert line.startswith(f"bridge {gateway} listening on {scheme}://127.0.0.1:"), f"{line!r}: {log.read_text()}"
        yield Process(process, line.rpartition(" ")[2], log)
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                assert await process.wait() == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def bridge(sandbox: Sandbox, namespace: str, tenant: bytes, tmp_path: Path) -> AsyncIterator[Process]:
    async with running_bridge(sandbox, namespace, tmp_path) as process:
        yield process


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def edge_device(kube: KubeClient, namespace: str, name: str, **spec: Any) -> None:
    body = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "EdgeDevice",
        "metadata": {"name": name, "labels": {"customer": "acme", "region": "eu", "site": "hall-1"}},
        "spec": {"class": "esp32", "gateway": GATEWAY, **spec},
    }
    await kube.create(EDGE_DEVICES, body, namespace)


async def order(
    kube: KubeClient, namespace: str, name: str, number: int, artifact: ArtifactDescription, *, kind: str = "Install"
) -> None:
    now = datetime.now(UTC)
    desired = {
        "config": {
            "plan": "vision",
            "revision": "3f9c2a1b-2",
            "ring": "canary",
            "version": artifact.version,
            "artifact": str(artifact.reference),
            "content": artifact.content,
        },
        "step": {"number": number, "plane": "config", "type": kind, "issued": now.isoformat()},
        "probes": [{"name": "inference", "kind": "InferenceAlive"}],
        "window": "2m",
        "expires": (now + timedelta(minutes=10)).isoformat(),
    }
    await kube.merge_patch(EDGE_DEVICES, name, {"spec": {"desired": desired}}, namespace)


async def status_of(kube: KubeClient, namespace: str, name: str) -> Json:
    return (await kube.get(EDGE_DEVICES, name, namespace)).get("status", {})


async def until_status(kube: KubeClient, namespace: str, name: str, seconds: float, holds: Any) -> Json:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        status = await status_of(kube, namespace, name)
        if holds(status):
            return status
        await asyncio.sleep(0.1)
    raise AssertionError(f"{name} did not get there: {status}")


async def until_answered(kube: KubeClient, namespace: str, name: str, number: int = 1) -> Json:
    """The status once the answer to a step stands in it; the device is told before, when the bridge has it on disk."""

    def is_answered(status: Json) -> bool:
        found = status.get("planes", {}).get("config", {})
        return found.get("step") == number and found.get("state") not in {"Idle", "Downloading"}

    return await until_status(kube, namespace, name, 10, is_answered)


async def device_of(
    session: aiohttp.ClientSession, bridge: Process, kube: KubeClient, namespace: str, key: bytes, name: str
) -> Device:
    await edge_device(kube, namespace, name)
    device = Device(session, bridge.url, namespace, name, target_token(key, name, 1))
    until = time.monotonic() + 5
    while (await device.ask("GET", ""))[0] != 200:
        assert time.monotonic() < until, "the bridge does not learn of the device"
        await asyncio.sleep(0.02)
    return device


async def test_device_installs_what_it_was_ordered_when_it_follows_the_links(
    sandbox, kube, namespace, tenant, bridge, session, artifact
):
    device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
    assert await device.health(OLD) == 200
    await order(kube, namespace, "cam-1", 1, artifact)
    deployment = json.loads((await device.ask("GET", await device.offered()))[1])
    chunk = deployment["deployment"]["chunks"][0]
    assert (chunk["part"], chunk["version"], deployment["backstay"]["content"]) == ("config", "3.1.0", artifact.content)

    assert await device.feedback(1, "proceeding") == 200
    begun = await status_of(kube, namespace, "cam-1")
    assert begun["planes"]["config"]["state"] == "Downloading"
    since = begun["planes"]["config"]["since"]

    url = chunk["artifacts"][0]["_links"]["download-http"]["href"]
    status, first, headers = await device.ask("GET", url, headers={"Range": "bytes=0-999"})
    assert (status, len(first)) == (206, 1000)
    status, rest, _ = await device.ask("GET", url, headers={"Range": "bytes=1000-", "If-Range": headers["ETag"]})
    assert status == 206
    assert f"sha256:{hashlib.sha256(first + rest).hexdigest()}" == artifact.content

    assert await device.health(artifact.content) == 200
    assert await device.feedback(1, "closed", "success") == 200
    status = await until_answered(kube, namespace, "cam-1")
    found = status["planes"]["config"]
    assert (found["state"], found["step"], found["running"]) == ("Confirmed", 1, artifact.content)
    assert found["since"] > since
    assert found["version"] == "3.1.0", "the operator's name of the digest, not the device's"
    ready = next(found for found in status["conditions"] if found["type"] == "Ready")
    assert ready["status"] == "True"
    version = (await kube.get(EDGE_DEVICES, "cam-1", namespace))["metadata"]["resourceVersion"]
    assert await device.feedback(1, "closed", "success") == 200, "said again"
    assert (await kube.get(EDGE_DEVICES, "cam-1", namespace))["metadata"]["resourceVersion"] == version
    assert "deploymentBase" not in await device.links()


async def test_device_that_lies_about_its_version_fails_when_it_claims_success(
    kube, namespace, tenant, bridge, session, artifact
):
    device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
    await device.health(OLD)
    await order(kube, namespace, "cam-1", 1, artifact)
    await device.ask("GET", await device.offered())
    assert await device.feedback(1, "proceeding") == 200
    assert await device.health(OLD) == 200
    assert await device.feedback(1, "closed", "success") == 200
    found = (await until_answered(kube, namespace, "cam-1"))["planes"]["config"]
    assert found["state"] == "Failed"
    assert found["reason"].startswith("DigestMismatch")
    assert found["running"] == OLD


async def test_hold_stops_an_offer_within_a_second_when_it_is_created(
    kube, namespace, tenant, bridge, session, artifact
):
    device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
    group = {"apiVersion": "backstay.dev/v1alpha1", "kind": "DeviceGroup", "metadata": {"name": "hall"}}
    await kube.create(DEVICE_GROUPS, group | {"spec": {"selector": {"matchLabels": {"site": "hall-1"}}}}, namespace)
    await order(kube, namespace, "cam-1", 1, artifact)
    await device.offered()
    hold = {"apiVersion": "backstay.dev/v1alpha1", "kind": "Hold", "metadata": {"name": "stop"}}
    await kube.create(HOLDS, hold | {"spec": {"scope": {"groups": ["hall"]}, "reason": "smoke"}}, namespace)
    created = time.monotonic()
    while "deploymentBase" in await device.links():
        assert time.monotonic() - created < 1.0
        await asyncio.sleep(0.01)
    assert await device.feedback(1, "proceeding") == 410, "nor may it begin with what it was offered before"
    assert (await status_of(kube, namespace, "cam-1")).get("planes", {}).get("config", {}).get("step", 0) == 0
    await kube.delete(HOLDS, "stop", namespace)
    await device.offered(seconds=2)


async def test_device_keeps_going_and_returns_when_a_hold_comes_later(
    kube, namespace, tenant, bridge, session, artifact
):
    device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
    await device.health(OLD, artifact.content)
    await order(kube, namespace, "cam-1", 1, artifact)
    await device.offered()
    assert await device.feedback(1, "proceeding") == 200
    hold = {"apiVersion": "backstay.dev/v1alpha1", "kind": "Hold", "metadata": {"name": "stop"}}
    await kube.create(HOLDS, hold | {"spec": {"scope": {"selector": {}}, "reason": "everything stops"}}, namespace)
    await asyncio.sleep(0.5)
    await device.offered(seconds=1)
    assert await device.feedback(1, "closed", "failure", "DownloadFailed: the line is bad") == 200
    await order(kube, namespace, "cam-1", 2, artifact, kind="Return")
    assert (await device.offered()).endswith("/2")


async def test_replaced_step_is_cancelled_first_when_the_device_had_begun_it(
    kube, namespace, tenant, bridge, session, artifact
):
    device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
    await order(kube, namespace, "cam-1", 1, artifact)
    await device.offered()
    assert await device.feedback(1, "proceeding") == 200
    await order(kube, namespace, "cam-1", 2, artifact)
    cancel = await device.offered("cancelAction")
    assert "deploymentBase" not in await device.links()
    assert json.loads((await device.ask("GET", cancel))[1])["cancelAction"] == {"stopId": "1"}
    body = {"id": "1", "status": {"execution": "closed", "result": {"finished": "success"}}}
    assert (await device.ask("POST", f"{cancel}/feedback", json=body))[0] == 200
    found = (await until_answered(kube, namespace, "cam-1"))["planes"]["config"]
    assert (found["state"], found["step"], found["reason"]) == ("Failed", 1, "Canceled")
    assert (await device.offered()).endswith("/2")
    assert await device.feedback(1, "closed", "success") == 200, "answered already"


async def test_strangers_learn_nothing_when_they_knock(kube, namespace, tenant, bridge, session):
    device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
    await edge_device(kube, namespace, "cam-2", gateway="gw-us")
    await edge_device(kube, namespace, "cam-3", revoked=True)
    await edge_device(kube, namespace, "cam-4", tokenGeneration=2)
    await asyncio.sleep(0.5)
    answers = []
    for name, generation, where in (
        ("cam-1", 2, namespace),
        ("cam-1", 1, "default"),
        ("cam-2", 1, namespace),
        ("cam-3", 1, namespace),
        ("cam-4", 1, namespace),
        ("nobody", 1, namespace),
    ):
        token = target_token(tenant, name, generation)
        answers.append((await Device(session, bridge.url, where, name, token).ask("GET", ""))[:2])
    assert {status for status, _ in answers} == {401}
    assert len({body for _, body in answers}) == 1
    device.token = ""
    headers = {"Authorization": f"GatewayToken {gateway_token(tenant, GATEWAY)}"}
    assert (await device.ask("GET", "", headers=headers))[0] == 200


async def test_bridge_can_change_nothing_but_its_statuses_when_it_uses_its_identity(sandbox, kube, namespace, tenant):
    await edge_device(kube, namespace, "cam-1")
    kubeconfig = await sandbox.service_account_kubeconfig(namespace, f"bridge-{GATEWAY}")
    async with KubeClient.connect(kubeconfig) as bridge:
        await bridge.merge_patch(
            EDGE_DEVICES, "cam-1", {"status": {"agent": "scripted/1"}}, namespace, subresource="status"
        )
        with pytest.raises(Forbidden):
            await bridge.merge_patch(EDGE_DEVICES, "cam-1", {"spec": {"revoked": True}}, namespace)
        with pytest.raises(Forbidden):
            await bridge.list(EDGE_DEVICES, "default")
        with pytest.raises(Forbidden):
            await bridge.list(SECRETS, namespace)
        with pytest.raises(Forbidden):
            await bridge.delete(HOLDS, "any", namespace)


async def test_answer_stands_when_the_api_server_is_away_and_the_bridge_is_killed_before_it_could_write_it(
    sandbox, kube, namespace, tenant, session, artifact, tmp_path
):
    async with running_bridge(sandbox, namespace, tmp_path) as bridge:
        device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
        await device.health(OLD)
        await order(kube, namespace, "cam-1", 1, artifact)
        await device.offered()
        assert await device.feedback(1, "proceeding") == 200
        await sandbox.stop("kube-apiserver")
        try:
            assert "deploymentBase" in await device.links(), "what has begun goes on"
            assert await device.health(artifact.content) == 200
            assert await device.feedback(1, "closed", "success") == 200
            assert "deploymentBase" not in await device.links(), "it is over for the bridge"
            bridge.process.kill()
            await bridge.process.wait()
        finally:
            await sandbox.start_component("kube-apiserver")
    async with running_bridge(sandbox, namespace, tmp_path):
        confirmed = await until_answered(kube, namespace, "cam-1")
        assert confirmed["planes"]["config"]["state"] == "Confirmed"
        await asyncio.sleep(2)
        assert (await status_of(kube, namespace, "cam-1"))["planes"] == confirmed["planes"], "written once"


async def test_answer_is_proved_by_a_new_report_when_the_bridge_was_restarted(
    sandbox, kube, namespace, tenant, session, artifact, tmp_path
):
    async with running_bridge(sandbox, namespace, tmp_path) as bridge:
        device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
        await device.health(OLD)
        await order(kube, namespace, "cam-1", 1, artifact)
        await device.offered()
        assert await device.feedback(1, "proceeding") == 200
    async with running_bridge(sandbox, namespace, tmp_path) as bridge:
        device.bridge = bridge.url
        assert await device.feedback(1, "closed", "success") == 503
        assert await device.health(artifact.content) == 200
        assert await device.feedback(1, "closed", "success") == 200
    assert (await until_answered(kube, namespace, "cam-1"))["planes"]["config"]["state"] == "Confirmed"


async def test_device_is_offered_nothing_until_its_bytes_are_here_when_the_registry_is_down(
    sandbox, kube, namespace, tenant, bridge, session, artifact
):
    device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
    await sandbox.stop("registry")
    try:
        await order(kube, namespace, "cam-1", 1, artifact)
        await asyncio.sleep(0.5)
        for _ in range(3):
            assert "deploymentBase" not in await device.links()
            await asyncio.sleep(0.3)
        async with session.get(f"{bridge.url}/metrics") as response:
            assert "backstay_bridge_fetch_failures_total 1.0" in await response.text()
    finally:
        await sandbox.start_component("registry")
    await device.offered(seconds=20)


async def test_health_reaches_status_and_metrics_when_a_device_reports_and_falls_silent(
    kube, namespace, tenant, bridge, session, artifact
):
    device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
    resources = {"inference_accuracy": 0.97, "inference_latency_seconds": -1}
    probes = [{"name": "camera", "passed": False}]
    await device.health(OLD, resources=resources, probes=probes, interval=0.2, slot="ota_0")
    status = await until_status(kube, namespace, "cam-1", 5, lambda found: found.get("slot") == "ota_0")
    assert status["health"] == {"state": "Degraded", "failing": ["camera"]}
    async with session.get(f"{bridge.url}/metrics") as response:
        text = await response.text()
    labels = f'namespace="{namespace}",device="cam-1"'
    assert f"backstay_inference_accuracy{{{labels}}} 0.97\n" in text
    assert "backstay_inference_latency_seconds{" not in text
    assert f'backstay_device_info{{{labels},customer="acme",region="eu",site="hall-1",class="esp32",plan=""' in text

    def is_silent(found: Json) -> bool:
        return any(x["type"] == "Reachable" and x["status"] == "False" for x in found.get("conditions", []))

    await until_status(kube, namespace, "cam-1", 10, is_silent)
    async with session.get(f"{bridge.url}/metrics") as response:
        text = await response.text()
    assert f"backstay_device_reachable{{{labels}}} 0.0\n" in text
    assert "backstay_inference_accuracy{" not in text


async def test_bridge_serves_devices_in_tls_and_prometheus_beside_them(
    sandbox, kube, namespace, tenant, session, tmp_path
):
    authority = Authority(tmp_path, "ours")
    authority.issue("bridge", tmp_path / "tls")
    metrics = f"127.0.0.1:{free_port()}"
    more = ("--tls", str(tmp_path / "tls"), "--metrics-listen", metrics)
    await edge_device(kube, namespace, "cam-1")
    async with running_bridge(sandbox, namespace, tmp_path, *more, scheme="https") as bridge:
        headers = {"Authorization": f"TargetToken {target_token(tenant, 'cam-1', 1)}"}
        url, tls = f"{bridge.url}/{namespace}/controller/v1/cam-1", authority.trusted()
        async with session.get(url, headers=headers, ssl=tls) as response:
            links = (await response.json())["_links"]
        assert all(link["href"].startswith("https://127.0.0.1:") for link in links.values())
        async with session.get(f"{bridge.url}/metrics", ssl=tls) as response:
            assert response.status == 404, "it is not for devices"
        async with session.get(f"http://{metrics}/metrics") as response:
            assert "backstay_device_info{namespace=" in await response.text()


async def test_bridge_says_what_is_wrong_when_it_cannot_start(sandbox, kube, namespace, tmp_path):
    async def failing(*arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(*BACKSTAY, "bridge", "run", "--gateway", GATEWAY),
            *("--cache", str(tmp_path / "cache"), *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(20):
            _, errors = await process.communicate()
        assert process.returncode not in {0, None}
        lines = errors.decode().strip().splitlines()
        assert "Traceback" not in errors.decode()
        return lines[-1]

    missing = tmp_path / "nothing.kubeconfig"
    assert str(missing) in await failing("--kubeconfig", str(missing), "--namespace", namespace)
    found = await failing("--kubeconfig", str(sandbox.kubeconfig), "--namespace", namespace)
    assert "backstay-tenant-key" in found
