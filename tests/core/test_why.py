"""What a person is told who asks why a device or a plan is where it is."""

from dataclasses import replace
from datetime import time, timedelta
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from backstay.core.actions import Decision
from backstay.core.decide import decide
from backstay.core.devices import Device, DeviceName, PlaneState, PlaneStatus
from backstay.core.holds import Hold
from backstay.core.observed import GroupRules, Observed
from backstay.core.plan import Count, Ring
from backstay.core.planes import ContentDigest, Plane
from backstay.core.revision import Phase
from backstay.core.selectors import Selector
from backstay.core.transition import ring_reports
from backstay.core.why import NEXT, explain_device, explain_plan
from backstay.core.windows import Window
from tests.core.cameras import START as MONDAY
from tests.core.cameras import at, cameras, seen
from tests.core.cameras import told as told_device
from tests.laws.release_world import FACTORY, RINGS, SOAK, TARGETS, World, plan_of, world_of

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


# --- every sentence, to the last word

MODEL, OLD = TARGETS["model"][Plane.MODEL], FACTORY[Plane.MODEL]
KEEPS = "  firmware: runs 0.9.0, keeps 0.8.0\n  model: runs 0.9.0, keeps 0.8.0\n  config: runs 0.9.0, keeps 0.8.0"
RANKED = "  it belongs to ring everyone (1 of 1), by its rank among the plan's devices"


def words(
    device: Device, phase: Phase | None = Phase.ROLLING, now: timedelta = timedelta(0), **changes: object
) -> list[str]:
    """What is said of one device after the line that names it."""
    observed = cast("Observed", changes.pop("observed", None)) or seen([device])
    observed = replace(observed, state=None if phase is None else at(observed, phase), **changes)  # type: ignore[arg-type]
    return "\n".join(explain_device(observed, device.name, MONDAY + now)).splitlines()


def test_device_that_waits_is_told_all_and_nothing_else() -> None:
    (device,) = cameras(1)
    assert words(device) == [
        "plan vision: eu-0000 is not changed by this revision",
        *KEEPS.splitlines(),
        f"{RANKED}, which has started",
        "  next it would install model 1.0.0",
    ]


@pytest.mark.parametrize(
    ("phase", "said"),
    [
        (None, f"{RANKED}; no ring has started yet"),
        (Phase.PENDING, f"{RANKED}; no ring has started yet"),
        (Phase.SUCCEEDED, f"{RANKED}, which has started"),
        (Phase.HALTED, f"{RANKED}, which has started"),
    ],
)
def test_ring_of_a_device_is_told_with_whether_it_has_started(phase: Phase | None, said: str) -> None:
    assert words(cameras(1)[0], phase)[4] == said


def test_ring_that_takes_by_labels_and_one_that_comes_later_are_told_as_such() -> None:
    rings = (Ring("eu", selector=Selector.labels(region="eu")), Ring("us", selector=Selector.labels(region="us")))
    (eu,), (us,), (apac,) = cameras(1), cameras(1, "us"), cameras(1, "apac")
    observed = seen([eu, us, apac], rings=rings)
    place = "  it belongs to ring us (2 of 2), by its labels"
    assert words(us, observed=observed)[4] == f"{place}; the rollout has only reached ring eu"
    assert words(us, Phase.STABILIZING, observed=observed)[4] == f"{place}, which has started"
    assert words(eu, observed=observed)[4] == "  it belongs to ring eu (1 of 2), by its labels, which has started"
    assert words(apac, observed=observed)[4] == "  no ring of the plan takes it, so it keeps what it runs"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (PlaneStatus(MODEL.content, "1.0.0", OLD.content, "0.9.0"), "  model: runs 1.0.0, keeps 0.9.0"),
        (PlaneStatus(MODEL.content, "", OLD.content, ""), "  model: runs an unnamed version, keeps an unnamed version"),
        (PlaneStatus(MODEL.content, "1.0.0"), "  model: runs 1.0.0, keeps nothing"),
    ],
)
def test_what_a_device_runs_and_keeps_is_told_by_name(status: PlaneStatus, said: str) -> None:
    (device,) = cameras(1)
    assert words(replace(device, planes={Plane.MODEL: status}))[1] == said


@pytest.mark.parametrize(
    ("says", "now", "said"),
    [
        (None, 0, "it has not begun, and has another 5 min 0 s"),
        (PlaneState.DOWNLOADING, 241, "it has begun, and has another 59 s"),
        (PlaneState.DOWNLOADING, 300, "it has begun, and has been silent past its deadline for 0 s"),
        (PlaneState.DOWNLOADING, 300 + 3600 + 61, "it has begun, and has been silent past its deadline for 1 h 1 min"),
        (PlaneState.DOWNLOADING, 300 + 3600, "it has begun, and has been silent past its deadline for 1 h 0 min"),
        (PlaneState.DOWNLOADING, 300 + 7199, "it has begun, and has been silent past its deadline for 1 h 59 min"),
        (PlaneState.DOWNLOADING, 300 + 3599, "it has begun, and has been silent past its deadline for 59 min 59 s"),
        (PlaneState.DOWNLOADING, 300 + 60, "it has begun, and has been silent past its deadline for 1 min 0 s"),
    ],
)
def test_step_of_a_device_is_told_with_its_time(says: PlaneState | None, now: int, said: str) -> None:
    device = told_device(cameras(1)[0], MODEL, says, issued=MONDAY, at=MONDAY)
    assert f"  step 7, to install its model: {said}" in words(device, now=timedelta(seconds=now))


