"""A bridge's identity against the real API server: it writes what its own devices say, and reaches nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from backstay.adapters.kube.client import (
    DEVICE_GROUPS,
    EDGE_DEVICES,
    HOLDS,
    RELEASE_PLANS,
    SECRETS,
    Forbidden,
    KubeClient,
)
from backstay.errors import BackstayError
from backstay.sandbox import Sandbox
from tests.cluster.guide_shell import GuideShell
from tests.guides import blocks

ROOT = Path(__file__).parents[2]
SECONDS = 20.0
OURS, THEIRS, NOBODYS = "cam-eu", "cam-us", "cam-none"


def device(name: str, gateway: str | None) -> dict[str, Any]:
    spec = {"class": "rk3566", "node": "box-1"} if gateway is None else {"class": "esp32", "gateway": gateway}
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "EdgeDevice", "metadata": {"name": name}, "spec": spec}


def newcomer(gateway: str, **more: dict[str, Any]) -> dict[str, Any]:
    made = device("cam-new", gateway)
    made["spec"]["enrolled"] = False
    return made | {part: made[part] | fields for part, fields in more.items()}


async def say(client: KubeClient, name: str, namespace: str, agent: str = "bridge/1", **more: Any) -> dict[str, Any]:
    body = {"status": {"agent": agent}, **more}
    return dict(await client.merge_patch(EDGE_DEVICES, name, body, namespace, subresource="status"))


@pytest.fixture
async def gateways(sandbox: Sandbox, kube: KubeClient, namespace: str) -> AsyncIterator[dict[str, KubeClient]]:
    """Two gateways of one tenant, each with its own identity, one device of each, and one that is a node."""
    template = (ROOT / "manifests/tenant/bridge-rbac.yaml").read_text().replace("TENANT", namespace)
    for name in ("gw-eu", "gw-us"):
        await sandbox.apply(template.replace("GATEWAY", name))
    for name, gateway in ((OURS, "gw-eu"), (THEIRS, "gw-us"), (NOBODYS, None)):
        await kube.create(EDGE_DEVICES, device(name, gateway), namespace)
    async with AsyncExitStack() as stack:
        found = {}
        for name in ("gw-eu", "gw-us"):
            kubeconfig = await sandbox.service_account_kubeconfig(namespace, f"bridge-{name}")
            found[name] = await stack.enter_async_context(KubeClient.connect(kubeconfig))
        await _until_in_force(found["gw-eu"], namespace)
        yield found


async def _until_in_force(client: KubeClient, namespace: str) -> None:
    """A policy takes effect some moments after it was applied."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await say(client, THEIRS, namespace)
            except BackstayError:
                return
            await asyncio.sleep(0.2)


async def test_bridge_writes_what_its_own_devices_say(kube, namespace, gateways) -> None:
    for name, gateway in ((OURS, "gw-eu"), (THEIRS, "gw-us")):
        await say(gateways[gateway], name, namespace, f"{gateway}/1")
        assert (await kube.get(EDGE_DEVICES, name, namespace))["status"]["agent"] == f"{gateway}/1"


@pytest.mark.parametrize("name", [THEIRS, NOBODYS])
async def test_bridge_is_refused_by_name_when_it_speaks_for_another_gateways_device(
    kube, namespace, gateways, name
) -> None:
    with pytest.raises(BackstayError, match=f"bridge-gw-eu does not serve device {name}"):
        await say(gateways["gw-eu"], name, namespace, "stolen/1")
    assert (await kube.get(EDGE_DEVICES, name, namespace)).get("status", {}).get("agent") != "stolen/1"


async def test_bridge_cannot_take_a_device_over_by_naming_itself_in_the_write(kube, namespace, gateways) -> None:
    with pytest.raises(BackstayError, match="does not serve"):
        await say(gateways["gw-eu"], THEIRS, namespace, "stolen/1", spec={"class": "esp32", "gateway": "gw-eu"})
    with pytest.raises(Forbidden):
        await gateways["gw-eu"].merge_patch(EDGE_DEVICES, THEIRS, {"spec": {"gateway": "gw-eu"}}, namespace)
    assert (await kube.get(EDGE_DEVICES, THEIRS, namespace))["spec"]["gateway"] == "gw-us"


