"""A node of the sandbox as tests and people use it."""

import asyncio
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from backstay.errors import NotFound, Refused, Unavailable
from backstay.sandbox.certificates import Authority, KeyPair
from backstay.sandbox.components import kubeconfig
from backstay.sandbox.image import Image, push_image
from backstay.sandbox.node import settings
from backstay.sandbox.node.cgroups import PREFIX
from backstay.sandbox.node.first_process import OWN_DIRECTORIES
from backstay.sandbox.node.network import Network
from backstay.sandbox.node.record import Record
from backstay.sandbox.process import POLL_SECONDS, Identity
from backstay.sandbox.supervisor import Supervisor

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
COMMAND_SECONDS = 60.0
GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node needs of its sandbox."""

    directory: Path
    """Where nodes have a directory each that people look into …"""
    data: Path
    """… and one for what is gone with the sandbox."""
    binaries: Path
    authority: Authority
    api_url: str
    api_port: int
    registry_port: int
    other_ports: tuple[int, ...]
    """What else of this machine Pods may call, at the node's address."""
    supervisor: Supervisor

    @property
    def registry(self) -> str:
        """Host and port of the registry, in every node as outside."""
        return f"127.0.0.1:{self.registry_port}"


class Node:
    """A real kubelet on a real containerd, in namespaces of their own. `Sandbox.add_node` makes one."""

    def __init__(self, record: Record, supervisor: Supervisor) -> None:
        """Describe a node whose components `supervisor` runs; use `Sandbox.add_node`."""
        self.record = record
        self._supervisor = supervisor
        self.name = record.name
        self.address = record.address
        """Reached from this machine, and the address of Pods in the node's own network."""
        self.kubeconfig = Path(record.kubeconfig)
        """The node's own, for `system:node:NAME`; certificate and key are files beside it, as a kubelet has them."""
        self.manifests = Path(record.manifests)
        """The kubelet runs each Pod whose manifest is here. Write elsewhere and rename, so that it sees whole files."""
        self.containerd_socket = Path(record.containerd_socket)
        self.kubelet_health = f"http://{record.address}:{settings.HEALTH_PORT}/healthz"
        """Where the kubelet says how it is."""
        self.kubelet_root = Path(record.kubelet_root)
        self.pod_logs = Path(record.pod_logs)
        self.machine, self.containerd, self.kubelet = (
            f"{record.name}-{part}" for part in ("machine", "containerd", "kubelet")
        )
        """The names of the node's components, for `Sandbox.stop` and its like."""

    @property
    def pid(self) -> int:
        """The number of the first process inside, as this machine counts: `nsenter --target PID` goes there."""
        return int(Path(self.record.pid_file).read_text(encoding="ascii"))

    async def run(self, *command: str) -> str:
        """Run a program inside the node, and return what it printed.

        Raises `Refused` if it fails, `Unavailable` if it does not end.
        """
        inside = ("nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--ipc", "--uts", "--")
        return await _output((*inside, *command))

    @property
    def ctr_command(self) -> tuple[str, ...]:
        """The command of containerd's own client, in the namespace of Kubernetes."""
        return ("ctr", f"--address={self.containerd_socket}", "--namespace=k8s.io")

    async def ctr(self, *arguments: str) -> str:
        """Ask containerd by its own client, in the namespace of Kubernetes.

        Raises `Refused` if it fails, `Unavailable` if it does not end.
        """
        return await _output((*self.ctr_command, *arguments))

    async def stop_kubelet(self) -> None:
        """End the kubelet; containers go on."""
        await self._supervisor.stop(self.kubelet, GRACE_SECONDS)

    async def start_kubelet(self) -> None:
        """Start the kubelet again."""
        await self._supervisor.restart(self.kubelet)

    async def stop_containerd(self) -> None:
        """End containerd; containers go on."""
        await self._supervisor.stop(self.containerd, GRACE_SECONDS)

    async def start_containerd(self) -> None:
        """Start containerd again."""
        await self._supervisor.restart(self.containerd)

    async def cut_power(self) -> None:
        """End everything on the node at once; what it has stored stays, as on a device."""
        first = Identity.of(self.pid)
        for component in (self.machine, self.kubelet, self.containerd):
            await self._supervisor.stop(component, 0.0)
        # The kernel kills all others before the first process is gone.
        while first is not None and first.alive():
            await asyncio.sleep(POLL_SECONDS)

    async def start(self) -> None:
        """Start a node again whose power was cut."""
        for component in (self.machine, self.containerd, self.kubelet):
            await self._supervisor.restart(component)

    def logs(self, namespace: str, pod: str) -> str:
        """What the containers of a Pod have written, also while the API server is away.

        Raises `NotFound` if the node has not run such a Pod.
        """
        files = sorted(self.pod_logs.glob(f"{namespace}_{pod}_*/*/*.log"))
        if not files:
            raise NotFound(f"node {self.name} has no logs of Pod {namespace}/{pod}; see {self.pod_logs}")
        return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files)


