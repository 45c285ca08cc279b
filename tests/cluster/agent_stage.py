"""A node's agent against the real API server and registry, with the node's own identity."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from backstay.adapters.kube.client import Identity, KubeClient
from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.adapters.system_clock import SystemClock
from backstay.agent.assembly import FILES, Firmware, Settings, assemble
from backstay.agent.node import Commander, Node
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription, Repository
from backstay.sandbox import Sandbox

Json = dict[str, Any]


@dataclass
class AsNode:
    """The administrator, who acts as a node: what the API server allows is asked of the node."""

    administrator: Identity
    node: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.administrator, name)

    async def auth_settings(self) -> Mapping[str, Any]:
        return {
            "user": {"key": "Impersonate-User", "value": f"system:node:{self.node}"},
            "group": {"key": "Impersonate-Group", "value": "system:nodes"},
        }


@asynccontextmanager
async def connected_as_node(sandbox: Sandbox, node: str) -> AsyncIterator[KubeClient]:
    async with KubeClient.connect(sandbox.kubeconfig) as administrator:
        yield KubeClient(administrator._session, AsNode(administrator._identity, node), "backstay-agent")


@dataclass
class Agent:
    """One agent after another on the disk of one node."""

    sandbox: Sandbox
    namespace: str
    device: str
    node: str
    directory: Path
    inference_url: str = "http://127.0.0.1:1"
    firmware: Firmware | None = None
    lease_seconds: int = 120

    @property
    def root(self) -> Path:
        """The file system as probes see it, which a test furnishes."""
        root = self.directory / "root"
        (root / "proc").mkdir(parents=True, exist_ok=True)
        return root

    def memory(self, available_mib: int) -> None:
        """Let so much memory be available."""
        text = f"MemTotal: 4194304 kB\nMemAvailable: {available_mib * 1024} kB\n"
        (self.root / "proc" / "meminfo").write_text(text)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Node]:
        async with connected_as_node(self.sandbox, self.node) as client, aiohttp.ClientSession() as session:
            commander = Commander(self.namespace, self.device)
            settings = Settings(
                commander,
                self.node,
                self.directory,
                "boot",
                firmware=self.firmware,
                safe_mode_file=self.directory / "safe-mode",
                root=self.root,
                inference_url=self.inference_url,
                lease_seconds=self.lease_seconds,
            )
            node = assemble(settings, client, session, SystemClock())
            task = asyncio.create_task(node.run())
            try:
                yield node
            finally:
                if task.done():
                    await task
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def file(self, plane: Plane) -> bytes | None:
        path = self.directory / plane / "current" / "current" / FILES[plane]
        return path.read_bytes() if path.exists() else None


async def push_for_node(
    sandbox: Sandbox, directory: Path, plane: Plane, version: str, **requires: str
) -> ArtifactDescription:
    artifact = _written(directory, plane, version, requires)
    async with aiohttp.ClientSession() as session:
        registry = OciRegistry(Transport(session))
        return await push_artifact(registry, Repository.parse(f"{sandbox.registry}/nodes/{plane}"), artifact)


def _written(directory: Path, plane: Plane, version: str, requires: dict[str, str]) -> NewArtifact:
    directory.mkdir(parents=True, exist_ok=True)
    payload, schema = directory / f"{plane}-{version}", None
    payload.write_text(json.dumps({"version": version, "for": str(directory)}))
    if plane is Plane.CONFIG:
        schema = directory / "schema.json"
        schema.write_text(json.dumps({"type": "object"}))
    return NewArtifact(plane, version, "rk3566", payload, requires, schema)