async def test_bridge_changes_nothing_but_the_status_when_it_writes_more(kube, namespace, gateways) -> None:
    before = await kube.get(EDGE_DEVICES, OURS, namespace)
    more = {"spec": {"class": "esp32", "gateway": "gw-us", "revoked": True}, "metadata": {"labels": {"region": "moon"}}}
    await say(gateways["gw-eu"], OURS, namespace, "eu/2", **more)
    after = await kube.get(EDGE_DEVICES, OURS, namespace)
    assert after["spec"] == before["spec"]
    assert after["metadata"].get("labels") == before["metadata"].get("labels")


async def test_bridge_puts_up_a_device_of_its_own_gateway_that_is_not_enrolled(kube, namespace, gateways) -> None:
    await gateways["gw-eu"].create(EDGE_DEVICES, newcomer("gw-eu"), namespace)
    with pytest.raises(Forbidden):
        await gateways["gw-eu"].merge_patch(EDGE_DEVICES, "cam-new", {"spec": {"enrolled": True}}, namespace)
    await kube.merge_patch(EDGE_DEVICES, "cam-new", {"spec": {"enrolled": True}}, namespace)
    with pytest.raises(BackstayError, match="an enrolled device stays enrolled"):
        await kube.merge_patch(EDGE_DEVICES, "cam-new", {"spec": {"enrolled": False}}, namespace)


async def test_device_that_moves_is_served_by_its_new_gateway_alone(kube, namespace, gateways) -> None:
    await kube.merge_patch(EDGE_DEVICES, OURS, {"spec": {"gateway": "gw-us"}}, namespace)
    with pytest.raises(BackstayError, match="does not serve"):
        await say(gateways["gw-eu"], OURS, namespace)
    await say(gateways["gw-us"], OURS, namespace, "us/1")
    assert (await kube.get(EDGE_DEVICES, OURS, namespace))["status"]["agent"] == "us/1"


async def test_bridge_may_do_nothing_else_in_its_namespace_and_nothing_in_another(kube, namespace, gateways) -> None:
    client = gateways["gw-eu"]
    hold = {"apiVersion": "backstay.dev/v1alpha1", "kind": "Hold", "metadata": {"name": "x"}, "spec": {"reason": "x"}}
    attempts = [
        client.delete(EDGE_DEVICES, OURS, namespace),
        client.create(EDGE_DEVICES, device("cam-new", "gw-eu"), namespace),
        client.create(EDGE_DEVICES, newcomer("gw-us"), namespace),
        client.create(EDGE_DEVICES, newcomer("gw-eu", metadata={"labels": {"audience": "internal"}}), namespace),
        client.create(EDGE_DEVICES, newcomer("gw-eu", spec={"tokenGeneration": 2}), namespace),
        client.create(EDGE_DEVICES, newcomer("gw-eu", spec={"pins": {"model": f"sha256:{'0' * 64}"}}), namespace),
        client.create(EDGE_DEVICES, newcomer("gw-eu", spec={"revoked": True}), namespace),
        client.create(EDGE_DEVICES, newcomer("gw-eu"), "default"),
        client.merge_patch(EDGE_DEVICES, OURS, {"metadata": {"labels": {"a": "b"}}}, namespace),
        client.create(HOLDS, hold, namespace),
        client.merge_patch(DEVICE_GROUPS, "any", {"spec": {}}, namespace),
        client.merge_patch(RELEASE_PLANS, "any", {"spec": {"paused": True}}, namespace),
        client.list(RELEASE_PLANS, namespace),
        client.list(SECRETS, namespace),
        client.get(SECRETS, "registry", namespace),
        client.list(EDGE_DEVICES, "default"),
        client.list(HOLDS, "default"),
        client.get(SECRETS, "backstay-tenant-key", "default"),
        say(client, "any", "default"),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            await attempt


GUIDE = (ROOT / "docs" / "how-to" / "run-gateways.md").read_text()


async def test_commands_of_the_guide_make_two_gateways(sandbox: Sandbox, kube, namespace, tmp_path) -> None:
    await kube.create(EDGE_DEVICES, device("cam-1", "gw-us"), namespace)
    await GuideShell(sandbox, namespace, tmp_path).run(*blocks(GUIDE, "sh"))
    async with KubeClient.connect(await sandbox.service_account_kubeconfig(namespace, "bridge-gw-us")) as bridge:
        await say(bridge, "cam-1", namespace, "us/1")