async def start_node(name: str, around: Surroundings) -> Node:
    """Start a node, and return it once its kubelet is healthy.

    Raises `Refused` if it cannot be had here, `ComponentFailed` if a part dies or does not become ready.
    """
    _check(name, around)
    places = settings.NodePlaces.create(around.directory / name, around.data / name)
    network, cgroup = Network.free(), f"{PREFIX}{secrets.token_hex(6)}"
    identity, server = _certificates(name, network, around.authority)
    _write_kubeconfig(places.kubeconfig, around, identity)
    record = _record(name, places, network, cgroup)
    record.save(places.data)
    supervisor = around.supervisor
    pause = await push_image(around.registry, "sandbox/pause:1", Image.busybox("/bin/busybox", "sleep", "inf"))
    ports = (around.api_port, around.registry_port, *around.other_ports)
    machine = settings.machine(name, places, network, cgroup, *ports)
    await supervisor.start(machine)
    await supervisor.start(settings.containerd(name, places, network, pause))
    ca = around.authority.certificate
    await supervisor.start(settings.kubelet(around.binaries, name, places, network, cgroup, ca, server))
    return Node(record, supervisor)


def _check(name: str, around: Surroundings) -> None:
    if NAME.fullmatch(name) is None:
        raise Refused(f"{name!r} cannot be a node's name: use small letters, digits and dashes")
    if (around.directory / name).exists():
        raise Refused(f"the sandbox has a node {name} already")
    if os.geteuid() != 0:
        raise Refused("a node makes namespaces, networks and control groups, which takes root: run this as root")
    for hidden in map(Path, OWN_DIRECTORIES):
        if around.directory.is_relative_to(hidden) or around.data.is_relative_to(hidden):
            msg = f"a node has a {hidden} of its own and sees nothing of this one: take a --directory outside of it"
            raise Refused(msg)
    missing = [program for program in ("containerd", "runc", "unshare", "ip") if shutil.which(program) is None]
    if missing or not settings.NETWORK_PLUGINS.is_dir():
        what = ", ".join(missing) or str(settings.NETWORK_PLUGINS)
        raise Refused(f"a node needs {what}, and there is none on this machine: `make setup` installs it")


def _certificates(name: str, network: Network, authority: Authority) -> tuple[KeyPair, KeyPair]:
    """Who the node is to the API server, and what its kubelet shows to it."""
    user = f"system:node:{name}"
    return (
        authority.issue(f"node-{name}", user, organizations=["system:nodes"]),
        authority.issue(f"node-{name}-server", user, organizations=["system:nodes"], names=[name, str(network.node)]),
    )


def _write_kubeconfig(path: Path, around: Surroundings, identity: KeyPair) -> None:
    user = {"client-certificate": str(identity.certificate), "client-key": str(identity.key)}
    document = kubeconfig(around.api_url, around.authority.certificate, user)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _record(name: str, places: settings.NodePlaces, network: Network, cgroup: str) -> Record:
    return Record(
        name=name,
        address=str(network.node),
        kubeconfig=str(places.kubeconfig),
        manifests=str(places.manifests),
        containerd_socket=str(places.containerd_socket),
        kubelet_root=str(places.kubelet_root),
        pod_logs=str(places.pod_logs),
        pid_file=str(places.pid_file),
        link=network.link,
        cgroup=cgroup,
    )


async def _output(command: tuple[str, ...]) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            stdout, stderr = await process.communicate()
    except TimeoutError as error:
        raise Unavailable(f"`{' '.join(command)}` did not end within {COMMAND_SECONDS:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        words = stderr.decode(errors="replace").strip()
        raise Refused(f"`{' '.join(command)}` ended with status {process.returncode}: {words}")
    return stdout.decode(errors="replace")
