"""A tenant with many devices behind one gateway, and the release that goes to them through three rings."""

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from backstay.adapters.kube.client import (
    DEVICE_GROUPS,
    EDGE_DEVICES,
    HEALTH_RULES,
    SECRETS,
    KubeClient,
    Resource,
)
from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.bridge.tokens import target_token
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription, Repository
from backstay.sandbox import Sandbox
from demo.processes import Processes, free_port
from tests.scale.payloads import factory, large_model, quiet_config, write_digits
from tests.scale.serving import ROOT

Json = dict[str, Any]

GATEWAY: Final = "gw-large"
PLAN: Final = "vision"
WRITES_AT_ONCE: Final = 16
INTERNAL: Final = 3
NAMESPACES: Final = Resource("", "v1", "namespaces", namespaced=False)
OPERATOR: Final = ("backstay-system", "backstay-operator")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A namespace, its key and its devices; the first few are the house's own."""

    namespace: str
    count: int
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def names(self) -> list[str]:
        """The devices' names."""
        return [f"dev-{number:05}" for number in range(self.count)]

    async def prepare(self, sandbox: Sandbox, kube: KubeClient) -> None:
        """Make what an administrator makes: key, the rights of the bridge, group, health rule and devices."""
        data = {"key": base64.b64encode(self.key).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "backstay-tenant-key"}, "data": data}
        await kube.create(SECRETS, secret, self.namespace)
        template = (ROOT / "manifests/tenant/bridge-rbac.yaml").read_text()
        await sandbox.apply(template.replace("TENANT", self.namespace).replace("GATEWAY", GATEWAY))
        group = _object("DeviceGroup", "cameras", {"selector": {"matchLabels": {"app": "camera"}}})
        await kube.create(DEVICE_GROUPS, group, self.namespace)
        await kube.create(HEALTH_RULES, _object("HealthRule", "probes", {"probes": _PROBES}), self.namespace)

        async def create(name: str) -> None:
            await kube.create(EDGE_DEVICES, self._device(name), self.namespace)

        await each(self.names, create)

    def write_fleet(self, directory: Path, bridge: str, part: int, parts: int) -> Path:
        """Write the fleet file of one of several simulator processes."""
        paths = {plane: directory / f"factory-{plane}" for plane in Plane}
        payloads = factory()
        for plane, path in paths.items():
            path.write_bytes(payloads[plane].data)
        body = {
            "bridge": {GATEWAY: bridge},
            "namespace": self.namespace,
            "digits": str(write_digits(directory / "digits.npz")),
            "factory": {
                plane.value: {"path": str(path), "version": "1.0.0", "requires": dict(payloads[plane].requires)}
                for plane, path in paths.items()
            },
            "devices": [
                {"name": name, "gateway": GATEWAY, "token": target_token(self.key, name, 1)}
                for name in self.names[part::parts]
            ],
        }
        file = directory / f"fleet-{part}.json"
        file.write_text(json.dumps(body))
        return file

    def _device(self, name: str) -> Json:
        number = int(name.removeprefix("dev-"))
        labels = {"app": "camera", "site": f"site-{number % 100:02}", "customer": f"customer-{number % 40:02}"}
        if number < INTERNAL:
            labels["audience"] = "internal"
        return _object("EdgeDevice", name, {"class": "esp32", "gateway": GATEWAY}, labels)


_PROBES: Final = [
    {"name": "agent", "kind": "AgentConnected", "blames": ["firmware"]},
    {"name": "camera", "kind": "InputPresent", "blames": ["firmware", "config"], "input": "camera0"},
    {"name": "replay", "kind": "SampleReplay", "blames": ["model"], "minAgreement": "90%"},
]


