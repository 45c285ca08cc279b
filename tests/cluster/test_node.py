"""A node of the sandbox: a real kubelet runs real Pods, and nothing of it is left when it ends."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from backstay.adapters.kube.client import KubeClient, Resource
from backstay.errors import Forbidden, NotFound, Refused
from backstay.sandbox import Sandbox, detached
from backstay.sandbox.image import Image, push_image
from backstay.sandbox.node import cgroups
from backstay.sandbox.node.first_process import WANTED_SETTINGS
from backstay.sandbox.node.network import DEVICES
from backstay.sandbox.node.node import Node
from backstay.sandbox.node.record import Record, records
from backstay.sandbox.process import Identity
from tests.cluster.test_sandbox import backstay

PORT = 8080
NODES = Resource("", "v1", "nodes", namespaced=False)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    """A sandbox with two nodes, of this module's own: its nodes' crashes are nobody else's."""
    async with Sandbox.start(tmp_path_factory.mktemp("node") / "sandbox", audit=False, nodes=1) as sandbox:
        yield sandbox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def first(site: Sandbox) -> Node:
    return site.node("node-1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def second(site: Sandbox) -> Node:
    return await site.add_node("edge-2")


@pytest_asyncio.fixture(loop_scope="module")
async def own_directory(tmp_path: Path) -> AsyncIterator[Path]:
    """A directory for a sandbox of the test's own, which is ended whatever happens."""
    yield tmp_path / "sandbox"
    await detached.finish(tmp_path / "sandbox")


async def web_image(sandbox: Sandbox, text: str) -> str:
    command = ("/bin/busybox", "httpd", "-f", "-p", str(PORT), "-h", "/www")
    return await push_image(
        sandbox.registry, "test/web:1", Image.busybox(*command, files={"www/index.html": text.encode()})
    )


def pod(name: str, image: str, **spec: object) -> dict[str, object]:
    container = {"name": "web", "image": image}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"dnsPolicy": "Default", "terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }


def put_manifest(node: Node, name: str, manifest: dict[str, object]) -> None:
    temporary = node.manifests.parent / f"{name}.new"
    temporary.write_text(json.dumps(manifest), encoding="utf-8")
    temporary.replace(node.manifests / f"{name}.json")


async def running_at(sandbox: Sandbox, name: str) -> str:
    """The address of a Pod, once it is Running."""
    wait = ("wait", f"pod/{name}", "--timeout=30s")
    await sandbox.kubectl(*wait, "--for=create")
    await sandbox.kubectl(*wait, "--for=condition=Ready")
    status = json.loads(await sandbox.kubectl("get", "pod", name, "--output=json"))["status"]
    assert status["phase"] == "Running"
    return str(status["podIP"])


async def answers(address: str, text: str, seconds: float = 30) -> None:
    """Wait until an address answers with a text."""
    timeout = aiohttp.ClientTimeout(total=2)
    async with asyncio.timeout(seconds), aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            try:
                async with session.get(f"http://{address}:{PORT}/") as response:
                    if await response.text() == text:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.1)


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.05)


async def test_node_is_ready_when_it_was_added(site: Sandbox, first: Node, second: Node):
    nodes = json.loads(await site.kubectl("get", "nodes", "--output=json"))["items"]

    assert {node["metadata"]["name"]: ready_of(node) for node in nodes} == {"node-1": "True", "edge-2": "True"}
    assert {address["address"] for node in nodes for address in node["status"]["addresses"]} >= {
        first.address,
        second.address,
    }


def ready_of(node: dict[str, dict[str, list[dict[str, str]]]]) -> str:
    return next(found["status"] for found in node["status"]["conditions"] if found["type"] == "Ready")


async def test_static_pod_runs_is_replaced_and_goes_when_its_manifest_does(site: Sandbox, first: Node):
    put_manifest(first, "web", pod("web", await web_image(site, "one")))
    address = await running_at(site, "web-node-1")
    await answers(address, "one")
    before = json.loads(await site.kubectl("get", "pod", "web-node-1", "--output=json"))
    assert "kubernetes.io/config.mirror" in before["metadata"]["annotations"]

    put_manifest(first, "web", pod("web", await web_image(site, "two")))
    async with asyncio.timeout(30):
        while True:
            try:
                changed = json.loads(await site.kubectl("get", "pod", "web-node-1", "--output=json"))
            except NotFound:
                changed = before
            if changed["metadata"]["uid"] != before["metadata"]["uid"]:
                break
            await asyncio.sleep(0.1)
    await answers(await running_at(site, "web-node-1"), "two")

    (first.manifests / "web.json").unlink()
    await site.kubectl("wait", "pod/web-node-1", "--for=delete", "--timeout=30s")
    with pytest.raises(NotFound):
        await site.kubectl("get", "pod", "web-node-1")


