"""A device that is really there, at the bridge's real paths, when the operator thinks better of a step."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from backstay.bridge.tokens import target_token
from backstay.core.planes import Plane
from backstay.simulate.ddi import DdiClient
from backstay.simulate.esp32 import Esp32
from backstay.simulate.faults import Faults
from backstay.simulate.fleet import open_chip
from backstay.simulate.image import digest_of
from tests.bridge.conftest import KEY, World
from tests.simulate.workbench import FACTORY, digits, model

FACTORY_MODEL = digest_of(FACTORY[Plane.MODEL].data)
NEW_MODEL = digest_of(model(2))
DESIRED = {
    "model": {"content": NEW_MODEL, "version": "2.0.0"},
    "probes": [{"name": "camera", "kind": "InputPresent", "input": "camera0"}],
    "expires": "2999-01-01T00:00:00Z",
}
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
    told = [(plane["step"], plane["state"], plane["reason"]) for plane in models_written(world)]
    assert told == [
        (1, "Downloading", ""),
        (1, "Failed", "Canceled"),
        (2, "Downloading", ""),
        (2, "Confirmed", ""),
    ]


async def test_download_is_given_up_when_its_step_is_replaced(
    world: World, device: Esp32, power: Callable[[], None], tmp_path: Path
) -> None:
    world.order(1, **DESIRED)
    assert await world.offered()
    next(path for path in (tmp_path / "sha256").iterdir()).write_bytes(b"altered on disk")
    world.shelf.open = False
    power()
    await until(lambda: device.life and device.life.app.download)
    world.order(2, "Return", **BACK)
    await until(lambda: answer(world) == (2, "Confirmed"))
    assert (1, "Failed", "Canceled") in [(x["step"], x["state"], x["reason"]) for x in models_written(world)]
    assert device.life is not None
    assert device.life.app.download is None
    assert not any(str(x["reason"]).startswith("DownloadFailed") for x in models_written(world))


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


def models_written(world: World) -> list[dict[str, object]]:
    """What was written of the model's steps, in order, each state once."""
    found = [write["planes"]["model"] for write in world.api.writes if "model" in write.get("planes", {})]
    return [plane for at, plane in enumerate(found) if plane["step"] and key(plane) not in map(key, found[:at])]


def key(plane: dict[str, object]) -> tuple[object, object]:
    return plane["step"], plane["state"]
