"""What is written of devices that say nothing that is waited for, and when."""

import asyncio
from contextlib import suppress

import pytest

from backstay.bridge.records import device_record
from backstay.errors import Unavailable
from tests.bridge.conftest import CONTENT, OLD

PROBES = [{"name": "camera", "passed": False}]


def condition(world, kind, name="cam-1"):
    return next((found for found in world.status(name).get("conditions", []) if found["type"] == kind), None)


async def sweep(world, seconds=0.0):
    world.time.seconds += seconds
    await world.bridge.publisher._sweep()


async def test_status_is_written_once_when_reports_say_the_same(world):
    for _ in range(5):
        await world.health(OLD, resources={"heap_free_bytes": world.time.seconds})
        await sweep(world, 1)
    assert len(world.api.writes) == 1
    assert world.model()["running"] == OLD
    assert condition(world, "Reachable")["status"] == "True"
    assert condition(world, "Ready")["reason"] == "UpToDate"


async def test_writes_are_few_when_a_probe_flaps(world):
    for second in range(60):
        await world.health(OLD, probes=[{"name": "camera", "passed": second % 2 == 0}])
        await sweep(world, 0.5)
    assert len(world.api.writes) <= 11, "one in three seconds at most"


async def test_health_is_degraded_when_a_probe_fails(world):
    await world.health(OLD, probes=PROBES)
    await sweep(world)
    assert world.status()["health"] == {"state": "Degraded", "failing": ["camera"]}
    assert condition(world, "Ready")["reason"] == "ProbesFailing"


async def test_device_is_unreachable_when_it_misses_three_check_ins(world):
    await world.health(OLD, interval=4)
    await sweep(world)
    since = condition(world, "Reachable")["lastTransitionTime"]
    await sweep(world, 12)
    assert condition(world, "Reachable")["status"] == "True"
    await sweep(world, 1)
    found = condition(world, "Reachable")
    assert (found["status"], found["reason"]) == ("False", "Silent")
    assert found["lastTransitionTime"] > since
    assert condition(world, "Ready")["reason"] == "Unreachable"
    writes = len(world.api.writes)
    await sweep(world, 100)
    assert len(world.api.writes) == writes
    await world.health(OLD, interval=4)
    await sweep(world)
    assert condition(world, "Reachable")["status"] == "True"


async def test_sleeper_is_not_offline_when_the_bridge_was_restarted(world):
    await world.health(OLD, interval=3600)
    await sweep(world)
    world.bridge.sessions._found.clear()
    await sweep(world, 3600)
    assert condition(world, "Reachable")["status"] == "True"
    await sweep(world, 3 * 3600)
    assert condition(world, "Reachable")["status"] == "False"


async def test_device_that_was_never_heard_is_unreachable_when_the_bridge_is_old_enough(world):
    await sweep(world, 10)
    assert condition(world, "Reachable") is None
    await sweep(world, 30)
    assert condition(world, "Reachable")["status"] == "False"


async def test_nothing_is_said_of_a_device_when_nobody_has_heard_of_it_yet(world):
    await sweep(world)
    assert world.api.writes == []
    assert condition(world, "Ready") is None
    await world.health(OLD)
    await sweep(world)
    assert len(world.api.writes) == 1
    assert condition(world, "Ready")["status"] == "True"


async def test_change_waits_for_the_answer_when_its_step_is_under_way(world):
    await world.health(OLD)
    world.order()
    await world.offered()
    assert await world.feedback(1, "proceeding") == 200
    await world.health(CONTENT, interval=20)
    await sweep(world, 3)
    assert world.model()["running"] == OLD, "it has only now been seen"
    await sweep(world, 50)
    assert world.model()["running"] == OLD, "its answer may come with a check-in that is late"
    await sweep(world, 10)
    assert world.model()["running"] == CONTENT, "no answer came"
    assert world.model()["state"] == "Downloading"


async def test_truth_is_written_when_a_device_falls_back_after_it_confirmed(world):
    await world.health(OLD)
    world.order()
    await world.offered()
    await world.feedback(1, "proceeding")
    await world.health(CONTENT)
    await world.feedback(1, "closed", "success")
    assert condition(world, "Ready")["status"] == "True"
    await world.health(OLD)
    await sweep(world, 4)
    assert (world.model()["running"], world.model()["state"]) == (OLD, "Confirmed")
    assert condition(world, "Ready")["reason"] == "OutOfDate"


async def test_nothing_is_lost_when_the_api_server_is_away(world):
    world.api.up = False
    await world.health(OLD)
    with pytest.raises(Unavailable):
        await sweep(world)
    world.api.up = True
    await sweep(world, 3)
    assert world.model()["running"] == OLD


async def test_older_word_of_the_server_never_undoes_a_write_when_the_watch_is_late(world):
    old = device_record(dict(world.api.objects["edgedevices"]["cam-1"]) | {"status": {}})
    await world.health(OLD)
    await sweep(world)
    world.bridge.view.put_device(old)
    await sweep(world, 4)
    assert len(world.api.writes) == 1


