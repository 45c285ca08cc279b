"""Releases of a systemd unit, in a machine whose systemd runs them."""

import asyncio
import io
import tarfile
import unittest
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backstay.adapters.kube.client import KubeClient
from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription, Repository
from backstay.sandbox import Sandbox
from tests.cluster.test_agent import answered, order, until
from tests.contracts.installers import UNIT, UNITS_OF_SYSTEMD
from tests.contracts.rauc_node import Signer
from tests.vm.conftest import Served
from tests.vm.delivery import deliver
from tests.vm.machine import Machine

pytestmark = pytest.mark.machine

UNITS = "/run/systemd/system"
"""The system of the machine is read-only, so its units are put here, and put again after each boot."""
RUNS = [{"name": "service", "kind": "ServiceHealthy", "unit": UNIT, "minUptime": "3s"}]
WORKS = "#!/bin/sh\nwhile :; do sleep 1; done\n"
CRASHES = "#!/bin/sh\nexit 1\n"
ANSWERED = 200
PACKAGES = ("_pytest", "pytest", "pytest_asyncio*", "pluggy", "iniconfig", "packaging", "py.py")
CONTRACT = ("installers.py", "test_installers.py", "killed_installer.py", "rauc_node.py", "grub_node.py")


def unit_of(program: str, restart: str = "always") -> bytes:
    unit = f"[Unit]\nDescription=Sees\n[Service]\nExecStart=@RELEASE@/sees\nRestart={restart}\n"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text, mode in ((UNIT, unit, 0o644), ("sees", program, 0o755)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), mode
            tar.addfile(entry, io.BytesIO(text.encode()))
    return archive.getvalue()


async def push(registry: str, version: str, payload: bytes, directory: Path) -> ArtifactDescription:
    path = directory / f"unit-{version}.tar"
    path.write_bytes(payload)
    async with aiohttp.ClientSession() as session:
        artifact = NewArtifact(Plane.FIRMWARE, version, "rk3566", path)
        repository = Repository.parse(f"{registry}/nodes/unit")
        return await push_artifact(OciRegistry(Transport(session)), repository, artifact)


async def firmware_is_a_unit(machine: Machine) -> None:
    drop_in = (
        "[Service]\nExecStart=\nExecStart=/usr/local/bin/backstay agent run --commander /data/etc/device "
        f"--kubeconfig /data/etc/kubeconfig --data /data/backstay --safe-mode-file /data/etc/safe-mode "
        f"--firmware unit --unit {UNIT} --units {UNITS}\n"
    )
    await machine.write(f"{UNITS}/backstay-agent.service.d/unit.conf", drop_in.encode())
    await machine.run("systemctl daemon-reload")


async def shown(machine: Machine) -> dict[str, str]:
    said = await machine.run(f"systemctl show {UNIT} --property=ActiveState,MainPID,Environment")
    return dict(line.split("=", 1) for line in said.splitlines())


async def becomes(machine: Machine, state: str) -> None:
    async with asyncio.timeout(60):
        while (await shown(machine))["ActiveState"] != state:
            await asyncio.sleep(0.2)


@pytest.mark.timeout(600)
async def test_unit_runs_when_it_proves_itself_comes_back_when_it_crashes_and_ends_in_safe_mode(
    sandbox: Sandbox, kube: KubeClient, namespace: str, machine: Machine, tmp_path: Path
) -> None:
    await firmware_is_a_unit(machine)
    await deliver(machine, sandbox, namespace, Signer.make(tmp_path, "builder"))
    good = await push(sandbox.registry, "1.0.0", unit_of(WORKS), tmp_path)
    bad = await push(sandbox.registry, "2.0.0", unit_of(CRASHES), tmp_path)

    await order(kube, namespace, 1, good, probes=RUNS, window="60s")
    found = await told(kube, namespace, 1)
    assert (found["state"], found["running"]) == ("Confirmed", good.content)
    runs = f"BACKSTAY_RELEASE={good.content.removeprefix('sha256:')}"
    process = (await shown(machine))["MainPID"]
    assert runs in (await machine.run(f"tr '\\0' '\\n' < /proc/{process}/environ")).splitlines()

    await order(kube, namespace, 2, bad, probes=RUNS, window="20s")
    found = await told(kube, namespace, 2)
    assert (found["state"], found["running"]) == ("RolledBack", good.content)
    # systemd had given up starting it again, and would not have started its fallback either.
    after = await shown(machine)
    assert (after["ActiveState"], after["Environment"]) == ("active", runs)
    assert after["MainPID"] != process

    await machine.run("touch /data/etc/safe-mode")
    await becomes(machine, "inactive")
    await machine.run("rm /data/etc/safe-mode")
    await becomes(machine, "active")


async def told(kube: KubeClient, namespace: str, number: int) -> dict[str, Any]:
    return dict((await until(kube, namespace, answered(Plane.FIRMWARE, number), ANSWERED))["planes"]["firmware"])


@pytest.mark.timeout(900)
async def test_unit_installer_keeps_the_contract_of_all_installers(machine: Machine, served: Served) -> None:
    with tarfile.open(served.directory / "tests.tar", "w") as archive:
        for name in CONTRACT:
            archive.add(Path(__file__).parents[1] / "contracts" / name, f"tests/contracts/{name}")
        packages = Path(pytest.__file__).parents[1]
        for path in (path for pattern in PACKAGES for path in packages.glob(pattern)):
            archive.add(path, path.name)
        # pytest imports it, and no agent does.
        archive.add(Path(unittest.__file__).parent, "unittest")
    await machine.run(f"mkdir -p /data/contract && {served.fetch('tests.tar', '/data/contract/tests.tar')}")
    await machine.run("cd /data/contract && tar -xf tests.tar", seconds=60)
    options = (
        "-qx -p pytest_asyncio -p no:cacheprovider --noconftest -o asyncio_mode=auto --basetemp=/data/tmp -Wignore"
    )
    chosen = "-k 'unit and not any_touch' tests/contracts/test_installers.py"
    variables = f"PYTHONPATH=/opt/lib:. {UNITS_OF_SYSTEMD}={UNITS}"
    said = await machine.run(f"cd /data/contract && {variables} python3 -m pytest {options} {chosen}", seconds=800)
    assert " passed" in said, said
    assert "skipped" not in said, said
