"""A stage for Argo CD: its own processes in a network of their own, and a repository to which a test commits."""

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml

from backstay.adapters.kube.client import KubeClient, Resource
from backstay.sandbox import Sandbox
from backstay.sandbox.build import argo_cd
from backstay.sandbox.endpoint import Endpoint, Probe
from backstay.sandbox.node.namespaces import network_of
from backstay.sandbox.process import POLL_SECONDS, Child

Json = dict[str, Any]

NAMESPACE = "argocd"
APPLICATIONS = Resource("argoproj.io", "v1alpha1", "applications")
APPLICATION_SETS = Resource("argoproj.io", "v1alpha1", "applicationsets")
API = "http://127.0.0.1:8080"
REDIS, REPOSITORIES = "127.0.0.1:6379", "127.0.0.1:8081"
READY_SECONDS = 60


@dataclass(frozen=True)
class Part:
    """One process of Argo CD: its name, its options, and where it says that it is ready."""

    name: str
    options: tuple[str, ...]
    ready: str


PARTS = (
    Part(
        "repo-server",
        ("--address=127.0.0.1", "--port=8081", "--disable-tls", "--metrics-address=127.0.0.1", f"--redis={REDIS}"),
        "http://127.0.0.1:8084/healthz",
    ),
    Part(
        "application-controller",
        (f"--repo-server={REPOSITORIES}", "--repo-server-plaintext", f"--redis={REDIS}"),
        "http://127.0.0.1:8082/healthz",
    ),
    Part(
        "applicationset-controller",
        (
            f"--argocd-repo-server={REPOSITORIES}", "--repo-server-plaintext", "--enable-progressive-syncs",
            "--metrics-addr=127.0.0.1:8085", "--probe-addr=127.0.0.1:8086", "--webhook-addr=127.0.0.1:8087",
        ),
        # It has no check of its own behind its probes.
        "http://127.0.0.1:8085/metrics",
    ),
    Part(
        "server",
        (
            "--address=127.0.0.1", "--port=8080", "--metrics-address=127.0.0.1", "--insecure", "--disable-auth",
            f"--repo-server={REPOSITORIES}", "--repo-server-plaintext", f"--redis={REDIS}",
        ),
        f"{API}/healthz",
    ),
)  # fmt: skip


@dataclass
class Network:
    """A network with nothing but loopback: the controller's metrics would listen on every interface of this machine."""

    holder: Child

    @classmethod
    async def start(cls, directory: Path) -> "Network":
        up = ("unshare", "--net", "sh", "-euc", "ip link set lo up; echo up; exec sleep infinity")
        holder = Child("network", up, directory / "network.log", environment={"PATH": os.environ["PATH"]})
        holder.start()
        while holder.log.read_text() != "up\n":
            holder.check()
            await asyncio.sleep(POLL_SECONDS)
        return cls(holder)

    @property
    def pid(self) -> int:
        assert self.holder.identity is not None
        return self.holder.identity.pid

    def socket(self, *_: object) -> socket.socket:
        """A TCP socket of this network."""
        with network_of(self.pid):
            made = socket.socket()
        made.setblocking(False)
        return made

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=self.socket))

    @asynccontextmanager
    async def reaching(self, url: str) -> AsyncIterator[None]:
        """Let programs inside reach a server of this machine at its usual loopback address."""
        port = urlsplit(url).port
        assert port is not None
        listener = self.socket()
        listener.bind(("127.0.0.1", port))

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer), return_exceptions=True)

        async with await asyncio.start_server(carry, sock=listener):
            yield


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while block := await source.read(1 << 16):
            target.write(block)
            await target.drain()
    finally:
        target.close()


@dataclass
class Repository:
    """A Git repository in which a folder holds what a fleet should be."""

    directory: Path
    folder: str = "fleets/acme"

    @property
    def url(self) -> str:
        return f"file://{self.directory}"

    def commit(self, message: str, *documents: Json) -> str:
        """Make these the documents of the folder, and give the commit."""
        place = self.directory / self.folder
        if not place.exists():
            place.mkdir(parents=True)
            self._git("init", "--quiet", "--initial-branch=main")
        (place / "fleet.yaml").write_text(yaml.safe_dump_all(documents))
        self._git("add", ".")
        self._git("-c", "user.name=Ada", "-c", "user.email=ada@acme.example", "commit", "--quiet", "-m", message)
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(("git", *arguments), cwd=self.directory, check=True, capture_output=True, text=True)
        return done.stdout


