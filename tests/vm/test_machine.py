"""A whole device, booted: RAUC writes the other slot, GRUB tries it, and it proves itself or the device comes back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.adapters.kube.client import KubeClient
from backstay.sandbox import Sandbox
from backstay.sandbox.components import kubeconfig
from tests.cluster.test_agent import DEVICE, answered, appoint, order, until
from tests.contracts.rauc_node import Signer
from tests.vm.bundles import FINE, HANGS, PANICS, WITHOUT_AGENT, Builder, push
from tests.vm.machine import Machine
from tests.vm.snapshot import prepared

NODE = "machine.example"
CONNECTED = [{"name": "agent", "kind": "AgentConnected"}]
TOO_MUCH = [{"name": "memory", "kind": "MemoryHeadroom", "min": "64Gi"}]
RETURNED = 400


@pytest.fixture
async def machine(sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine as the factory delivers it, and what its administrator puts there."""
    image, begun = await asyncio.to_thread(prepared)
    await appoint(sandbox, kube, namespace, DEVICE, NODE)
    async with Machine(tmp_path / "machine", image, begun) as made:
        await made.go_on()
        yield made


async def deliver(machine: Machine, sandbox: Sandbox, namespace: str, signer: Signer) -> None:
    """Put on the partition of data what the administrator does, and start the agent as a boot does."""
    user = sandbox._credentials.authority.issue(
        f"machine-{namespace}", f"system:node:{NODE}", organizations=["system:nodes"]
    )
    document: Any = kubeconfig(sandbox.api_url, sandbox._credentials.authority.certificate, user)
    document["users"][0]["user"] = {"client-certificate": "machine.crt", "client-key": "machine.key"}
    document["clusters"][0]["cluster"].pop("certificate-authority-data", None)
    document["clusters"][0]["cluster"]["certificate-authority"] = "ca.crt"
    ports = (sandbox.api_url.rpartition(":")[2], sandbox.registry.rpartition(":")[2])
    files = {
        "kubeconfig": yaml.safe_dump(document).encode(),
        "ca.crt": sandbox._credentials.authority.certificate.read_bytes(),
        "machine.crt": user.certificate.read_bytes(),
        "machine.key": user.key.read_bytes(),
        "keyring.pem": signer.certificate.read_bytes(),
        "ports": "".join(f"{port}\n" for port in ports).encode(),
        "device": f"{namespace}/{DEVICE}\n".encode(),
    }
    for name, data in files.items():
        await machine.write(f"/data/etc/{name}", data)
    await machine.run("systemctl restart network-of-test; systemctl start --no-block backstay-agent")


async def slot_of(machine: Machine) -> str:
    return (await machine.run("tr ' ' '\\n' < /proc/cmdline | sed -n s/^rauc.slot=//p")).strip()


async def variables(machine: Machine) -> dict[str, str]:
    listed = await machine.run("grub-editenv /boot/grub/grubenv list")
    return dict(line.split("=", 1) for line in listed.splitlines())


@pytest.mark.timeout(900)
async def test_machine_takes_an_update_over_a_reboot_when_it_proves_itself(
    sandbox: Sandbox, kube: KubeClient, namespace: str, machine: Machine, tmp_path: Path
) -> None:
    builder = Builder(tmp_path, machine.image, Signer.make(tmp_path, "builder"))
    await deliver(machine, sandbox, namespace, builder.signer)
    good = await push(sandbox.registry, "2.0.0", builder.bundle("2.0.0", FINE))
    await order(kube, namespace, 1, good, probes=CONNECTED, window="120s")
    found = (await until(kube, namespace, answered("firmware", 1), RETURNED))["planes"]["firmware"]
    assert (found["state"], found["running"]) == ("Confirmed", good.content)
    await machine.is_up()
    assert await slot_of(machine) == "B"
    assert await machine.run("cat /version") == "2.0.0"
    assert await variables(machine) == {"ORDER": "B A", "A_OK": "1", "A_TRY": "0", "B_OK": "1", "B_TRY": "0"}
    unit = await machine.run("systemctl show -p NRestarts -p WatchdogUSec -p ActiveState backstay-agent")
    assert set(unit.split()) == {"NRestarts=0", "WatchdogUSec=30s", "ActiveState=active"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("files", "probes", "window"),
    [
        pytest.param(PANICS, CONNECTED, "120s", id="panics"),
        pytest.param(HANGS, CONNECTED, "120s", id="hangs"),
        pytest.param(WITHOUT_AGENT, CONNECTED, "120s", id="its-agent-does-not-start"),
        pytest.param(FINE, TOO_MUCH, "10s", id="its-probe-fails"),
    ],
)
async def test_machine_comes_back_when_an_image(
    sandbox: Sandbox,
    kube: KubeClient,
    namespace: str,
    machine: Machine,
    tmp_path: Path,
    files: dict[str, str],
    probes: list[dict[str, str]],
    window: str,
) -> None:
    builder = Builder(tmp_path, machine.image, Signer.make(tmp_path, "builder"))
    await deliver(machine, sandbox, namespace, builder.signer)
    bad = await push(sandbox.registry, "2.0.0", builder.bundle("2.0.0", files))
    await order(kube, namespace, 1, bad, probes=probes, window=window)
    found = (await until(kube, namespace, answered("firmware", 1), RETURNED))["planes"]["firmware"]
    assert found["state"] == "RolledBack"
    await machine.is_up()
    assert await slot_of(machine) == "A"
    assert (await variables(machine))["A_TRY"] == "0", "the agent lets what runs be booted again"
