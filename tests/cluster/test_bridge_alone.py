"""A bridge whose surroundings fail: its clock, its disk, its place among other bridges."""

import asyncio
import hashlib
import json
import resource
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backstay.adapters.kube.client import EDGE_DEVICES
from backstay.core.planes import Plane
from tests.cluster.operator_stage import push
from tests.cluster.test_bridge import (
    GATEWAY,
    OLD,
    ROOT,
    artifact,
    device_of,
    order,
    running_bridge,
    session,
    status_of,
    tenant,
    until_answered,
    until_status,
)

__all__ = ["artifact", "session", "tenant"]

# The command `faketime` would stand between a signal and the bridge; its library does not.
(FAKETIME,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
THREE_HOURS_AHEAD = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": "+3h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def is_about_now(text: str) -> bool:
    return abs(datetime.now(UTC) - datetime.fromisoformat(text)) < timedelta(seconds=30)


async def deployment(device, seconds: float = 10) -> bytes:
    """What the device is offered; a bridge that has just got to know it may have to fetch the bytes first."""
    until = time.monotonic() + seconds
    while True:
        status, document, _ = await device.ask("GET", await device.offered(seconds=seconds))
        if status == 200:
            return document
        assert time.monotonic() < until, document
        await asyncio.sleep(0.1)


async def downloaded(device, document: bytes) -> str:
    (found,) = json.loads(document)["deployment"]["chunks"][0]["artifacts"]
    status, data, _ = await device.ask("GET", found["_links"]["download-http"]["href"])
    assert status == 200
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


async def test_device_begins_and_confirms_when_the_clock_of_its_bridge_is_wrong(
    sandbox, kube, namespace, tenant, session, artifact, tmp_path
):
    async with running_bridge(sandbox, namespace, tmp_path, environment=THREE_HOURS_AHEAD) as bridge:
        device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
        await device.health(OLD)
        await order(kube, namespace, "cam-1", 1, artifact)
        await device.offered()
        assert await device.feedback(1, "proceeding") == 200, "by the bridge's own clock the step has expired"
        begun = await status_of(kube, namespace, "cam-1")
        await device.health(artifact.content)
        assert await device.feedback(1, "closed", "success") == 200
        ended = await until_answered(kube, namespace, "cam-1")
        _, metrics, _ = await device.ask("GET", f"{bridge.url}/metrics")
        log = bridge.log.read_text()
    assert ended["planes"]["config"]["state"] == "Confirmed"
    times = [begun["planes"]["config"]["since"], ended["planes"]["config"]["since"]]
    times += [condition["lastTransitionTime"] for condition in ended["conditions"]]
    assert all(map(is_about_now, times)), times
    (shown,) = (line for line in metrics.decode().splitlines() if line.startswith("backstay_bridge_clock_correction"))
    assert -10_900 < float(shown.split()[1]) < -10_700
    assert "this machine's clock is off by" in log


async def test_nothing_is_promised_or_offered_while_the_disk_is_full_and_all_goes_on_after_that(
    sandbox, kube, namespace, tenant, session, artifact, tmp_path
):
    async with running_bridge(sandbox, namespace, tmp_path) as bridge:
        device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
        other = await device_of(session, bridge, kube, namespace, tenant, "cam-2")
        later = await push(sandbox, tmp_path / "later", Plane.CONFIG, "4.0.0")
        await device.health(OLD)
        await order(kube, namespace, "cam-1", 1, artifact)
        document = await deployment(device)
        assert await device.feedback(1, "proceeding") == 200
        assert await downloaded(device, document) == artifact.content

        _fill_disk_of(bridge.process.pid)
        assert await device.health(artifact.content) == 200
        assert await device.feedback(1, "closed", "success") == 503
        assert "deploymentBase" in await device.links(), "the step is still the device's"
        await order(kube, namespace, "cam-2", 1, later)
        await asyncio.sleep(1.5)
        assert "deploymentBase" not in await other.links(), "there is no room for its bytes"
        assert (await status_of(kube, namespace, "cam-1"))["planes"]["config"]["state"] == "Downloading"

        _free_disk_of(bridge.process.pid)
        assert await device.feedback(1, "closed", "success") == 200
        assert (await until_answered(kube, namespace, "cam-1"))["planes"]["config"]["state"] == "Confirmed"
        document = await deployment(other, 40)
        assert await downloaded(other, document) == later.content


def _fill_disk_of(pid: int) -> None:
    """No file of the process can grow any more, which is what a full disk means to it."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def _free_disk_of(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def test_download_goes_on_where_it_was_when_the_bridge_was_restarted(
    sandbox, kube, namespace, tenant, session, artifact, tmp_path
):
    async with running_bridge(sandbox, namespace, tmp_path) as bridge:
        device = await device_of(session, bridge, kube, namespace, tenant, "cam-1")
        await device.health(OLD)
        await order(kube, namespace, "cam-1", 1, artifact)
        document = json.loads(await deployment(device))
        assert await device.feedback(1, "proceeding") == 200
        (found,) = document["deployment"]["chunks"][0]["artifacts"]
        path = found["_links"]["download-http"]["href"].partition("/cam-1")[2]
        _, first, headers = await device.ask("GET", path, headers={"Range": "bytes=0-9999"})
        bridge.process.kill()
        await bridge.process.wait()
    async with running_bridge(sandbox, namespace, tmp_path) as bridge:
        device.bridge = bridge.url
        await deployment(device)
        on = {"Range": f"bytes={len(first)}-", "If-Range": headers["ETag"]}
        status, rest, _ = await device.ask("GET", path, headers=on)
    assert status == 206
    assert f"sha256:{hashlib.sha256(first + rest).hexdigest()}" == artifact.content


async def test_device_that_moves_in_the_middle_of_a_step_ends_it_at_its_new_gateway(
    sandbox, kube, namespace, tenant, session, artifact, tmp_path_factory
):
    text = (ROOT / "manifests/tenant/bridge-rbac.yaml").read_text().replace("TENANT", namespace)
    await sandbox.apply(text.replace("GATEWAY", "gw-us"))
    directories = [tmp_path_factory.mktemp(name) for name in ("eu", "us")]
    async with (
        running_bridge(sandbox, namespace, directories[0]) as eu,
        running_bridge(sandbox, namespace, directories[1], gateway="gw-us") as us,
    ):
        device = await device_of(session, eu, kube, namespace, tenant, "cam-1")
        await device.health(OLD)
        await order(kube, namespace, "cam-1", 1, artifact)
        await device.offered()
        assert await device.feedback(1, "proceeding") == 200
        since = (await status_of(kube, namespace, "cam-1"))["planes"]["config"]["since"]

        await kube.merge_patch(EDGE_DEVICES, "cam-1", {"spec": {"gateway": "gw-us"}}, namespace)
        until = time.monotonic() + 10
        while (await device.ask("GET", ""))[0] != 401:
            assert time.monotonic() < until, "the old gateway still serves it"
            await asyncio.sleep(0.05)
        assert await device.feedback(1, "closed", "success") == 401

        device.bridge = us.url
        document = await deployment(device)
        assert await device.feedback(1, "proceeding") == 200
        assert (await status_of(kube, namespace, "cam-1"))["planes"]["config"]["since"] == since, "begun once"
        assert await downloaded(device, document) == artifact.content
        await device.health(artifact.content)
        assert await device.feedback(1, "closed", "success") == 200
        ended = await until_status(
            kube, namespace, "cam-1", 10, lambda status: status["planes"]["config"]["state"] == "Confirmed"
        )
    assert ended["planes"]["config"]["step"] == 1
    assert GATEWAY not in json.dumps(ended)