async def test_two_nodes_have_the_same_port_when_pods_use_the_network_of_their_node(
    site: Sandbox, first: Node, second: Node
):
    for node, text in ((first, "first"), (second, "second")):
        put_manifest(node, "host", pod("host", await web_image(site, text), hostNetwork=True))

    for node, text in ((first, "first"), (second, "second")):
        await answers(node.address, text)
        assert await node.run("busybox", "wget", "-q", "-O", "-", f"http://127.0.0.1:{PORT}/") == text
    for node in (first, second):
        (node.manifests / "host.json").unlink()
        await site.kubectl("wait", f"pod/host-{node.name}", "--for=delete", "--timeout=30s")


async def test_pod_of_the_api_runs_when_it_names_the_node_and_people_can_look_into_it(site: Sandbox, second: Node):
    manifest = pod("named", await web_image(site, "named"), nodeName=second.name)
    await site.kubectl("wait", "serviceaccount/default", "--for=create", "--timeout=30s")

    await site.kubectl("create", "-f", "-", input=json.dumps(manifest))
    address = await running_at(site, "named")

    await answers(address, "named")
    assert await site.kubectl("exec", "named", "--", "/bin/busybox", "cat", "/www/index.html") == "named"
    assert await site.kubectl("logs", "named") == ""
    assert second.logs("default", "named") == ""
    assert "test/web" in await second.ctr("containers", "list")
    await site.kubectl("delete", "pod", "named")


async def test_node_is_nobody_else_when_it_uses_its_own_identity(site: Sandbox, first: Node, second: Node):
    seen = {"status": {"nodeInfo": {"bootID": "seen"}}}

    user = json.loads(await site.kubectl("auth", "whoami", "--output=json", kubeconfig=first.kubeconfig))
    assert user["status"]["userInfo"]["username"] == "system:node:node-1"
    assert user["status"]["userInfo"]["groups"] == ["system:nodes", "system:authenticated"]
    async with KubeClient.connect(first.kubeconfig) as client:
        await client.merge_patch(NODES, first.name, seen, subresource="status")
        with pytest.raises(Forbidden, match=r"node-1.*edge-2"):
            await client.merge_patch(NODES, second.name, seen, subresource="status")
        with pytest.raises(Forbidden, match="node 'node-1' cannot read 'edge-2'"):
            await client.get(NODES, second.name)


async def test_node_reads_a_secret_when_a_pod_of_its_own_uses_it_and_else_not(site: Sandbox, first: Node, second: Node):
    for name in ("wanted", "unwanted"):
        await site.kubectl("create", "secret", "generic", name, "--from-literal=word=quiet")
    volume = {"name": "wanted", "secret": {"secretName": "wanted"}}
    manifest = pod("user", await web_image(site, "user"), nodeName=first.name, volumes=[volume])
    await site.kubectl("create", "-f", "-", input=json.dumps(manifest))
    await running_at(site, "user")

    assert "wanted" in await site.kubectl("get", "secret", "wanted", kubeconfig=first.kubeconfig)
    with pytest.raises(Forbidden, match="no relationship found between node 'edge-2'"):
        await site.kubectl("get", "secret", "wanted", kubeconfig=second.kubeconfig)
    with pytest.raises(Forbidden, match="no relationship found between node 'node-1'"):
        await site.kubectl("get", "secret", "unwanted", kubeconfig=first.kubeconfig)
    with pytest.raises(Forbidden):
        await site.kubectl("get", "secrets", kubeconfig=first.kubeconfig)
    await site.kubectl("delete", "pod", "user")


async def test_containers_go_on_when_kubelet_and_containerd_stop(site: Sandbox, first: Node):
    put_manifest(first, "steady", pod("steady", await web_image(site, "steady")))
    address = await running_at(site, "steady-node-1")

    await first.stop_kubelet()
    await first.stop_containerd()
    await answers(address, "steady")
    (first.manifests / "steady.json").unlink()
    await asyncio.sleep(1)
    await answers(address, "steady")
    await first.start_containerd()
    await first.start_kubelet()

    await site.kubectl("wait", "pod/steady-node-1", "--for=delete", "--timeout=30s")


async def test_static_pod_is_back_when_the_power_of_its_node_was_cut(site: Sandbox, second: Node):
    put_manifest(second, "back", pod("back", await web_image(site, "back")))
    await answers(await running_at(site, "back-edge-2"), "back")

    inside = processes_in(second.record)
    await second.cut_power()
    assert not still_there(inside)
    await second.start()

    async with asyncio.timeout(60):
        while True:
            address = await running_at(site, "back-edge-2")
            try:
                await answers(address, "back", seconds=1)
                break
            except TimeoutError:
                continue
    (second.manifests / "back.json").unlink()
    await site.kubectl("wait", "pod/back-edge-2", "--for=delete", "--timeout=30s")


