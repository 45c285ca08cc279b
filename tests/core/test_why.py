"""What a person is told who asks why a device or a plan is where it is."""

from dataclasses import replace
from datetime import time, timedelta
from zoneinfo import ZoneInfo

from backstay.core.decide import decide
from backstay.core.devices import DeviceName
from backstay.core.holds import Hold
from backstay.core.observed import GroupRules
from backstay.core.plan import Count, Ring
from backstay.core.selectors import Selector
from backstay.core.why import NEXT, explain_device, explain_plan
from backstay.core.windows import Window
from tests.laws.release_world import RINGS, SOAK, World, plan_of, world_of

TWO = (RINGS[0], Ring("everyone", soak=SOAK, in_flight=Count(3)))


def world_with(**plan: object) -> World:
    world = world_of()
    world.plan = plan_of("model", **{"rings": TWO, **plan})
    world.settle()
    return world


def members(world: World, ring: int) -> list[DeviceName]:
    fleet = world.observe().fleet
    return [device.name for device in fleet if fleet.ring_of(device.name) == ring]


def told(world: World, name: DeviceName) -> str:
    return "\n".join(explain_device(world.observe(), name, world.now))


def test_device_in_flight_is_told_with_its_step_and_its_time() -> None:
    world = world_with()
    canary = next(name for name in members(world, 0) if world.truth[name].in_flight)
    text = told(world, canary)
    assert f"{canary} is changing now" in text
    assert "it belongs to ring canary (1 of 2), by its rank" in text
    assert "step 1, to install its model: it has not begun, and has another 5 min 0 s" in text


def test_device_past_its_deadline_is_told_as_silent() -> None:
    world = world_with()
    canary = next(name for name in members(world, 0) if world.truth[name].in_flight)
    world.now += timedelta(minutes=7)
    assert "has been silent past its deadline for 2 min 0 s" in told(world, canary)


def test_device_of_a_later_ring_is_told_how_far_the_rollout_is() -> None:
    world = world_with()
    text = told(world, members(world, 1)[0])
    assert "ring everyone (2 of 2)" in text
    assert "the rollout has only reached ring canary" in text
    assert "next it would install model 1.0.0" in text


def test_device_that_failed_is_told_with_its_own_words() -> None:
    world = world_with(rollback=replace(plan_of().rollback, automatic=False))
    canary = next(name for name in members(world, 0) if world.truth[name].in_flight)
    world.begin(canary)
    world.finish(canary, well=False)
    world.see(canary)
    text = told(world, canary)
    assert f"{canary} is failed" in text
    assert "step 1, to install its model, failed (FailedProbe): model ProbeFailed: camera" in text


def test_everything_that_stops_a_device_is_told() -> None:
    night = Window(frozenset({6}), time(2), time(4), ZoneInfo("Europe/Berlin"))
    world = world_with(rings=(TWO[0], replace(TWO[1], windows=(night,))))
    name = members(world, 1)[0]
    world.holds = (Hold("stop", Selector.labels(region=world.truth[name].labels["region"]), reason="incident 7"),)
    world.groups = {"cameras": GroupRules(paused=True, max_unavailable=Count(1))}
    world.plan = replace(world.plan, paused=True)
    world.write(replace(world.truth[name], reachable=False))
    world.see(name)
    text = told(world, name)
    assert "it is not reachable" in text
    assert "hold stop stops it: incident 7" in text
    assert "the plan is paused" in text
    assert "one of its groups is paused" in text
    assert "its window opens at 2026-01-11 01:00 UTC" in text
    assert "maxUnavailable of group cameras is reached" in text


def test_device_that_has_it_is_told_that_nothing_is_left() -> None:
    world = world_with()
    world.run(600)
    text = told(world, members(world, 1)[0])
    assert "confirmed: it runs what the plan asks for" in text
    assert "model: runs 1.0.0, keeps 0.9.0" in text
    assert "there is no step left to make" in text


def test_device_that_no_group_selects_is_told_so() -> None:
    assert told(world_with(), DeviceName("elsewhere")).endswith("none of its groups selects the device")


def test_plan_that_waits_for_a_person_is_told_with_what_to_do() -> None:
    world = world_with(rings=(TWO[0], replace(TWO[1], needs_approval=True)))
    world.run(120)
    observed = world.observe()
    text = "\n".join(explain_plan(observed, decide(observed, world.now), world.now))
    assert "is Soaking, ring canary, for" in text
    assert "because: ring everyone waits for approval" in text
    assert "next:    look at the rings so far, and approve" in text
    assert "ring canary: 2 of 2 confirmed, 0 changing, 0 failed, 0 offline" in text
    assert "signal accuracy: Pass: 0.95 is within its limits" in text


def test_every_next_step_is_a_sentence_without_a_full_stop() -> None:
    assert all(words and words[0].islower() and not words.endswith(".") for words in NEXT.values())
