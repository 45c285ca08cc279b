"""A simulated ESP32 over real HTTP, with its own clock, watchdog and faults."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from backstay.core.planes import Plane
from backstay.simulate.application import Application
from backstay.simulate.chips import open_chip
from backstay.simulate.ddi import DdiClient
from backstay.simulate.esp32 import Esp32
from backstay.simulate.faults import Faults, follow_orders
from backstay.simulate.image import Behaviour, digest_of
from backstay.simulate.partitions import TABLE_BYTES, TABLE_OFFSET
from tests.simulate.small_bridge import BASE, TOKEN, SmallBridge
from tests.simulate.workbench import FACTORY, config, digits, image, model


@pytest.fixture
def bridge() -> SmallBridge:
    return SmallBridge()


@asynccontextmanager
async def running(bridge: SmallBridge, directory: Path) -> AsyncIterator[Esp32]:
    """A device that runs on the flash file in this directory, and its bridge."""
    async with TestServer(bridge.app()) as server, aiohttp.ClientSession() as session:
        device = Esp32(
            "cam-1",
            open_chip(directory / "cam-1.flash", FACTORY),
            DdiClient(session, server.make_url(BASE), TOKEN),
            digits(),
            watchdog_seconds=0.5,
        )
        orders = asyncio.create_task(follow_orders(directory, {"cam-1": device}))
        task = asyncio.create_task(device.run())
        try:
            yield device
        finally:
            orders.cancel()
            task.cancel()
            await asyncio.gather(task, orders, return_exceptions=True)
            device.flash.close()


def told(directory: Path, **faults: object) -> None:
    (directory / "order.tmp").write_text(json.dumps(faults))
    (directory / "order.tmp").rename(directory / "cam-1.faults.json")


def app_of(device: Esp32) -> Application:
    assert device.life is not None
    return device.life.app


CHANGES = [(Plane.FIRMWARE, image("1.1.0")), (Plane.MODEL, model(2)), (Plane.CONFIG, config(0.6))]


@pytest.mark.parametrize(("plane", "payload"), CHANGES, ids=[str(plane) for plane, _ in CHANGES])
async def test_device_installs_and_reports_what_it_runs(
    plane: Plane, payload: bytes, bridge: SmallBridge, tmp_path: Path
) -> None:
    bridge.offer(1, plane, payload, "1.1.0")
    async with running(bridge, tmp_path):
        assert (await bridge.until(1))["result"]["finished"] == "success"
    assert [x["status"]["execution"] for x in bridge.feedback] == ["proceeding", "closed"]
    report = bridge.reports[-1]
    assert report["planes"][str(plane)]["running"] == digest_of(payload)
    assert report["planes"][str(plane)]["version"] == "1.1.0"
    assert report["planes"][str(plane)]["fallbackVersion"] == "1.0.0"
    assert report["resources"]["inference_accuracy"] == 1.0
    assert len(bytes.fromhex(report["otadata"])) == 64
    assert report["slot"] == ("ota_1" if plane is Plane.FIRMWARE else "ota_0")
    assert report["boot"]["count"] == (2 if plane is Plane.FIRMWARE else 1)


async def test_device_runs_what_its_flash_says_when_the_process_starts_again(
    bridge: SmallBridge, tmp_path: Path
) -> None:
    bridge.offer(1, Plane.FIRMWARE, image("1.1.0"), "1.1.0")
    async with running(bridge, tmp_path):
        await bridge.until(1)
    async with running(bridge, tmp_path) as device:
        await asyncio.sleep(0.5)
        assert app_of(device).board.firmware.version == "1.1.0"


async def test_download_resumes_by_range_when_it_breaks_off(bridge: SmallBridge, tmp_path: Path) -> None:
    payload = image("1.1.0", size=60_000)
    bridge.offer(1, Plane.FIRMWARE, payload, "1.1.0")
    bridge.break_after = 20_000
    async with running(bridge, tmp_path):
        assert (await bridge.until(1))["result"]["finished"] == "success"
    assert len(bridge.ranges) > 2
    assert bridge.ranges[0] == ""
    assert all(asked.startswith("bytes=") and asked != "bytes=0-" for asked in bridge.ranges[1:])


async def test_download_is_refused_when_the_bytes_are_altered(bridge: SmallBridge, tmp_path: Path) -> None:
    bridge.offer(1, Plane.MODEL, model(2), "1.1.0")
    bridge.served = model(2)[:-1] + b"!"
    async with running(bridge, tmp_path) as device:
        status = await bridge.until(1)
        assert app_of(device).board.release(Plane.MODEL) == FACTORY[Plane.MODEL].release(Plane.MODEL)
    assert status["result"]["finished"] == "failure"
    assert status["details"][0].startswith("DigestMismatch")


async def test_download_stops_between_chunks_when_it_is_cancelled(bridge: SmallBridge, tmp_path: Path) -> None:
    bridge.offer(1, Plane.FIRMWARE, image("1.1.0", size=200_000), "1.1.0")
    bridge.pause_seconds = 0.2
    async with running(bridge, tmp_path) as device:
        while not bridge.ranges:
            await asyncio.sleep(0.05)
        bridge.cancel = 1
        assert (await bridge.until(1))["details"] == ["Canceled"]
        assert app_of(device).board.firmware.version == "1.0.0"


async def test_firmware_that_hangs_is_undone_by_watchdog_and_bootloader(bridge: SmallBridge, tmp_path: Path) -> None:
    bad = image("1.1.0", Behaviour.HANGS)
    bridge.offer(1, Plane.FIRMWARE, bad, "1.1.0")
    async with running(bridge, tmp_path):
        status = await bridge.until(1)
    assert (status["result"]["finished"], status["details"]) == ("failure", ["Watchdog"])
    assert bridge.reports[-1]["boot"]["reason"] == "Watchdog"
    assert bridge.reports[-1]["planes"]["firmware"]["version"] == "1.0.0"


async def test_model_is_undone_without_a_network_when_the_window_ends(bridge: SmallBridge, tmp_path: Path) -> None:
    bridge.offer(1, Plane.MODEL, model(2), "1.1.0", window="3s")
    async with running(bridge, tmp_path) as device:
        device.order(Faults(fail=frozenset({"camera"})))
        while device.life is None:
            await asyncio.sleep(0.05)
        while app_of(device).board.versions.model == FACTORY[Plane.MODEL].release(Plane.MODEL):
            await asyncio.sleep(0.05)
        told(tmp_path, fail=["camera"], offline=5)
        await asyncio.sleep(4)
        assert app_of(device).board.versions.model == FACTORY[Plane.MODEL].release(Plane.MODEL)
        assert not any(x["status"]["execution"] == "closed" for x in bridge.feedback)
        assert (await bridge.until(1))["details"] == ["ProbeFailed: camera: failed by order"]


async def test_device_survives_when_the_power_goes_in_the_middle_of_an_install(
    bridge: SmallBridge, tmp_path: Path
) -> None:
    async with running(bridge, tmp_path):
        await asyncio.sleep(0.3)
        told(tmp_path, cut={"at": 9, "torn": 0.5})
        await asyncio.sleep(0.8)
        bridge.offer(1, Plane.FIRMWARE, image("1.1.0"), "1.1.0")
        assert (await bridge.until(1))["result"]["finished"] == "success"
    assert bridge.reports[-1]["boot"]["count"] == 3


async def test_device_answers_again_when_the_step_is_delivered_again(bridge: SmallBridge, tmp_path: Path) -> None:
    bridge.offer(1, Plane.MODEL, model(2), "1.1.0")
    async with running(bridge, tmp_path):
        await bridge.until(1)
    downloads, said = len(bridge.ranges), len(bridge.feedback)
    bridge.offer(1, Plane.MODEL, model(2), "1.1.0")
    async with running(bridge, tmp_path):
        while len(bridge.feedback) == said:
            await asyncio.sleep(0.05)
    assert bridge.feedback[-1]["status"]["result"]["finished"] == "success"
    assert len(bridge.ranges) == downloads


async def test_device_starts_over_and_ends_no_other_when_it_cannot_boot(bridge: SmallBridge, tmp_path: Path) -> None:
    async with running(bridge, tmp_path) as device:
        while not bridge.polls:
            await asyncio.sleep(0.05)
        table = device.flash.read(TABLE_OFFSET, TABLE_BYTES)
        device.flash.erase(TABLE_OFFSET, TABLE_BYTES)
        told(tmp_path, reboot=True)
        await asyncio.sleep(1.5)
        assert device.life is None
        device.flash.write(TABLE_OFFSET, table)
        polls = bridge.polls
        async with asyncio.timeout(10):
            while bridge.polls == polls:
                await asyncio.sleep(0.05)


async def test_device_reports_all_the_same_when_the_bridge_lacks_the_bytes(bridge: SmallBridge, tmp_path: Path) -> None:
    bridge.offer(1, Plane.MODEL, model(2), "1.1.0")
    bridge.has_bytes = False
    async with running(bridge, tmp_path):
        async with asyncio.timeout(10):
            while not bridge.reports:
                await asyncio.sleep(0.05)
        assert not bridge.feedback
        bridge.has_bytes = True
        assert (await bridge.until(1))["result"]["finished"] == "success"


async def test_device_reports_other_digests_when_it_is_told_to_lie(bridge: SmallBridge, tmp_path: Path) -> None:
    told(tmp_path, lie={"model": "sha256:" + "0" * 64})
    async with running(bridge, tmp_path):
        await asyncio.sleep(0.5)
    assert bridge.reports[-1]["planes"]["model"]["running"] == "sha256:" + "0" * 64


async def test_poll_is_answered_without_a_body_when_nothing_changed(bridge: SmallBridge, tmp_path: Path) -> None:
    async with running(bridge, tmp_path):
        await asyncio.sleep(1)
    assert bridge.unchanged >= 3


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0"},
        {"content": "sha256:12"},
        {"window": "a minute"},
        {"plane": "bootloader"},
        {"probes": [{"name": "x"}]},
    ],
)
async def test_device_says_why_and_goes_on_when_a_deployment_is_malformed(
    change: dict[str, object], bridge: SmallBridge, tmp_path: Path
) -> None:
    bridge.offer(1, Plane.MODEL, model(2), "1.1.0")
    assert bridge.step is not None
    bridge.step |= change
    async with running(bridge, tmp_path):
        status = await bridge.until(int(bridge.step["id"]))
        assert status["details"][0].startswith("Rejected: the deployment lacks or misstates something")
        bridge.offer(2, Plane.MODEL, model(2), "1.1.0")
        assert (await bridge.until(2))["result"]["finished"] == "success"