async def test_echo_of_a_write_replaces_nothing_when_the_watch_brings_it(world):
    await world.health(OLD)
    await sweep(world)
    written = world.bridge.view.written("cam-1")
    world.bridge.view.put_device(device_record(world.api.objects["edgedevices"]["cam-1"]))
    assert world.bridge.view.written("cam-1") is written


async def test_last_report_is_written_when_it_comes_while_another_is_being_written(world):
    await world.health(OLD)
    await asyncio.gather(sweep(world), *(world.health(OLD, slot=f"ota_{number}") for number in range(5)))
    await world.health(CONTENT)
    await sweep(world, 4)
    await sweep(world, 4)
    assert world.model()["running"] == CONTENT


async def test_silence_is_noticed_when_nothing_else_has_happened_since_the_last_write(world):
    await world.health(OLD, interval=4)
    await sweep(world)
    for _ in range(12):
        await sweep(world, 1)
    assert condition(world, "Reachable")["status"] == "True"
    await sweep(world, 1)
    assert condition(world, "Reachable")["status"] == "False"


async def test_answer_to_a_write_brings_no_device_back_when_it_was_deleted_meanwhile(world):
    item = world.device()
    world.bridge.view.remove_device("cam-1")
    world.bridge.view.put_answer(device_record(item))
    assert world.bridge.view.device("cam-1") is None


async def test_other_statuses_are_written_when_one_is_refused(world):
    names = [f"cam-{number}" for number in range(1, 21)]
    for name in names:
        world.device(name)
        await world.health(OLD, name=name, slot="refused" if name == "cam-1" else "ota_0")
    await sweep(world)
    assert len(world.api.writes) == 19
    await world.health(OLD)
    await sweep(world, 4)
    assert len(world.api.writes) == 19, "not again at once"
    await sweep(world, 60)
    assert world.model()["running"] == OLD


async def test_other_statuses_are_written_when_one_fails_again_and_again(world):
    names = [f"cam-{number}" for number in range(1, 21)]
    for name in names:
        world.device(name)
        await world.health(OLD, name=name, slot="broken" if name == "cam-1" else "ota_0")
    with pytest.raises(Unavailable):
        await sweep(world)
    await sweep(world, 1.5)
    assert len(world.api.writes) == 19, "each of the others once"


async def test_what_has_begun_ends_and_nothing_new_starts_when_the_api_server_is_away_for_ten_minutes(world):
    await world.health(OLD)
    world.device("cam-2")
    world.order()
    await world.offered()
    assert await world.feedback(1, "proceeding") == 200
    world.order(name="cam-2")
    await world.offered("cam-2")
    world.api.up = False
    writes = len(world.api.writes)
    for _ in range(60):
        world.time.seconds += 10
        assert (await world.ask("GET", "")).status == 200
        with suppress(Unavailable):
            await world.bridge.publisher._sweep()
    assert "deploymentBase" not in await world.links("cam-2"), "the bridge's view of holds is too old"
    refused = await world.ask(
        "POST",
        "/deploymentBase/1/feedback",
        name="cam-2",
        json={"id": "1", "status": {"execution": "proceeding", "result": {"finished": "none"}}},
    )
    assert refused.status in {410, 503}
    await world.health(CONTENT)
    assert await world.feedback(1, "closed", "success") == 200
    assert len(world.api.writes) == writes
    world.api.up = True
    await world.bridge.orders.read()
    await sweep(world, 4)
    assert (world.model()["state"], world.model()["running"], world.model()["step"]) == ("Confirmed", CONTENT, 1)
    answers = [
        one for one in world.api.writes[writes:] if one.get("planes", {}).get("model", {}).get("state") == "Confirmed"
    ]
    assert len(answers) == 1


async def test_probes_that_fail_in_the_middle_of_a_step_cost_no_write_beside_its_answer(world):
    await world.health(OLD)
    world.order()
    await world.offered()
    await sweep(world)
    assert await world.feedback(1, "proceeding") == 200
    writes = len(world.api.writes)
    await world.health(CONTENT, probes=PROBES)
    await sweep(world, 4)
    await world.health(CONTENT, probes=[{"name": "camera", "passed": True}])
    await sweep(world)
    assert len(world.api.writes) == writes
    assert await world.feedback(1, "closed", "success") == 200
    await sweep(world, 4)
    assert len(world.api.writes) == writes + 1
    assert (world.model()["state"], world.status()["health"]["state"]) == ("Confirmed", "Healthy")


async def test_device_that_falls_silent_in_the_middle_of_a_step_is_said_to_be_at_once(world):
    await world.health(OLD)
    world.order()
    await world.offered()
    await sweep(world)
    assert await world.feedback(1, "proceeding") == 200
    await sweep(world, 6)
    assert condition(world, "Reachable")["status"] == "False"
