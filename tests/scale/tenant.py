"""A tenant of a benchmark: its devices at the API server, what they are ordered, and the bridge that serves them."""

import asyncio
import base64
import json
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp

from backstay.adapters.kube.client import EDGE_DEVICES, SECRETS, KubeClient, Resource
from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.bridge.tokens import target_token
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription, Repository
from backstay.sandbox import Sandbox
from tests.scale.serving import ROOT, Json, Server, started

BACKSTAY: Final = Path(sys.executable).with_name("backstay")
NAMESPACE: Final = "bench"
GATEWAY: Final = "gw-bench"
OLD: Final = f"sha256:{'0' * 64}"
WRITES_AT_ONCE: Final = 16
NAMESPACES: Final = Resource("", "v1", "namespaces", namespaced=False)


class Fleet:
    """The devices of one gateway, as the API server and as the load know them."""

    def __init__(self, kube: KubeClient, count: int) -> None:
        self.kube = kube
        self.key = secrets.token_bytes(32)
        self.names = [f"dev-{index:05}" for index in range(count)]
        self.headers = {
            name: {"Authorization": f"TargetToken {target_token(self.key, name, 1)}"} for name in self.names
        }

    async def create(self, sandbox: Sandbox) -> None:
        """Make the tenant, and all its devices."""
        await self.kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        data = {"key": base64.b64encode(self.key).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backstay-tenant-key"}, "data": data}
        await self.kube.create(SECRETS, secret, NAMESPACE)
        template = (ROOT / "manifests/tenant/bridge-rbac.yaml").read_text()
        await sandbox.apply(template.replace("TENANT", NAMESPACE).replace("GATEWAY", GATEWAY))
        await self.each(lambda name: self.kube.create(EDGE_DEVICES, _device(name), NAMESPACE))

    async def order(self, artifact: ArtifactDescription, plane: Plane = Plane.CONFIG) -> None:
        """Order every device its first step."""
        desired = _desired(artifact, plane)
        await self.each(
            lambda name: self.kube.merge_patch(EDGE_DEVICES, name, {"spec": {"desired": desired}}, NAMESPACE)
        )

    async def each(self, write: Callable[[str], Any]) -> None:
        """Do something for every device, some at a time."""
        names = iter(self.names)

        async def work() -> None:
            for name in names:
                await write(name)

        async with asyncio.TaskGroup() as group:
            for _ in range(WRITES_AT_ONCE):
                group.create_task(work())

    def asked(self, method: str, path: str = "", body: Json | None = None, **headers: str) -> list[Json]:
        """The same request of every device."""
        text = "" if body is None else json.dumps(body)
        return [
            {
                "method": method,
                "path": f"/{NAMESPACE}/controller/v1/{name}{path}",
                "headers": self.headers[name] | {key.replace("_", "-"): value for key, value in headers.items()},
                "body": text,
            }
            for name in self.names
        ]


def _device(name: str) -> Json:
    labels = {"customer": f"customer-{int(name[-2:]) % 40:02}", "region": "eu", "site": f"site-{name[-3:]}"}
    spec = {"class": "esp32", "gateway": GATEWAY}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "EdgeDevice", "metadata": metadata, "spec": spec}


def _desired(artifact: ArtifactDescription, plane: Plane) -> Json:
    now = datetime.now(UTC)
    return {
        str(plane): {
            "plan": "vision",
            "revision": "3f9c2a1b-2",
            "ring": "everyone",
            "version": artifact.version,
            "artifact": str(artifact.reference),
            "content": artifact.content,
        },
        "step": {"number": 1, "plane": str(plane), "type": "Install", "issued": now.isoformat()},
        "probes": [{"name": "inference", "kind": "InferenceAlive"}],
        "window": "2m",
        "expires": (now + timedelta(hours=2)).isoformat(),
    }


def report(running: str) -> Json:
    """A health report of a device that runs a content."""
    plane = {"running": running, "version": "1.0.0", "fallback": OLD, "fallbackVersion": "0.9.0"}
    return {
        "planes": {"config": plane},
        "agent": "bench/1",
        "slot": "ota_0",
        "probes": [{"name": "camera", "passed": True}, {"name": "inference", "passed": True}],
        "resources": {"inference_latency_seconds": 0.04, "inference_accuracy": 0.97, "heap_free_bytes": 123456},
        "log": ["inference took 40 ms", "all is well"],
        "interval": 60.0,
    }


async def pushed(sandbox: Sandbox, directory: Path, plane: Plane, payload: Path) -> ArtifactDescription:
    """Push a file to the sandbox's registry as one version of a plane."""
    schema = directory / "schema.json"
    schema.write_text(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}))
    async with aiohttp.ClientSession() as session:
        repository = Repository.parse(f"{sandbox.registry}/bench/{plane}")
        new = NewArtifact(plane, "1.0.0", "esp32", payload, {}, schema if plane is Plane.CONFIG else None)
        return await push_artifact(OciRegistry(Transport(session)), repository, new)


@asynccontextmanager
async def bridge(sandbox: Sandbox, directory: Path) -> AsyncIterator[Server]:
    """The command that users run, with its files in a directory."""
    kubeconfig = await sandbox.service_account_kubeconfig(NAMESPACE, f"bridge-{GATEWAY}")
    command = (
        *(str(BACKSTAY), "bridge", "run", "--kubeconfig", str(kubeconfig)),
        *("--namespace", NAMESPACE, "--gateway", GATEWAY, "--listen", "127.0.0.1:0"),
        *("--cache", str(directory / "cache"), "--poll-seconds", "60"),
    )
    async with started(*command) as server:
        yield server


def small_config(directory: Path) -> Path:
    """A configuration that no other run has, so that nothing of it is cached anywhere."""
    payload = directory / "config.json"
    payload.write_text(json.dumps({"threshold": 0.5, "padding": secrets.token_hex(1000)}))
    return payload


async def until_offered(server: Server, fleet: Fleet) -> None:
    """Until the last device that was ordered something is offered it."""
    async with aiohttp.ClientSession(f"http://{server.host}:{server.port}") as session, asyncio.timeout(60):
        for asked in fleet.asked("GET"):
            while True:
                async with session.get(asked["path"], headers=asked["headers"]) as response:
                    if "deploymentBase" in (await response.json())["_links"]:
                        break
                await asyncio.sleep(0.1)