def plan(*artifacts: ArtifactDescription, soak: str) -> Json:
    """A release through three rings: the house, a tenth of the fleet, everybody."""
    spec = {
        "groups": ["cameras"],
        "versions": {one.plane.value: {"version": one.version, "artifact": str(one.reference)} for one in artifacts},
        "health": ["probes"],
        "rings": [
            {
                "name": "internal",
                "select": {"matchLabels": {"audience": "internal"}},
                "soak": soak,
                "inFlight": "100%",
            },
            {"name": "canary", "size": "10%", "soak": soak, "inFlight": "100%"},
            {"name": "everyone", "size": "100%", "soak": soak, "inFlight": "50%"},
        ],
        # On a machine that is busy with other things devices wait long for one another, and no release is to blame.
        "deadlines": {"firmware": "2h", "model": "2h", "config": "2h"},
        "confirmWindow": {"firmware": "30m", "model": "30m", "config": "30m"},
        "stabilityWindow": soak,
    }
    return _object("ReleasePlan", PLAN, spec)


async def pushed(sandbox: Sandbox, directory: Path) -> tuple[ArtifactDescription, ...]:
    """Put the release into the registry: a model of 100 KiB, and a config."""
    model, config, schema = (directory / name for name in ("model.bsm", "config.json", "schema.json"))
    model.write_bytes(large_model())
    config.write_bytes(quiet_config(0.45))
    schema.write_text(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}))
    new = (
        NewArtifact(Plane.MODEL, "2.0.0", "esp32", model, {"firmware": ">=1.0.0"}),
        NewArtifact(Plane.CONFIG, "2.0.0", "esp32", config, {"model": ">=1.0.0"}, schema),
    )
    async with aiohttp.ClientSession() as session:
        registry = OciRegistry(Transport(session))
        at = f"{sandbox.registry}/large"
        return tuple([await push_artifact(registry, Repository.parse(f"{at}/{one.plane}"), one) for one in new])


async def each(names: list[str], write: Callable[[str], Awaitable[None]]) -> None:
    """Do something for every device, some at a time."""
    left = iter(names)

    async def work() -> None:
        for name in left:
            await write(name)

    async with asyncio.TaskGroup() as group:
        for _ in range(WRITES_AT_ONCE):
            group.create_task(work())


@asynccontextmanager
async def running(
    sandbox: Sandbox, tenant: Tenant, directory: Path, *, poll_seconds: int, simulators: int, lease_seconds: int
) -> AsyncIterator[tuple[Processes, dict[str, int], str]]:
    """Run the operator, one bridge and the devices; gives them, their process numbers by name and the bridge's URL."""
    operator = await sandbox.service_account_kubeconfig(*OPERATOR)
    bridge = await sandbox.service_account_kubeconfig(tenant.namespace, f"bridge-{GATEWAY}")
    address = f"127.0.0.1:{free_port()}"
    async with Processes(directory, keep=False) as processes:
        pids = {}

        def start(name: str, *arguments: str) -> None:
            child = processes.start(name, *arguments)
            assert child.identity is not None
            pids[name] = child.identity.pid

        start(
            "operator", "operator", "run", "--kubeconfig", str(operator), "--prometheus", sandbox.prometheus_url,
            "--alertmanager", sandbox.alertmanager_url, "--lease-duration", str(lease_seconds),
        )  # fmt: skip
        start(
            "bridge", "bridge", "run", "--kubeconfig", str(bridge), "--namespace", tenant.namespace,
            "--gateway", GATEWAY, "--listen", address, "--cache", str(directory / "cache"),
            "--poll-seconds", str(poll_seconds),
        )  # fmt: skip
        url = f"http://{address}"
        await _until_answers(url, processes)
        for part in range(simulators):
            fleet = tenant.write_fleet(directory, url, part, simulators)
            start(
                f"devices-{part}", "esp32", "simulate", "--fleet", str(fleet), "--in-memory",
                "--directory", str(directory / "orders"), "--spread-seconds", str(poll_seconds),
            )  # fmt: skip
        yield processes, pids, url


async def _until_answers(url: str, processes: Processes) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            processes.check()
            try:
                async with session.get(f"{url}/metrics"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.2)


def _object(kind: str, name: str, spec: Json, labels: dict[str, str] | None = None) -> Json:
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
