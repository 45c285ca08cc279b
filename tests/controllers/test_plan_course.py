"""Exposure and recovery are told from real decisions about a whole release, and from what a new leader still knows."""

from dataclasses import dataclass, field
from datetime import timedelta

from backstay.controllers.plan_course import Course
from backstay.core.actions import Decision
from backstay.core.observed import Observed
from backstay.core.plan import Count, Ring, RollbackPolicy
from backstay.core.revision import Phase
from tests.laws.release_world import SOAK, START, TARGETS, World, device_of, plan_of

RINGS = (Ring("canary", size=Count(2), minimum=2, soak=SOAK), Ring("everyone", soak=SOAK))
STEP = timedelta(seconds=5)


@dataclass
class Follower:
    """A course that follows the decisions of a world, and the recoveries that it tells."""

    course: Course = field(default_factory=Course)
    recoveries: list[timedelta] = field(default_factory=list)

    def __call__(self, world: World, observed: Observed, decision: Decision) -> None:
        took = self.course.follow(observed, decision, world.now, (world.now - START).total_seconds())
        if took is not None:
            self.recoveries.append(took)


def world(*followers: Follower) -> World:
    plan = plan_of("model", rings=RINGS, rollback=RollbackPolicy(verify=timedelta(seconds=20)))
    made = World(plan=plan)
    made.truth = {device.name: device for device in (device_of(f"eu-{number}") for number in range(4))}
    made.crash()
    made.onlookers = followers
    return made


def goes_on_until(made: World, phase: Phase, *, well: bool = True) -> None:
    for _ in range(100):
        made.run(5, well=well)
        if made.state is not None and made.state.phase is phase:
            return
    raise AssertionError(f"the world never came to {phase}: {made.state}")


def test_course_counts_devices_as_exposed_until_the_revision_is_proven() -> None:
    follower = Follower()
    made = world(follower)
    goes_on_until(made, Phase.SOAKING)
    assert follower.course.exposure.devices == 2
    goes_on_until(made, Phase.STABILIZING)
    assert follower.course.exposure.devices == 4
    goes_on_until(made, Phase.SUCCEEDED)
    exposure = follower.course.exposure
    assert (exposure.devices, exposure.convicted_seconds) == (0, 0)
    assert exposure.seconds > 2 * SOAK.total_seconds()
    assert follower.recoveries == []


def test_course_tells_recovery_from_the_first_bad_signal_when_a_version_is_convicted() -> None:
    follower = Follower()
    made = world(follower)
    goes_on_until(made, Phase.SOAKING)
    bad_from = made.now
    made.bad = frozenset(release.content for release in TARGETS["model"].values())
    goes_on_until(made, Phase.ROLLED_BACK)
    assert made.state is not None
    (took,) = follower.recoveries
    assert timedelta(0) <= made.state.since - took - bad_from <= 2 * STEP
    assert follower.course.last_recovery == took
    exposure = follower.course.exposure
    assert exposure.devices == 0
    assert exposure.convicted_seconds == exposure.seconds > 0


def test_course_tells_recovery_once_when_the_leader_changes_during_the_rollback() -> None:
    first, second = Follower(), Follower()
    made = world(first)
    goes_on_until(made, Phase.SOAKING)
    made.bad = frozenset(release.content for release in TARGETS["model"].values())
    goes_on_until(made, Phase.VERIFYING)
    made.onlookers = (second,)
    goes_on_until(made, Phase.ROLLED_BACK)
    made.onlookers = (third := Follower(),)
    made.tick()
    (took,) = second.recoveries
    assert took >= timedelta(seconds=20)
    assert (first.recoveries, third.recoveries) == ([], [])


def test_course_tells_recovery_from_the_first_failed_device_when_probes_fail() -> None:
    follower = Follower()
    made = world(follower)
    goes_on_until(made, Phase.ROLLED_BACK, well=False)
    assert len(follower.recoveries) == 1
    assert follower.course.exposure.convicted_seconds == follower.course.exposure.seconds


def test_course_tells_no_recovery_when_a_person_asked_for_the_way_back() -> None:
    follower = Follower()
    made = world(follower)
    goes_on_until(made, Phase.SOAKING)
    assert made.state is not None
    made.asked = f"rollback@{made.state.revision}/-/1"
    goes_on_until(made, Phase.ROLLED_BACK)
    assert follower.recoveries == []
    assert follower.course.exposure.convicted_seconds == 0