@dataclass
class ArgoCd:
    """A running Argo CD, asked as its page asks it."""

    kube: KubeClient
    session: aiohttp.ClientSession
    children: list[Child] = field(default_factory=list)

    async def application(self, name: str) -> Json:
        return await self.kube.get(APPLICATIONS, name, NAMESPACE)

    async def refresh(self, name: str) -> None:
        """Have it look into Git now, as a webhook would."""
        asked = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        await self.kube.merge_patch(APPLICATIONS, name, asked, NAMESPACE)

    async def health(self, name: str, kind: str, of: str) -> Json:
        """What it shows of one object of an application: status and message."""
        nodes = await self.tree(name)
        found = [node.get("health") or {} for node in nodes if (node["kind"], node["name"]) == (kind, of)]
        return found[0] if found else {}

    async def tree(self, name: str) -> list[Json]:
        """Every object of an application, as it is shown."""
        async with self.session.get(f"{API}/api/v1/applications/{name}/resource-tree") as answer:
            return (await answer.json()).get("nodes") or []

    async def act(self, application: str, action: str, plan: str, namespace: str) -> None:
        """Press an action of a plan."""
        body = {
            "name": application, "appNamespace": NAMESPACE, "namespace": namespace, "resourceName": plan,
            "group": "backstay.dev", "version": "v1alpha1", "kind": "ReleasePlan", "action": action,
        }  # fmt: skip
        url = f"{API}/api/v1/applications/{application}/resource/actions/v2"
        async with self.session.post(url, json=body) as answer:
            assert answer.ok, await answer.text()

    async def shows(self, name: str, holds: Callable[[Json, Json], bool], seconds: float = 60) -> Json:
        """The health of the plan `vision`, once the application's status and that health are so."""
        health: Json = {}
        status: Json = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.refresh(name)
                    status = (await self.application(name)).get("status") or {}
                    health = await self.health(name, "ReleasePlan", "vision")
                    if holds(status, health):
                        return health
                    await asyncio.sleep(0.3)
        except TimeoutError as error:
            shown = {node["name"]: node.get("health") for node in await self.tree(name)}
            error.add_note(json.dumps({"health": shown, "status": status}, indent=1))
            raise


@asynccontextmanager
async def running_argo_cd(sandbox: Sandbox, kube: KubeClient, directory: Path) -> AsyncIterator[ArgoCd]:
    """Install Argo CD into the sandbox as its own guide says, and run its processes until the block ends."""
    await sandbox.kubectl("create", "namespace", NAMESPACE)
    install = ("apply", "--server-side", "-n", NAMESPACE, "-f", str(argo_cd() / "install.yaml"))
    await sandbox.kubectl(*install)
    network = await Network.start(directory)
    children = [network.holder]
    try:
        async with network.reaching(sandbox.api_url), network.session() as session:
            children.append(_start(network, "redis", _redis(), directory, {}))
            children += [await _start_part(sandbox, network, part, directory) for part in PARTS]
            for part in PARTS:
                await _ready(session, part, children)
            yield ArgoCd(kube, session, children)
    finally:
        for child in reversed(children):
            await child.stop()


def _redis() -> tuple[str, ...]:
    return ("redis-server", "--bind", "127.0.0.1", "--port", "6379", "--save", "", "--appendonly", "no")


async def _start_part(sandbox: Sandbox, network: Network, part: Part, directory: Path) -> Child:
    name = f"argocd-{part.name}"
    identity = await sandbox.service_account_kubeconfig(NAMESPACE, name)
    own = directory / part.name
    own.mkdir()
    environment = {
        "ARGOCD_BINARY_NAME": name,
        # Argo CD's `https://kubernetes.default.svc` is then the cluster of this file.
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        "KUBECONFIG": str(identity),
        "TMPDIR": str(own),
        "ARGOCD_TLS_DATA_PATH": str(own),
        "ARGOCD_SSH_DATA_PATH": str(own),
        "ARGOCD_PLUGINSOCKFILEPATH": str(own),
        "ARGOCD_ASK_PASS_SOCK": str(own / "ask-pass.sock"),
        "ARGOCD_GPG_ENABLED": "false",
    }
    return _start(network, name, (str(argo_cd() / "cmd"), *part.options), directory, environment)


def _start(network: Network, name: str, command: tuple[str, ...], directory: Path, more: dict[str, str]) -> Child:
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), **more}
    child = Child(name, command, directory / f"{name}.log", environment=environment)
    with network_of(network.pid):
        child.start()
    return child


async def _ready(session: aiohttp.ClientSession, part: Part, children: list[Child]) -> None:
    probe = Probe(session, Endpoint(part.ready, ""))
    async with asyncio.timeout(READY_SECONDS):
        while not await probe.ready():
            for child in children:
                child.check()
            await asyncio.sleep(POLL_SECONDS)
