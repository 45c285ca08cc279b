"""A whole device, booted: RAUC writes the other slot, GRUB tries it, and it proves itself or the device comes back."""

from pathlib import Path

import pytest

from backstay.adapters.kube.client import KubeClient
from backstay.sandbox import Sandbox
from tests.cluster.test_agent import answered, order, until
from tests.contracts.rauc_node import Signer
from tests.vm.bundles import FINE, HANGS, PANICS, WITHOUT_AGENT, Builder, push
from tests.vm.delivery import deliver
from tests.vm.machine import Machine

NODE = "machine.example"
CONNECTED = [{"name": "agent", "kind": "AgentConnected"}]
TOO_MUCH = [{"name": "memory", "kind": "MemoryHeadroom", "min": "64Gi"}]
RETURNED = 400


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
        pytest.param(HANGS, CONNECTED, "120s", id="hangs", marks=pytest.mark.machine),
        pytest.param(WITHOUT_AGENT, CONNECTED, "120s", id="its-agent-does-not-start", marks=pytest.mark.machine),
        pytest.param(FINE, TOO_MUCH, "10s", id="its-probe-fails", marks=pytest.mark.machine),
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
