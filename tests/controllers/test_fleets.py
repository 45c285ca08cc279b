"""Devices find their groups and plans as they change, and the counts are always those of a recount."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backstay.controllers.fleets import Fleets
from backstay.controllers.wakes import Wakes
from backstay.core.devices import (
    Assignment,
    Device,
    DeviceName,
    PlaneState,
    PlaneStatus,
    RevisionName,
    Step,
    StepType,
)
from backstay.core.fleet import FleetView
from backstay.core.plan import Plan, Ring, Share
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.revision import revision_named
from backstay.core.selectors import Selector
from backstay.core.standing import Census, Standing, standing_of

RELEASE = Release(Plane.MODEL, "2.0.0", ContentDigest("sha256:new"))
PLAN = Plan("acme", "vision", {Plane.MODEL: RELEASE}, (Ring("all", size=Share(Fraction(1))),))
REVISION = RevisionName("abc-1")


def device(name: str, version: int, **changes: object) -> Device:
    made = Device(DeviceName(name), {"region": "eu"}, resource_version=str(version))
    return replace(made, **changes)  # type: ignore[arg-type]


def fleets(**groups: str) -> Fleets:
    made = Fleets(Wakes())
    for name, region in groups.items():
        made.set_group("acme", name, Selector.labels(region=region))
    return made


def test_view_follows_a_device_into_a_group_and_out_of_it() -> None:
    made = fleets(cameras="eu")
    view = made.view(PLAN, REVISION, ["cameras"])
    made.put(("acme", device("a", 1)))
    assert len(view) == 1
    made.put(("acme", device("a", 2, labels={"region": "us"})))
    assert len(view) == 0
    made.set_group("acme", "cameras", Selector.labels(region="us"))
    assert len(view) == 1


def ordered(name: str, version: int, revision: str = "abc-1", *, answered: bool = False) -> Device:
    issued = datetime(2026, 1, 5, 12, tzinfo=UTC)
    step = Step(1, Plane.MODEL, StepType.INSTALL, issued, issued + timedelta(hours=1))
    assignment = Assignment("vision", RevisionName(revision), "all", "2.0.0", RELEASE.content)
    planes = {Plane.MODEL: PlaneStatus(state=PlaneState.CONFIRMED, step=1)} if answered else {}
    return device(name, version, step=step, assigned={Plane.MODEL: assignment}, planes=planes)


def test_group_counts_devices_that_change_or_are_unhealthy_as_unavailable() -> None:
    made = fleets(cameras="eu")
    made.put(("acme", device("a", 1, failing=("camera",))))
    made.put(("acme", ordered("b", 1)))
    made.put(("acme", device("c", 1)))
    assert made.counts("acme", "cameras").unavailable == 2
    made.put(("acme", ordered("b", 2, answered=True)))
    assert made.counts("acme", "cameras").unavailable == 1


def test_every_plan_looks_again_when_a_device_of_a_bounded_group_settles() -> None:
    wakes = Wakes()
    made = Fleets(wakes)
    made.set_group("acme", "cameras", Selector.labels(region="eu"))
    other = wakes.flag(("acme", "another-plan"))
    made.put(("acme", ordered("b", 1)))
    assert not other.is_set()
    made.bound("acme", "cameras", is_bounded=True)
    made.put(("acme", ordered("b", 2, answered=True)))
    assert other.is_set()


def test_counter_goes_on_where_an_earlier_plan_of_the_same_name_stopped() -> None:
    made = fleets(cameras="eu")
    assert made.highest_counter("acme", "vision") == 0
    made.put(("acme", ordered("a", 1, "abc-7")))
    made.put(("acme", ordered("b", 1, "def-3")))
    assert made.highest_counter("acme", "vision") == 7
    assert made.highest_counter("acme", "parking") == 0
    assert revision_named(None, PLAN, 7).endswith("-8")


def test_view_is_the_same_until_something_that_it_is_made_from_changes() -> None:
    made = fleets(cameras="eu")
    view = made.view(PLAN, REVISION, ["cameras"])
    assert made.view(replace(PLAN, paused=True), REVISION, ["cameras"]) is view
    assert made.view(PLAN, RevisionName("abc-2"), ["cameras"]) is not view


def test_older_version_of_a_device_changes_nothing_when_our_own_write_is_newer() -> None:
    made = fleets(cameras="eu")
    made.put(("acme", device("a", 5)))
    made.put_answer("acme", device("a", 12, gateway="after"))
    made.put(("acme", device("a", 7, gateway="before")))
    found = made.get("acme", DeviceName("a"))
    assert found is not None
    assert found.gateway == "after"


def test_answer_to_our_own_write_does_not_bring_a_deleted_device_back() -> None:
    made = fleets(cameras="eu")
    made.put(("acme", device("a", 5)))
    made.remove("acme", "a")
    made.put_answer("acme", device("a", 6))
    assert made.get("acme", DeviceName("a")) is None


def test_plan_is_woken_by_its_own_devices_alone() -> None:
    wakes = Wakes()
    made = Fleets(wakes)
    made.set_group("acme", "cameras", Selector.labels(region="eu"))
    made.view(PLAN, REVISION, ["cameras"])
    flag = wakes.flag(("acme", "vision"))
    made.put(("acme", device("b", 1, labels={"region": "us"})))
    made.put(("globex", device("c", 1)))
    assert not flag.is_set()
    made.put(("acme", device("a", 1)))
    assert flag.is_set()


def test_classes_are_those_of_the_groups_devices() -> None:
    made = fleets(cameras="eu", others="us")
    made.put(("acme", device("a", 1)))
    made.put(("acme", device("b", 2, labels={"region": "us"}, device_class="rk3566")))
    assert made.classes("acme", ["cameras"]) == ("esp32",)
    assert made.classes("acme", ["cameras", "others"]) == ("esp32", "rk3566")
    made.remove("acme", "a")
    assert made.classes("acme", ["cameras"]) == ()


class Counting(RuleBasedStateMachine):
    """Whatever comes in whatever order, groups and views count what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.fleets = fleets(cameras="eu", all="eu")
        self.view: FleetView = self.fleets.view(PLAN, REVISION, ["cameras"])
        self.version = 0

    @rule(
        name=st.sampled_from("abcd"),
        region=st.sampled_from(["eu", "us"]),
        running=st.sampled_from(["sha256:old", "sha256:new"]),
        reachable=st.booleans(),
        is_failing=st.booleans(),
        is_late=st.booleans(),
    )
    def comes(self, name: str, region: str, running: str, *, reachable: bool, is_failing: bool, is_late: bool) -> None:
        self.version += 1
        planes = {Plane.MODEL: PlaneStatus(ContentDigest(running), "1")}
        version = 0 if is_late else self.version
        labels = {"region": region}
        failing = ("camera",) if is_failing else ()
        changes = {"labels": labels, "planes": planes, "reachable": reachable, "failing": failing}
        self.fleets.put(("acme", device(name, version, **changes)))

    @rule(name=st.sampled_from("abcd"))
    def goes(self, name: str) -> None:
        self.fleets.remove("acme", name)

    @rule(name=st.sampled_from(["cameras", "all"]), region=st.sampled_from(["eu", "us", None]))
    def group_changes(self, name: str, region: str | None) -> None:
        self.fleets.set_group("acme", name, None if region is None else Selector.labels(region=region))

    @invariant()
    def counts_are_those_of_a_recount(self) -> None:
        devices = [d for name in "abcd" if (d := self.fleets.get("acme", DeviceName(name))) is not None]
        for group in ("cameras", "all"):
            mine = [d for d in devices if group in d.groups]
            counts = self.fleets.counts("acme", group)
            assert counts.devices == len(mine)
            assert counts.ready == sum(d.reachable and not d.failing for d in mine)
            assert counts.unavailable == sum(bool(d.failing) for d in mine)
            running = Counter((Plane.MODEL, s.version, s.running) for d in mine for s in d.planes.values())
            assert {key: count for key, count in counts.running.items() if count} == running
        census = Census()
        for one in devices:
            census.add(one, +1)
        assert self.fleets.census("acme") == census
        for standing in set(Standing) - {Standing.HEALTHY}:
            found = {d.name for d in devices if standing_of(d) is standing}
            assert self.fleets.unwell("acme", standing) == found
        assert list(self.fleets.names("acme")) == sorted(d.name for d in devices)
        assert {d.name for d in self.view} == {d.name for d in devices if "cameras" in d.groups}


TestCounting = Counting.TestCase
TestCounting.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
