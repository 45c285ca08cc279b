"""A device that is really there, at the bridge's real paths, when the operator thinks better of a step."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from backstay.bridge.tokens import target_token
from backstay.core.planes import Plane
from backstay.simulate.chips import open_chip
from backstay.simulate.ddi import DdiClient
from backstay.simulate.esp32 import Esp32
from backstay.simulate.faults import Faults
from backstay.simulate.image import digest_of
from tests.bridge.conftest import ARTIFACT, KEY, World
from tests.simulate.workbench import FACTORY, digits, image, model

FACTORY_MODEL = digest_of(FACTORY[Plane.MODEL].data)
NEW_MODEL = digest_of(model(2))
DESIRED = {
    "model": {"content": NEW_MODEL, "version": "2.0.0"},
    "probes": [{"name": "camera", "kind": "InputPresent", "input": "camera0"}],
    "expires": "2999-01-01T00:00:00Z",
}
TAKEN_BACK = [(1, "Downloading", ""), (1, "Failed", "Canceled"), (2, "Downloading", ""), (2, "Confirmed", "")]
"""What is written of two steps, of which the second replaces the first."""
BACK = DESIRED | {"model": {"content": FACTORY_MODEL, "version": "1.0.0", "artifact": None}}


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.fixture
async def device(world: World, tmp_path: Path) -> AsyncIterator[Esp32]:
    """A device from the factory, without power, and a registry with the one model that it may be ordered to."""
    world.shelf.payload = model(2)
    async with aiohttp.ClientSession() as session:
        client = DdiClient(session, world.client.make_url("/acme/controller/v1/cam-1"), target_token(KEY, "cam-1", 1))
        found = Esp32("cam-1", open_chip(tmp_path / "cam-1.flash", FACTORY), client, digits())
        yield found
        found.flash.close()


@pytest.fixture
async def power(device: Esp32) -> AsyncIterator[Callable[[], None]]:
    """Switches the device on."""
    tasks: list[asyncio.Task[None]] = []
    yield lambda: tasks.append(asyncio.create_task(device.run()))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def answer(world: World) -> tuple[object, object]:
    return world.model().get("step"), world.model().get("state")


async def test_trial_is_undone_and_the_next_step_done_when_a_step_is_replaced(
    world: World, device: Esp32, power: Callable[[], None]
) -> None:
    device.order(Faults(fail=frozenset({"camera"})))
    world.order(1, **DESIRED)
    power()
    await until(lambda: answer(world) == (1, "Downloading"))
    await until(lambda: device.life and device.life.app.board.versions.model.content == NEW_MODEL)
    world.order(2, "Return", **BACK)
    await until(lambda: answer(world)[0] == 2)
    device.order(Faults())
    await until(lambda: answer(world) == (2, "Confirmed"))
    assert world.model()["running"] == FACTORY_MODEL
    assert told(world) == TAKEN_BACK


async def test_firmware_on_trial_goes_back_through_a_reset_when_its_step_is_replaced(
    world: World, device: Esp32, power: Callable[[], None]
) -> None:
    world.shelf.plane, world.shelf.payload = Plane.FIRMWARE, image("1.1.0")
    assignment = {
        "plan": "vision",
        "revision": "3f9c2a1b-2",
        "ring": "canary",
        "version": "1.1.0",
        "artifact": ARTIFACT,
    }
    desired = DESIRED | {"model": None, "step": {"plane": "firmware"}}
    device.order(Faults(fail=frozenset({"camera"})))
    world.order(1, **desired | {"firmware": assignment | {"content": digest_of(image("1.1.0"))}})
    power()
    await until(lambda: device.life and device.life.app.board.firmware.version == "1.1.0")
    back = digest_of(FACTORY[Plane.FIRMWARE].data)
    world.order(2, "Return", **desired | {"firmware": assignment | {"content": back, "artifact": None}})
    await until(lambda: written(world, "firmware")[-1]["step"] == 2)
    device.order(Faults())
    await until(lambda: written(world, "firmware")[-1]["state"] == "Confirmed")
    assert told(world, "firmware") == TAKEN_BACK
    assert world.status()["planes"]["firmware"]["running"] == back


async def test_download_is_given_up_when_its_step_is_replaced(
    world: World, device: Esp32, power: Callable[[], None], tmp_path: Path
) -> None:
    world.order(1, **DESIRED)
    assert await world.offered()
    next(path for path in (tmp_path / "cache" / "sha256").iterdir()).write_bytes(b"altered on disk")
    world.shelf.open = False
    power()
    await until(lambda: device.life and device.life.app.download)
    world.order(2, "Return", **BACK)
    await until(lambda: answer(world) == (2, "Confirmed"))
    assert told(world) == TAKEN_BACK
    assert device.life is not None
    assert device.life.app.download is None


async def test_nothing_begins_when_a_step_is_withdrawn_before_the_device_asks(
    world: World, device: Esp32, power: Callable[[], None]
) -> None:
    world.order(1, **DESIRED)
    assert await world.offered()
    withdraw(world)
    power()
    await until(lambda: world.bridge.sessions.of("cam-1").report)
    await asyncio.sleep(1.2)
    assert device.life is not None
    assert device.life.app.in_flight is None
    assert not world.model()


async def test_step_is_carried_through_when_it_is_withdrawn_after_it_has_begun(
    world: World, device: Esp32, power: Callable[[], None]
) -> None:
    device.order(Faults(fail=frozenset({"camera"})))
    world.order(1, **DESIRED)
    power()
    await until(lambda: answer(world) == (1, "Downloading"))
    withdraw(world)
    device.order(Faults())
    await until(lambda: answer(world) == (1, "Confirmed"))


def withdraw(world: World) -> None:
    desired = world.api.objects["edgedevices"]["cam-1"]["spec"]["desired"]
    world.device(desired=desired | {"step": desired["step"] | {"withdrawn": True}})


def told(world: World, plane: str = "model") -> list[tuple[object, object, object]]:
    """What became of a plane's steps, in the order in which it was written; each state once."""
    return list(dict.fromkeys((found["step"], found["state"], found["reason"]) for found in written(world, plane)))


def written(world: World, plane: str) -> list[dict[str, object]]:
    found = [write["planes"][plane] for write in world.api.writes if plane in write.get("planes", {})]
    return [status for status in found if status["step"]] or [{"step": 0, "state": "Idle", "reason": ""}]
