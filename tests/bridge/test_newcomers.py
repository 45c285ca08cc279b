"""What a bridge makes of devices that nobody has put up, and what it tells them: nothing."""

import asyncio

import pytest

from backstay.bridge import newcomers
from backstay.bridge.tokens import gateway_token, target_token
from tests.bridge.conftest import KEY, World


async def put_up(world: World) -> list[str]:
    """Let the bridge put up what it has seen, and return all devices."""
    queue = world.bridge.newcomers._queue
    while not queue.empty():
        await world.bridge.newcomers.put_up(queue.get_nowait())
    return sorted(world.api.objects["edgedevices"])


async def test_unknown_device_is_put_up_once_when_it_has_a_valid_token(world: World) -> None:
    answers = [await world.ask("GET", "", name="cam-9") for _ in range(3)]
    assert [answer.status for answer in answers] == [401] * 3
    assert await put_up(world) == ["cam-1", "cam-9"]
    assert world.api.objects["edgedevices"]["cam-9"]["spec"] == {
        "class": "esp32",
        "gateway": "gw-eu",
        "enrolled": False,
    }


async def test_unknown_device_is_put_up_when_it_has_the_gateways_token(world: World) -> None:
    headers = {"Authorization": f"GatewayToken {gateway_token(KEY, 'gw-eu')}"}
    await world.ask("GET", "", name="cam-9", headers=headers)
    assert await put_up(world) == ["cam-1", "cam-9"]


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("/acme/controller/v1/cam-9", "TargetToken 00"),
        ("/acme/controller/v1/cam-9", f"TargetToken {target_token(KEY, 'cam-8', 1)}"),
        ("/acme/controller/v1/cam-9", f"TargetToken {target_token(KEY, 'cam-9', 2)}"),
        ("/acme/controller/v1/cam-9", f"GatewayToken {gateway_token(KEY, 'gw-us')}"),
        ("/other/controller/v1/cam-9", f"TargetToken {target_token(KEY, 'cam-9', 1)}"),
        ("/acme/controller/v1/CAM_9", f"TargetToken {target_token(KEY, 'CAM_9', 1)}"),
        ("/acme/controller/v1/a%0Ab", f"TargetToken {target_token(KEY, 'a' + chr(10) + 'b', 1)}"),
        (f"/acme/controller/v1/{'a' * 300}", f"TargetToken {target_token(KEY, 'a' * 300, 1)}"),
    ],
)
async def test_nothing_is_put_up_when_the_token_or_the_name_is_wrong(world: World, path: str, token: str) -> None:
    response = await world.client.get(path, headers={"Authorization": token})
    assert response.status in {400, 401}
    assert await put_up(world) == ["cam-1"]


async def test_device_is_a_stranger_until_it_is_enrolled(world: World) -> None:
    stranger = await (await world.ask("GET", "", name="cam-9", headers={"Authorization": "TargetToken 00"})).json()
    world.device("cam-9", enrolled=False)
    waiting = await world.ask("GET", "", name="cam-9")
    assert (waiting.status, await waiting.json()) == (401, stranger)
    assert 'device="cam-9"' not in await (await world.client.get("/metrics")).text()
    await world.bridge.publisher._sweep()
    found = {one["type"]: (one["status"], one["reason"]) for one in world.status("cam-9")["conditions"]}
    assert found == {"Enrolled": ("False", "Waiting"), "Ready": ("False", "NotEnrolled")}

    world.device("cam-9", enrolled=True)
    world.time.seconds += 60
    assert (await world.ask("GET", "", name="cam-9")).status == 200
    await world.bridge.publisher._sweep()
    found = {one["type"]: (one["status"], one["reason"]) for one in world.status("cam-9")["conditions"]}
    assert found["Enrolled"] == ("True", "LetIn")


async def test_newcomers_are_turned_away_and_counted_when_too_many_wait(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newcomers, "MOST_WAITING", 3)
    world.device("cam-2", enrolled=False)
    for name in ("cam-3", "cam-4", "cam-5", "cam-6"):
        await world.ask("GET", "", name=name)
    assert await put_up(world) == ["cam-1", "cam-2", "cam-3", "cam-4"]
    text = await (await world.client.get("/metrics")).text()
    assert 'backstay_bridge_limited_total{what="newcomers"} 2.0' in text
    assert "backstay_bridge_waiting_devices 1.0" in text
    world.device("cam-2", enrolled=True)
    assert world.bridge.view.waiting() == 0


async def test_newcomer_that_cannot_be_put_up_is_tried_again_when_it_asks_later(world: World) -> None:
    world.api.up = False
    await world.ask("GET", "", name="cam-9")
    assert await put_up(world) == ["cam-1"]
    world.api.up = True
    await world.ask("GET", "", name="cam-9")
    assert await put_up(world) == ["cam-1"]
    world.time.seconds += newcomers.AGAIN_SECONDS
    await world.ask("GET", "", name="cam-9")
    assert await put_up(world) == ["cam-1", "cam-9"]


async def test_newcomers_run_puts_up_what_is_seen(world: World) -> None:
    running = asyncio.create_task(world.bridge.newcomers.run())
    await world.ask("GET", "", name="cam-9")
    async with asyncio.timeout(5):
        while "cam-9" not in world.api.objects["edgedevices"]:
            await asyncio.sleep(0.01)
    running.cancel()