def test_step_that_failed_for_lack_of_a_resource_is_told_as_such() -> None:
    device = told_device(cameras(1)[0], MODEL, PlaneState.ROLLED_BACK, reason="ProbeFailed: disk")
    observed = seen([device], resource_probes=frozenset({"disk"}))
    said = "  step 7, to install its model, failed (ResourceAnomaly): model ProbeFailed: disk"
    assert said in words(device, observed=observed)


SUNDAY_NIGHT = Window(frozenset({6}), time(2), time(4), ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("device", "changes", "said"),
    [
        ({"reachable": False}, {}, "  it is not reachable; it follows through its ring when it is back"),
        ({"revoked": True}, {}, "  it is revoked, pinned or in safe mode, so it is given no orders"),
        ({}, {"holds": (Hold("stop"),)}, "  hold stop stops it: no reason given"),
        ({}, {"holds": (Hold("stop", reason="smoke"),)}, "  hold stop stops it: smoke"),
        ({}, {"groups": {"cameras": GroupRules(paused=True)}}, "  one of its groups is paused"),
        (
            {},
            {"groups": {"cameras": GroupRules(windows=(SUNDAY_NIGHT,))}},
            "  its window opens at 2026-01-11 01:00 UTC",
        ),
        (
            {},
            {"groups": {"eu": GroupRules(max_unavailable=Count(1), devices=1, unavailable=1)}},
            "  maxUnavailable of group eu is reached",
        ),
    ],
)
def test_each_thing_that_stops_a_device_is_told_alone(
    device: dict[str, object], changes: dict[str, object], said: str
) -> None:
    stopped = words(replace(cameras(1)[0], **device), **changes)  # type: ignore[arg-type]
    free = words(cameras(1)[0])
    assert [line for line in stopped if line not in free] == [said]


def test_pause_of_the_plan_stops_what_is_installed_and_not_what_goes_back() -> None:
    (device,) = cameras(1)
    assert "  the plan is paused" in words(device, observed=seen([device], paused=True))
    there = told_device(device, MODEL, PlaneState.CONFIRMED)
    observed = seen([there], "v1", paused=True)
    target = {Plane.MODEL: replace(MODEL, version="1.5.0", content=ContentDigest("sha256:next"))}
    unproven = frozenset({(Plane.MODEL, MODEL.content)})
    observed = replace(observed, plan=replace(observed.plan, target=target), unproven=unproven)
    found = words(there, observed=observed)
    assert "  next it would return model 0.9.0" in found
    assert "  the plan is paused" not in found


def test_device_that_could_not_fall_back_or_has_nothing_left_is_told_so() -> None:
    (device,) = cameras(1)
    device = replace(device, rollback_capable=False)
    observed = seen([device], "v1")
    assert words(device, observed=observed)[-2:] == [
        "  next it would install firmware 1.0.0",
        "  it could not fall back from that by itself, so it is not ordered",
    ]
    there = told_device(device, MODEL, PlaneState.CONFIRMED)
    assert words(there)[-1] == "  there is no step left to make"
    assert words(there)[0] == "plan vision: eu-0000 is confirmed: it runs what the plan asks for"


def plan_words(phase: Phase, *devices: Device, holds: tuple[Hold, ...] = (), **changes: object) -> list[str]:
    observed = replace(seen(devices), holds=holds)
    observed = replace(observed, state=at(observed, phase, **changes))
    decision = Decision(observed.state, (), None, (), ring_reports(observed, MONDAY + timedelta(minutes=9)))  # type: ignore[arg-type]
    return list(explain_plan(observed, decision, MONDAY + timedelta(minutes=9)))


def test_plan_is_told_with_its_ring_only_while_it_is_in_one_and_its_plane_only_while_it_goes_back() -> None:
    name = seen([]).fleet.revision
    assert plan_words(Phase.SOAKING, plane=Plane.MODEL)[0] == (
        f"plan vision: revision {name} is Soaking, ring everyone, for 9 min 0 s"
    )
    assert plan_words(Phase.VERIFYING, plane=Plane.MODEL)[0] == (
        f"plan vision: revision {name} is Verifying model, for 9 min 0 s"
    )
    assert plan_words(Phase.SUCCEEDED, plane=Plane.MODEL)[0] == (
        f"plan vision: revision {name} is Succeeded, for 9 min 0 s"
    )


def test_plan_counts_those_that_failed_and_those_that_fell_silent_together() -> None:
    failed = told_device(cameras(1)[0], MODEL, PlaneState.ROLLED_BACK, reason="ProbeFailed: x")
    silent = told_device(cameras(1, "us")[0], MODEL, PlaneState.DOWNLOADING)
    assert plan_words(Phase.ROLLING, failed, silent)[1] == (
        "  ring everyone: 0 of 2 confirmed, 1 changing, 2 failed, 0 offline"
    )


def test_plan_is_told_with_the_holds_in_force_and_their_reasons() -> None:
    holds = (Hold("b", reason="smoke"), Hold("a"), Hold("over", until=MONDAY))
    assert plan_words(Phase.ROLLING, holds=holds)[-2:] == ["  hold a: no reason given", "  hold b: smoke"]
