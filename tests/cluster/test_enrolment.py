"""Devices that nobody has written down: the real bridge puts them up, and people or rules let them in."""

import asyncio
import time
from typing import Any

import yaml

from backstay.adapters.kube.client import DEVICE_GROUPS, EDGE_DEVICES
from backstay.bridge.tokens import gateway_token, target_token
from backstay.errors import NotFound
from tests.cluster.guide_shell import ROOT, GuideShell
from tests.cluster.operator_stage import running_operator
from tests.cluster.test_bridge import GATEWAY, Device, bridge, edge_device, session, tenant, until_status
from tests.guides import blocks

__all__ = ["bridge", "session", "tenant"]

GUIDE = (ROOT / "docs" / "how-to" / "enrol-devices.md").read_text().replace("gw-eu", GATEWAY)


def group(name: str, names: str, **labels: str) -> dict[str, Any]:
    spec = {"selector": {"matchLabels": {"site": labels["site"]}}, "enrol": {"names": names, "labels": labels}}
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "DeviceGroup", "metadata": {"name": name}, "spec": spec}


async def until_served(device: Device, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while (await device.ask("GET", ""))[0] != 200:
        assert time.monotonic() < until, f"{device.name} is not served"
        await asyncio.sleep(0.1)


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {found["type"]: (found["status"], found["reason"]) for found in status.get("conditions", [])}


async def until_waiting(kube, namespace: str, name: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            try:
                found = await kube.get(EDGE_DEVICES, name, namespace)
            except NotFound:
                found = {}
            if conditions(found.get("status", {})).get("Enrolled") == ("False", "Waiting"):
                return dict(found)
            await asyncio.sleep(0.1)


async def test_unknown_device_waits_for_a_person_when_no_rule_lets_it_in(
    sandbox, kube, namespace, tenant, bridge, session, tmp_path
):
    told, patch, rule, move, renew, revoke = (
        *blocks(GUIDE, "sh")[:2],
        *blocks(GUIDE, "yaml"),
        *blocks(GUIDE, "sh")[2:],
    )
    shell = GuideShell(sandbox, namespace, tmp_path)
    device = Device(session, bridge.url, namespace, "cam-9", target_token(tenant, "cam-9", 1))
    turned_away = await device.ask("GET", "")
    assert turned_away[0] == 401

    found = await until_waiting(kube, namespace, "cam-9")
    assert (found["spec"]["gateway"], found["metadata"].get("labels")) == (GATEWAY, None)
    assert conditions(found["status"])["Ready"] == ("False", "NotEnrolled")
    assert "NotEnrolled" in await shell.run(told)
    again = await device.ask("GET", "")
    assert (again[0], again[1]) == (401, turned_away[1])

    await shell.run(patch)
    await until_served(device)
    enrolled = await until_status(
        kube, namespace, "cam-9", 10, lambda status: conditions(status)["Enrolled"] == ("True", "LetIn")
    )
    assert conditions(enrolled)["Ready"][1] != "NotEnrolled"

    await kube.create(DEVICE_GROUPS, yaml.safe_load(rule) | {"metadata": {"name": "hall-2"}}, namespace)
    await shell.run(move, renew, revoke)
    spec = (await kube.get(EDGE_DEVICES, "cam-9", namespace))["spec"]
    assert (spec["gateway"], spec["tokenGeneration"], spec["revoked"]) == ("gw-us", 2, True)


async def test_unknown_device_comes_in_when_a_groups_rule_fits_its_name(
    kube, sandbox, namespace, tenant, bridge, session, tmp_path
):
    async with running_operator(sandbox, tmp_path):
        token = f"GatewayToken {gateway_token(tenant, GATEWAY)}"
        early, late, odd = (
            Device(session, bridge.url, namespace, name, token) for name in ("cam-201", "cam-202", "box-1")
        )
        assert (await early.ask("GET", "", headers={"Authorization": token}))[0] == 401
        await until_waiting(kube, namespace, "cam-201")
        await kube.create(DEVICE_GROUPS, group("hall-2", "cam-2[0-9][0-9]", site="hall-2", customer="acme"), namespace)
        for device in (early, late, odd):
            await device.ask("GET", "", headers={"Authorization": token})
        for name in ("cam-201", "cam-202"):
            async with asyncio.timeout(30):
                while not (await _found(kube, namespace, name)).get("spec", {}).get("enrolled"):
                    await asyncio.sleep(0.1)
            labels = (await kube.get(EDGE_DEVICES, name, namespace))["metadata"]["labels"]
            assert labels == {"site": "hall-2", "customer": "acme"}
        await until_waiting(kube, namespace, "box-1")
        status = (await kube.get(DEVICE_GROUPS, "hall-2", namespace)).get("status", {})
        async with asyncio.timeout(10):
            while status.get("devices") != 2:
                await asyncio.sleep(0.2)
                status = (await kube.get(DEVICE_GROUPS, "hall-2", namespace)).get("status", {})


async def _found(kube, namespace: str, name: str) -> dict[str, Any]:
    try:
        return dict(await kube.get(EDGE_DEVICES, name, namespace))
    except NotFound:
        return {}


async def test_nothing_appears_when_the_token_is_wrong_or_the_device_is_anothers(
    kube, namespace, tenant, bridge, session
):
    await edge_device(kube, namespace, "cam-elsewhere", gateway="gw-us")
    other = b"x" * 32
    for name, token in (
        ("cam-1", target_token(other, "cam-1", 1)),
        ("cam-2", target_token(tenant, "cam-2", 2)),
        ("cam-3", target_token(tenant, "cam-1", 1)),
        ("Cam_4", target_token(tenant, "Cam_4", 1)),
        ("cam-elsewhere", target_token(tenant, "cam-elsewhere", 1)),
    ):
        assert (await Device(session, bridge.url, namespace, name, token).ask("GET", ""))[0] == 401
    right = Device(session, bridge.url, namespace, "cam-5", target_token(tenant, "cam-5", 1))
    assert (await right.ask("GET", ""))[0] == 401
    await until_waiting(kube, namespace, "cam-5")
    names = {item["metadata"]["name"]: item["spec"]["gateway"] for item in await kube.list(EDGE_DEVICES, namespace)}
    assert names == {"cam-5": GATEWAY, "cam-elsewhere": "gw-us"}