async def test_node_goes_when_the_sandbox_ends_and_the_machine_is_as_before(tmp_path: Path):
    before = settings_of_the_machine()

    async with Sandbox.start(tmp_path / "sandbox", audit=False, nodes=1) as sandbox:
        node = sandbox.node("node-1")
        put_manifest(node, "web", pod("web", await web_image(sandbox, "here")))
        await answers(await running_at(sandbox, "web-node-1"), "here")
        inside = processes_in(node.record)
        assert {"containerd", "kubelet", "busybox", "containerd-shim"} <= set(inside.values())
        assert traces_of(node.record)

    assert not still_there(inside)
    assert traces_of(node.record) == []
    assert settings_of_the_machine() == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_node_goes_when_the_owner_of_the_sandbox_is_ended(own_directory: Path, number: signal.Signals):
    program = """
import asyncio, pathlib, signal, sys
from backstay.sandbox import Sandbox

# Whoever runs the tests in the background lets them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    async with Sandbox.start(pathlib.Path(sys.argv[1]), audit=False, nodes=1):
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
    command = [sys.executable, "-c", program, str(own_directory)]
    parent = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"ready\n"
    (record,) = records(own_directory)
    inside = processes_in(record)
    assert {"containerd", "kubelet"} <= set(inside.values())
    parent.send_signal(number)
    await parent.wait()

    await until(lambda: not still_there(inside))
    # Control groups are all that the kernel keeps of processes that were killed; whoever comes next clears them away.
    await until(lambda: all(trace.startswith(str(cgroups.ROOT)) for trace in traces_of(record)))
    await detached.finish(own_directory)
    assert traces_of(record) == []


async def test_sandbox_command_says_where_the_nodes_files_are_and_ends_them(own_directory: Path):
    where = f"--directory={own_directory}"

    up = await asyncio.to_thread(backstay, "up", where, "--node", "--node")
    assert up.returncode == 0, up.stderr
    found = records(own_directory)
    environment = (await asyncio.to_thread(backstay, "env", where)).stdout
    down = await asyncio.to_thread(backstay, "down", where)

    assert [record.name for record in found] == ["node-1", "node-2"]
    for record in found:
        assert f"{record.name} at {record.address} runs the Pods whose manifests are in {record.manifests}" in up.stdout
        number = record.name.removeprefix("node-")
        assert f"export BACKSTAY_NODE_{number}_KUBECONFIG={record.kubeconfig}\n" in environment
    assert down.returncode == 0
    assert [trace for record in found for trace in traces_of(record)] == []


async def test_node_is_refused_when_its_name_is_taken_or_none(site: Sandbox, first: Node):
    with pytest.raises(Refused, match="has a node node-1 already"):
        await site.add_node(first.name)
    with pytest.raises(Refused, match="'Node_1' cannot be a node's name"):
        await site.add_node("Node_1")
    with pytest.raises(NotFound, match=r"no node 'node-9'; it has node-1"):
        site.node("node-9")


async def test_node_is_refused_when_the_user_is_not_root(site: Sandbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(Refused, match="run this as root"):
        await site.add_node("node-9")


@pytest.mark.parametrize("asked", ["--node", "--workloads"])
async def test_up_refuses_nodes_and_workloads_when_the_cluster_is_somebody_else_s(
    site: Sandbox, tmp_path: Path, asked: str
):
    where = (f"--directory={tmp_path / 'up'}", f"--kubeconfig={site.kubeconfig}")

    up = await asyncio.to_thread(backstay, "up", *where, asked)

    assert up.returncode == 1
    assert f"leave out {asked} or --kubeconfig" in up.stderr


async def test_node_is_refused_when_the_cluster_is_not_the_sandbox_s_own(site: Sandbox, tmp_path: Path):
    async with Sandbox.attach(site.kubeconfig, tmp_path / "attached") as attached:
        with pytest.raises(Refused, match="only a cluster of the sandbox's own takes nodes"):
            await attached.add_node("node-1")


def processes_in(record: Record) -> dict[int, str]:
    """Every process of a node, by number, with its name."""
    first = Path(record.pid_file).read_text(encoding="ascii")
    world = Path(f"/proc/{first}/ns/pid").readlink()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # A container counts processes in a world of its own, and is known by its groups.
            in_group = record.cgroup in (process / "cgroup").read_text(encoding="ascii")
            if in_group or (process / "ns/pid").readlink() == world:
                found[int(process.name)] = (process / "comm").read_text(encoding="utf-8").strip()
        except OSError:
            continue
    return found


def still_there(processes: dict[int, str]) -> list[str]:
    return [name for pid, name in processes.items() if Identity.of(pid) is not None]


def traces_of(record: Record) -> list[str]:
    """What this machine still knows of a node: network devices, mounts, control groups."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    ours = (str(Path(record.manifests).parent), str(Path(record.kubelet_root).parent))
    groups = [top / record.cgroup for top in cgroups.hierarchies()]
    return [
        *[str(group) for group in groups if group.exists()],
        *[mount for mount in mounts if any(place in mount for place in ours)],
        *[str(path) for path in (DEVICES / record.link, *Path("/run/netns").glob("cni-*")) if path.exists()],
    ]


def settings_of_the_machine() -> dict[str, str]:
    """What a kubelet and a network plugin would change if they could."""
    names = [*WANTED_SETTINGS, "net/ipv4/ip_forward"]
    return {name: Path("/proc/sys", name).read_text(encoding="ascii") for name in names}
