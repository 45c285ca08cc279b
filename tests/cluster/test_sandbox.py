"""The sandbox itself: everything is ready, reachable from this machine alone, and gone when it should be."""

import asyncio
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import aiohttp
import pytest

from backstay.errors import NotFound, Refused, Unavailable
from backstay.sandbox import Sandbox, detached
from backstay.sandbox.ports import free_ports
from backstay.sandbox.process import ComponentFailed, Identity
from backstay.sandbox.state import State

EVERYTHING = {"etcd", "kube-apiserver", "kube-controller-manager", "prometheus", "alertmanager", "registry"}
READY_SECONDS = 10.0
LISTENING = "0A"


@pytest.fixture
def own_directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for a sandbox of the test's own, which is ended whatever happens."""
    yield tmp_path / "sandbox"
    asyncio.run(detached.finish(tmp_path / "sandbox"))


async def ask(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        return await response.text()


async def query(sandbox: Sandbox, expression: str) -> list[dict[str, object]]:
    answer = json.loads(await ask(f"{sandbox.prometheus_url}/api/v1/query?query={expression}"))
    result: list[dict[str, object]] = answer["data"]["result"]
    return result


async def until_found(sandbox: Sandbox, expression: str) -> list[dict[str, object]]:
    async with asyncio.timeout(15):
        while not (result := await query(sandbox, expression)):
            await asyncio.sleep(0.2)
        return result


def processes(sandbox_directory: Path) -> dict[str, Identity]:
    state = State.load(sandbox_directory)
    assert state is not None
    return {component.name: component.process for component in state.components if component.process is not None}


def listening_addresses(pid: int) -> set[str]:
    """The local addresses, in the kernel's hexadecimal, of every TCP port on which a process listens."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    inodes = {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
    lines = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {fields[1].partition(":")[0] for fields in lines if fields[3] == LISTENING and fields[9] in inodes}


def own(names: Iterable[str]) -> set[str]:
    """What every sandbox has; other tests may have added nodes to this one, which are seen to in test_node.py."""
    return {name for name in names if not name.endswith(("-machine", "-containerd", "-kubelet"))}


async def test_sandbox_is_ready_when_it_has_started(sandbox: Sandbox):
    found = State.load(sandbox.directory)

    assert found is not None
    assert found.ready
    conditions = await detached.conditions(found)
    assert own(condition.component.name for condition in conditions if condition.ready) == EVERYTHING


async def test_sandbox_listens_on_loopback_alone(sandbox: Sandbox):
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}

    listening = {name: listening_addresses(process.pid) for name, process in processes(sandbox.directory).items()}

    assert own(listening) == EVERYTHING
    assert all(listening[name] and listening[name] <= loopback for name in EVERYTHING), listening


async def test_secrets_are_for_this_user_alone(sandbox: Sandbox):
    kubeconfig = await sandbox.service_account_kubeconfig("default", "default")

    for path in (sandbox.kubeconfig, kubeconfig):
        assert path.stat().st_mode & 0o077 == 0
    assert (sandbox.directory / "data").resolve().stat().st_mode & 0o077 == 0


async def test_api_server_tells_the_nameless_nothing_but_its_health(sandbox: Sandbox):
    async with aiohttp.ClientSession() as session:
        statuses = [
            (await session.get(f"{sandbox.api_url}{path}", ssl=False)).status
            for path in ("/readyz", "/version", "/api")
        ]

    assert statuses == [200, 401, 401]


async def test_service_account_is_who_its_kubeconfig_says(sandbox: Sandbox, namespace: str):
    await sandbox.kubectl("create", "serviceaccount", "bridge", f"--namespace={namespace}")

    kubeconfig = await sandbox.service_account_kubeconfig(namespace, "bridge")

    answer = json.loads(await sandbox.kubectl("auth", "whoami", "--output=json", kubeconfig=kubeconfig))
    assert answer["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:bridge"


async def test_service_account_kubeconfig_refuses_when_there_is_no_such_account(sandbox: Sandbox, namespace: str):
    with pytest.raises(NotFound, match="nobody"):
        await sandbox.service_account_kubeconfig(namespace, "nobody")


async def test_controllers_work(sandbox: Sandbox, namespace: str):
    parent = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: parent, namespace: {namespace}}}
"""
    await sandbox.apply(parent)
    uid = await sandbox.kubectl(
        "get", "configmap", "parent", f"--namespace={namespace}", "--output=jsonpath={.metadata.uid}"
    )
    owner = f"ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: parent, uid: {uid}}}]"
    await sandbox.apply(parent.replace("name: parent,", f"name: child, {owner},"))

    await sandbox.kubectl("delete", "configmap", "parent", f"--namespace={namespace}")

    await sandbox.kubectl("wait", "--for=delete", "configmap/child", f"--namespace={namespace}", "--timeout=90s")


async def test_prometheus_scrapes_when_a_job_comes_and_forgets_it_when_it_goes(sandbox: Sandbox):
    sandbox.scrape("itself", sandbox.prometheus_url.removeprefix("http://"))

    result = await until_found(sandbox, 'up{job="itself"}==1')

    assert len(result) == 1
    sandbox.scrape_no_more("itself")
    async with asyncio.timeout(20):
        while await query(sandbox, 'up{job="itself"}'):
            await asyncio.sleep(0.2)


async def test_alert_reaches_alertmanager_when_a_rule_fires(sandbox: Sandbox):
    rule = "groups: [{name: proof, rules: [{alert: Proof, expr: vector(1), labels: {severity: page}}]}]"

    await sandbox.rules("proof", rule)

    async with asyncio.timeout(20):
        while "Proof" not in await ask(f"{sandbox.alertmanager_url}/api/v2/alerts"):
            await asyncio.sleep(0.2)


async def test_rules_are_refused_with_prometheus_own_words_when_they_are_wrong(sandbox: Sandbox):
    with pytest.raises(Unavailable, match="wrong"):
        await sandbox.rules("wrong", "groups: [{name: wrong, rules: [{alert: Wrong, expr: 'sum('}]}]")

    await sandbox.rules("wrong", "groups: []")


async def test_registry_answers(sandbox: Sandbox):
    assert "repositories" in json.loads(await ask(f"http://{sandbox.registry}/v2/_catalog"))


async def test_audit_log_has_a_write_with_its_body_when_it_is_answered(sandbox: Sandbox, namespace: str):
    hold = f"""
apiVersion: backstay.dev/v1alpha1
kind: Hold
metadata: {{name: recount, namespace: {namespace}}}
spec: {{scope: {{devices: [camera-7]}}, reason: "proof"}}
"""
    await sandbox.apply(hold)

    assert sandbox.audit_log is not None
    events = [json.loads(line) for line in sandbox.audit_log.read_text().splitlines()]
    found = [event for event in events if event["objectRef"].get("namespace") == namespace]
    assert [event["requestObject"]["spec"]["reason"] for event in found] == ["proof"]


async def test_component_keeps_port_and_data_when_it_starts_again(sandbox: Sandbox):
    sandbox.scrape("kept", sandbox.prometheus_url.removeprefix("http://"))
    await until_found(sandbox, 'up{job="kept"}')
    sandbox.scrape_no_more("kept")

    await sandbox.stop("prometheus")
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(f"{sandbox.prometheus_url}/-/ready")
    await sandbox.start_component("prometheus")

    assert await query(sandbox, 'count_over_time(up{job="kept"}[1m])')


async def test_component_that_hangs_answers_again_when_it_goes_on(sandbox: Sandbox):
    sandbox.send("alertmanager", signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await ask(f"{sandbox.alertmanager_url}/-/ready")

    sandbox.send("alertmanager", signal.SIGCONT)

    await ask(f"{sandbox.alertmanager_url}/-/ready")


async def test_sandbox_names_what_it_has_when_a_component_is_unknown(sandbox: Sandbox):
    with pytest.raises(Refused, match=r"no component 'grafana'; it has .*prometheus"):
        await sandbox.stop("grafana")


async def test_second_sandbox_is_refused_when_one_is_up_in_the_directory(sandbox: Sandbox):
    with pytest.raises(Refused, match="is up already"):
        async with Sandbox.start(sandbox.directory):
            pass


async def test_cluster_that_exists_is_used_when_its_kubeconfig_is_given(sandbox: Sandbox, tmp_path: Path):
    async with Sandbox.attach(sandbox.kubeconfig, tmp_path / "attached") as attached:
        assert set(processes(attached.directory)) == {"prometheus", "alertmanager", "registry"}
        assert attached.api_url == sandbox.api_url
        assert "kube-system" in await attached.kubectl("get", "namespaces")
        kubeconfig = await attached.service_account_kubeconfig("default", "default")
        assert "default:default" in await attached.kubectl("auth", "whoami", kubeconfig=kubeconfig)


async def test_attach_says_so_when_the_cluster_does_not_answer(sandbox: Sandbox, tmp_path: Path):
    nowhere = tmp_path / "kubeconfig"
    port = free_ports().api
    nowhere.write_text(sandbox.kubeconfig.read_text().replace(sandbox.api_url, f"https://127.0.0.1:{port}"))

    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}"):
        async with Sandbox.attach(nowhere, tmp_path / "attached"):
            pass


async def test_attach_says_so_when_the_kubeconfig_is_not_there(tmp_path: Path):
    with pytest.raises(Refused, match="no-such-file"):
        async with Sandbox.attach(tmp_path / "no-such-file", tmp_path / "attached"):
            pass


async def test_sandbox_takes_other_ports_when_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        choices = [free_ports(), free_ports()]
        taken = dataclasses.replace(choices[0], registry=busy.getsockname()[1])
        monkeypatch.setattr("backstay.sandbox.cluster.free_ports", iter([taken, choices[1]]).__next__)

        async with Sandbox.start(tmp_path / "sandbox", audit=False) as sandbox:
            assert sandbox.registry == f"127.0.0.1:{choices[1].registry}"


async def test_everything_ends_when_the_block_fails_and_the_error_says_where_the_logs_are(tmp_path: Path):
    started: dict[str, Identity] = {}

    async def fail() -> None:
        async with Sandbox.start(tmp_path / "sandbox") as sandbox:
            started.update(processes(sandbox.directory))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as failure:
        await fail()

    assert set(started) == EVERYTHING
    assert not any(process.alive() for process in started.values())
    assert not (tmp_path / "sandbox" / "data").exists()
    assert str(tmp_path / "sandbox" / "logs") in failure.value.__notes__[0]
    assert (tmp_path / "sandbox" / "logs" / "kube-apiserver.log").stat().st_size > 0


async def test_watch_names_the_component_and_its_log_when_one_dies(tmp_path: Path):
    async with Sandbox.start(tmp_path / "sandbox", audit=False) as sandbox:
        sandbox.check()
        os.kill(processes(sandbox.directory)["registry"].pid, signal.SIGKILL)

        with pytest.raises(ComponentFailed, match=r"registry was ended by SIGKILL; its log is .*registry\.log"):
            async with asyncio.timeout(5):
                await sandbox.watch()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_when_the_parent_is_ended(own_directory: Path, number: signal.Signals):
    program = """
import asyncio, pathlib, signal, sys
from backstay.sandbox import Sandbox

# Whoever runs the tests in the background lets them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    async with Sandbox.start(pathlib.Path(sys.argv[1])):
        print("ready", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
    command = [sys.executable, "-c", program, str(own_directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        started = processes(own_directory)
        parent.send_signal(number)

    assert set(started) == EVERYTHING
    deadline = time.monotonic() + 5
    while any(process.alive() for process in started.values()):
        assert time.monotonic() < deadline, "a process has outlived its parent"
        time.sleep(0.05)


def backstay(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from backstay.cli.main import main; main()", "sandbox", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL)


def test_sandbox_command_goes_through_its_whole_life(own_directory: Path):
    where = f"--directory={own_directory}"

    began = time.monotonic()
    up = backstay("up", where)
    took = time.monotonic() - began
    again = backstay("up", where)
    status = backstay("status", where)
    environment = backstay("env", where)
    started = processes(own_directory)
    down = backstay("down", where)
    once_more = backstay("down", where)
    afterwards = backstay("status", where)

    assert up.returncode == 0, up.stderr
    assert took < 3 * READY_SECONDS
    assert again.returncode == 0
    assert "is up already" in again.stdout
    assert status.returncode == 0
    assert all(re.search(rf"^{name} .* yes .*{name}\.log", status.stdout, re.MULTILINE) for name in EVERYTHING)
    assert f"export KUBECONFIG={own_directory}/kubeconfig\n" in environment.stdout
    assert down.returncode == 0
    assert set(started) == EVERYTHING
    assert not any(process.alive() for process in started.values())
    assert once_more.returncode == 0
    assert afterwards.returncode == 1
    assert afterwards.stderr.startswith("error: no sandbox is up in ")


def test_up_says_what_is_wrong_when_the_kubeconfig_is_bad(own_directory: Path, tmp_path: Path):
    up = backstay("up", f"--directory={own_directory}", f"--kubeconfig={tmp_path / 'absent'}")

    assert up.returncode == 4
    assert "absent" in up.stderr
    assert "Traceback" not in up.stderr


def test_kept_sandbox_stays_when_its_parent_has_ended_and_down_ends_it(own_directory: Path):
    program = """
import asyncio, pathlib, signal, sys
from backstay.sandbox import Sandbox

# Whoever runs the tests in the background lets them ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    async with Sandbox.start(pathlib.Path(sys.argv[1]), audit=False, keep=True):
        pass

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program, str(own_directory)], check=True, timeout=60)

    started = processes(own_directory)
    assert set(started) == EVERYTHING
    assert all(process.alive() for process in started.values())
    assert backstay("down", f"--directory={own_directory}").returncode == 0
    assert not any(process.alive() for process in started.values())
