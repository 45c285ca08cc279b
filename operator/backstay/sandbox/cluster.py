"""A sandbox: a real API server, etcd, controller manager, Prometheus, Alertmanager and registry on this machine."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import yaml

from backstay.errors import BackstayError, NotFound, Refused, Unavailable
from backstay.sandbox import components, state
from backstay.sandbox.build import kubernetes_binaries
from backstay.sandbox.certificates import Credentials, KeyPair
from backstay.sandbox.components import CONTROLLER_MANAGER, SCHEDULER
from backstay.sandbox.kubectl import Kubectl
from backstay.sandbox.node.node import Node, Surroundings, start_node
from backstay.sandbox.places import Places
from backstay.sandbox.ports import free_ports
from backstay.sandbox.process import Identity
from backstay.sandbox.supervisor import PortTaken, Supervisor

PORT_ATTEMPTS = 3
TOKEN_SECONDS = 24 * 3600
GRACE_SECONDS = 5.0
RELOAD_SECONDS = 10.0
NODE_SECONDS = 30.0


class Sandbox:
    """A running sandbox. `start` makes one with a cluster of its own, `attach` beside a cluster that exists."""

    def __init__(self, places: Places, binaries: Path, *, keep: bool) -> None:
        """Describe a sandbox that does not run yet; use `start` or `attach`."""
        self._places = places
        self._binaries = binaries
        self._ports = free_ports()
        self._ready = False
        self._credentials: Credentials | None = None
        self._nodes: dict[str, Node] = {}
        self._owner = Identity.of(os.getpid())
        self._supervisor = Supervisor(places.logs, places.data, outlive=keep, changed=self._save_state)
        self._kubectl = Kubectl(binaries / "kubectl", places.kubeconfig, places.data / "kubectl-cache")
        self.directory = places.directory
        self.kubeconfig = places.kubeconfig
        """The administrator's."""
        self.api_url = f"https://127.0.0.1:{self._ports.api}"
        self.ca = places.configuration / "ca.crt"
        """The certificate that clients of the API server trust."""
        self.audit_log: Path | None = None
        """The API server's record of every write to our resources, one JSON event a line."""
        self.prometheus_url = f"http://127.0.0.1:{self._ports.prometheus}"
        self.alertmanager_url = f"http://127.0.0.1:{self._ports.alertmanager}"
        self.registry = f"127.0.0.1:{self._ports.registry}"
        """Host and port."""
        self._save_state()

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        directory: Path | None = None,
        *,
        audit: bool = True,
        audit_bodies: bool = True,
        nodes: int = 0,
        workloads: bool = False,
        keep: bool = False,
    ) -> AsyncIterator["Sandbox"]:
        """Run a whole sandbox, ready for use, until the block ends; its nodes are `node-1` and so on.

        With `workloads` there are a scheduler and the controllers that make Pods of Deployments and StatefulSets.

        Logs, kubeconfigs and the audit log are in `directory` and stay there; without one they are in a temporary
        directory, which stays only if the block fails. Without `audit_bodies` the audit log says who wrote to what, and
        not what was written, which costs the API server less. With `keep` the processes go on after the block, unless
        it was interrupted, and `backstay sandbox down --directory …` ends them.

        Raises `ComponentFailed` if a component dies or does not become ready, `Refused` if a sandbox is up in
        `directory` already or the Kubernetes programs are not built.
        """
        async with _lifetime(
            cls,
            directory,
            lambda sandbox: sandbox._start_cluster(audit=audit, bodies=audit_bodies, nodes=nodes, workloads=workloads),
            keep=keep,
        ) as sandbox:
            yield sandbox

    @classmethod
    @asynccontextmanager
    async def attach(
        cls, kubeconfig: Path, directory: Path | None = None, *, keep: bool = False
    ) -> AsyncIterator["Sandbox"]:
        """Run Prometheus, Alertmanager and a registry beside the cluster that `kubeconfig` names.

        Raises as `start` does, and `Unavailable` if the cluster does not answer.
        """
        async with _lifetime(
            cls,
            directory,
            lambda sandbox: sandbox._adopt_cluster(kubeconfig),
            keep=keep,
        ) as sandbox:
            yield sandbox

    async def kubectl(self, *arguments: str, input: str | None = None, kubeconfig: Path | None = None) -> str:
        """Run kubectl as the administrator, or as whom `kubeconfig` names, and return what it printed.

        Raises `Unavailable`, `NotFound`, `Forbidden`, `Conflict` or `Refused` with kubectl's own words.
        """
        return await self._kubectl.run(*arguments, stdin=input, kubeconfig=kubeconfig)

    async def apply(self, manifests: Path | str) -> str:
        """Apply the YAML of a file, of every file of a directory, or of the text itself, on the server's side."""
        apply = (
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=backstay-sandbox",
            "-f",
        )
        if isinstance(manifests, Path):
            return await self.kubectl(*apply, str(manifests))
        return await self.kubectl(*apply, "-", input=manifests)

    async def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Write a kubeconfig for a service account that exists; its token holds for a day.

        Raises `NotFound` if there is no such account.
        """
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = json.loads(await self.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(request)))
        user = {"token": answer["status"]["token"]}
        kubeconfig = self._places.identities / f"{namespace}-{name}.kubeconfig"
        _write_kubeconfig(
            kubeconfig,
            components.kubeconfig(self.api_url, self.ca, user, namespace=namespace),
        )
        return kubeconfig

    def node_kubeconfig(self, name: str) -> Path:
        """Write a kubeconfig as a kubelet has it, with files of certificates, for a node that runs nothing.

        Raises `Refused` if the cluster is not the sandbox's own.
        """
        if self._credentials is None:
            raise Refused(f"{self.api_url} is no cluster of the sandbox's own, which alone signs for nodes")
        pair = self._credentials.authority.issue(f"bare-{name}", f"system:node:{name}", organizations=["system:nodes"])
        user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        kubeconfig = self._places.identities / f"node-{name}.kubeconfig"
        _write_kubeconfig(kubeconfig, components.kubeconfig(self.api_url, self.ca, user))
        return kubeconfig

    async def add_node(self, name: str) -> Node:
        """Add a node to the cluster, with a kubelet and a containerd of its own, and wait until it is Ready.

        Nothing places Pods: they name the node themselves, or are manifests in the node's directory.

        Raises `Refused` if the cluster is not the sandbox's own, the name is taken, or this user may not;
        `ComponentFailed` if a part of the node dies or does not become ready.
        """
        if self._credentials is None:
            raise Refused(f"node {name} cannot join {self.api_url}: only a cluster of the sandbox's own takes nodes")
        node = await start_node(name, self._surroundings(self._credentials))
        self._nodes[name] = node
        wait = ("wait", f"node/{name}", f"--timeout={NODE_SECONDS:.0f}s")
        await self.kubectl(*wait, "--for=create")
        await self.kubectl(*wait, "--for=condition=Ready")
        return node

    def node(self, name: str) -> Node:
        """A node that was added.

        Raises `NotFound` if there is none of that name.
        """
        if name not in self._nodes:
            raise NotFound(f"the sandbox has no node {name!r}; it has {', '.join(self._nodes) or 'none'}")
        return self._nodes[name]

    async def add_workloads(self) -> None:
        """Add what makes Pods of Deployments and StatefulSets, and places them: controllers, and a scheduler.

        Raises `Refused` if the cluster has them or is not the sandbox's own, `ComponentFailed` if one does not come up.
        """
        if self._credentials is None:
            raise Refused(f"{self.api_url} is no cluster of the sandbox's own; it has its own controllers")
        if any(component.name == SCHEDULER for component, _ in self._supervisor.children):
            raise Refused("there are a scheduler and these controllers already")
        await self.stop(CONTROLLER_MANAGER)
        await self._start_controllers(self._credentials, workloads=True)

    def server_certificate(self, name: str, *hosts: str) -> KeyPair:
        """Sign a certificate for a server at these host names or addresses, which whoever trusts `ca` trusts.

        Raises `Refused` if the cluster is not the sandbox's own.
        """
        if self._credentials is None:
            raise Refused(f"{self.api_url} is no cluster of the sandbox's own, whose authority alone could sign")
        return self._credentials.authority.issue(name, name, names=hosts)

    def _surroundings(self, credentials: Credentials) -> Surroundings:
        return Surroundings(
            directory=self._places.nodes,
            data=self._places.data / "nodes",
            binaries=self._binaries,
            authority=credentials.authority,
            api_url=self.api_url,
            api_port=self._ports.api,
            registry_port=self._ports.registry,
            other_ports=(self._ports.prometheus, self._ports.alertmanager),
            supervisor=self._supervisor,
        )

    def scrape(self, job: str, address: str) -> None:
        """Let Prometheus scrape `/metrics` at an address (host:port) from now on; a job has one address.

        Prometheus looks at its targets every five seconds.
        """
        components.write_target(self._places.targets, job, address)

    def scrape_no_more(self, job: str) -> None:
        """Let Prometheus forget a job; its series go stale at once."""
        (self._places.targets / f"{job}.json").unlink(missing_ok=True)

    async def rules(self, name: str, text: str) -> None:
        """Give Prometheus a file of recording or alerting rules, in place of the earlier one of that name.

        Raises `Unavailable` if Prometheus does not take it.
        """
        (self._places.rules / f"{name}.yaml").write_text(text, encoding="utf-8")
        timeout = aiohttp.ClientTimeout(total=RELOAD_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(f"{self.prometheus_url}/-/reload") as response,
            ):
                answer = "" if response.ok else (await response.text()).strip()
        except (aiohttp.ClientError, TimeoutError) as error:
            answer = str(error) or "no answer"
        if answer:
            msg = f"Prometheus did not take the rules {name!r}: {answer}; see {self._places.logs / 'prometheus.log'}"
            raise Unavailable(msg)

    async def stop(self, component: str, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """End one component, and wait until it is gone."""
        await self._supervisor.stop(component, grace_seconds)

    async def start_component(self, component: str) -> None:
        """Start a component again that was stopped, on the same port and data, and wait until it is ready."""
        await self._supervisor.restart(component)

    def send(self, component: str, number: signal.Signals) -> None:
        """Signal one component: SIGSTOP makes it hang, SIGCONT lets it go on, SIGKILL crashes it."""
        self._supervisor.send(component, number)

    def check(self) -> None:
        """Raise `ComponentFailed` if a component has ended that nobody stopped."""
        self._supervisor.check()

    async def watch(self) -> None:
        """Run until a component ends that nobody stopped, and raise `ComponentFailed` then."""
        await self._supervisor.watch()

    async def _start_cluster(self, *, audit: bool, bodies: bool, nodes: int, workloads: bool) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._start_control_plane(audit=audit, bodies=bodies, workloads=workloads))
            self._start_neighbours(group)
        for number in range(nodes):
            await self.add_node(f"node-{number + 1}")

    async def _start_control_plane(self, *, audit: bool, bodies: bool, workloads: bool) -> None:
        places, ports, binaries, start = (
            self._places,
            self._ports,
            self._binaries,
            self._supervisor.start,
        )
        self._credentials = credentials = Credentials.create(places.data / "credentials")
        self.ca.write_bytes(credentials.ca.read_bytes())
        admin = components.certificate_user(credentials.admin)
        _write_kubeconfig(self.kubeconfig, components.kubeconfig(self.api_url, self.ca, admin))
        self.audit_log = places.audit_log if audit else None
        await start(components.etcd(places, credentials, ports))
        await start(components.api_server(binaries, places, credentials, ports, audit=audit, bodies=bodies))
        await self._start_controllers(credentials, workloads=workloads)

    async def _start_controllers(self, credentials: Credentials, *, workloads: bool) -> None:
        places, ports, binaries, start = self._places, self._ports, self._binaries, self._supervisor.start
        controllers = self._component_kubeconfig("controller-manager", credentials.controller_manager)
        await start(
            components.controller_manager(binaries, places, credentials, ports, controllers, workloads=workloads)
        )
        if workloads:
            scheduler = self._component_kubeconfig("scheduler", credentials.scheduler)
            await start(components.scheduler(binaries, places, credentials, ports, scheduler))

    def _component_kubeconfig(self, name: str, pair: KeyPair) -> Path:
        path = self._places.data / f"{name}.kubeconfig"
        _write_kubeconfig(path, components.kubeconfig(self.api_url, self.ca, components.certificate_user(pair)))
        return path

    async def _adopt_cluster(self, kubeconfig: Path) -> None:
        view = ("config", "view", "--minify", "--flatten", "--raw", "--output=yaml")
        try:
            document = yaml.safe_load(await self.kubectl(*view, kubeconfig=kubeconfig.resolve(strict=True)))
        except (OSError, Refused) as error:
            raise Refused(f"the kubeconfig {kubeconfig} cannot be used: {error}") from error
        _write_kubeconfig(self.kubeconfig, document)
        await self.kubectl("get", "--raw", "/readyz", "--request-timeout=5s")
        cluster = document["clusters"][0]["cluster"]
        self.api_url = cluster["server"]
        self.ca.write_bytes(components.decoded(cluster.get("certificate-authority-data", "")))
        async with asyncio.TaskGroup() as group:
            self._start_neighbours(group)

    def _start_neighbours(self, group: asyncio.TaskGroup) -> None:
        for neighbour in (
            components.prometheus,
            components.alertmanager,
            components.registry,
        ):
            group.create_task(self._supervisor.start(neighbour(self._places, self._ports)))

    async def _end(self, *, temporary: bool = False) -> None:
        try:
            await self._supervisor.end(GRACE_SECONDS)
        finally:
            self._places.discard(everything=temporary)

    def _let_go(self) -> None:
        self._owner = None
        self._save_state()
        self._supervisor.let_go()
        self._places.release()

    def _save_state(self) -> None:
        known = tuple(
            state.Component(component.name, component.endpoint, str(child.log), child.identity)
            for component, child in self._supervisor.children
        )
        state.State(
            owner=self._owner,
            directory=str(self.directory),
            kubeconfig=str(self.kubeconfig),
            kubectl=str(self._kubectl.program),
            api_url=self.api_url,
            ca=str(self.ca),
            prometheus_url=self.prometheus_url,
            alertmanager_url=self.alertmanager_url,
            registry=self.registry,
            audit_log=str(self.audit_log) if self.audit_log else None,
            components=known,
            ready=self._ready,
        ).save(self._places.data)


@asynccontextmanager
async def _lifetime(
    cls: type[Sandbox],
    directory: Path | None,
    bring_up: Callable[[Sandbox], Awaitable[None]],
    *,
    keep: bool,
) -> AsyncIterator[Sandbox]:
    binaries = await asyncio.to_thread(kubernetes_binaries)
    sandbox = await _ready_sandbox(cls, directory, binaries, bring_up, keep=keep)
    try:
        yield sandbox
    except Exception as error:
        error.add_note(f"the sandbox's logs are in {sandbox._places.logs}")
        if keep:
            sandbox._let_go()
        else:
            await sandbox._end()
        raise
    except BaseException:
        await sandbox._end(temporary=directory is None)
        raise
    if keep:
        sandbox._let_go()
    else:
        await sandbox._end(temporary=directory is None)


async def _ready_sandbox(
    cls: type[Sandbox],
    directory: Path | None,
    binaries: Path,
    bring_up: Callable[[Sandbox], Awaitable[None]],
    *,
    keep: bool,
) -> Sandbox:
    for attempt in range(1, PORT_ATTEMPTS + 1):
        places = Places.create(directory)
        sandbox = cls(places, binaries, keep=keep)
        try:
            await bring_up(sandbox)
        except BaseException as error:
            cause = _first_of_ours(error)
            again = isinstance(cause, PortTaken) and attempt < PORT_ATTEMPTS
            await sandbox._end(temporary=directory is None and (again or cause is None))
            if again:
                continue
            if cause is None:
                raise
            raise cause from cause.__cause__
        sandbox._ready = True
        sandbox._save_state()
        return sandbox
    raise AssertionError


def _first_of_ours(error: BaseException) -> BackstayError | None:
    """The error that a person can act upon, out of the groups that tasks fail with."""
    if isinstance(error, BaseExceptionGroup):
        found = (_first_of_ours(inner) for inner in error.exceptions)
        return next((inner for inner in found if inner is not None), None)
    return error if isinstance(error, BackstayError) else None


def _write_kubeconfig(path: Path, document: dict[str, object]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yaml.safe_dump(document, file, sort_keys=False)
