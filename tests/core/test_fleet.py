"""What is kept as devices change equals what a fresh view counts, whatever happened on the way."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from types import MappingProxyType

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backstay.core.devices import Device, DeviceName, Drill, RevisionName
from backstay.core.fleet import FleetView, Progress, RingCounts
from backstay.core.holds import Hold
from backstay.core.plan import Count, Ring, Share
from backstay.core.revision import Segment
from backstay.core.selectors import MatchExpression, Operator, Selector
from tests.laws.release_rules import examples
from tests.scale.fleets import (
    NOW,
    PLAN,
    REVISION,
    confirmed,
    device_of,
    failed,
    on_its_way,
    on_its_way_back,
    undelivered,
)

RINGS = (
    Ring("canary", size=Count(2), minimum=2, spread_by=("hardware", "site")),
    Ring("latam", selector=Selector.labels(region="latam")),
    Ring("third", size=Share(Fraction(1, 3)), minimum=1),
    Ring("named", selector=Selector((MatchExpression("customer", Operator.EXISTS),))),
)
"""Nobody takes a device without a customer that the others leave over."""
VIEWED = replace(PLAN, rings=RINGS)
DEVICES = 150
TIMES = (NOW, NOW + timedelta(minutes=2), NOW + timedelta(hours=1), NOW + timedelta(hours=3))

WALKS: dict[str, Callable[[Device, str], Device]] = {
    "untouched": lambda device, ring: device,
    "on its way": lambda device, ring: on_its_way(device, ring, is_begun=False),
    "begun": lambda device, ring: on_its_way(device, ring, is_begun=True),
    "half way": lambda device, ring: confirmed(device, ring, 1),
    "confirmed": confirmed,
    "failed": failed,
    "undelivered": undelivered,
    "going back": lambda device, ring: on_its_way_back(device, ring, is_begun=True),
    "rehearsing": lambda device, ring: rehearsing(on_its_way(device, ring, is_begun=True)),
    "of another revision": lambda device, ring: of_another_revision(confirmed(device, ring)),
    "unreachable": lambda device, ring: replace(device, reachable=False),
}

HOLDS = (
    Hold("customer", Selector.labels(customer="customer-01")),
    Hold("customer", Selector.labels(region="eu")),
    Hold("group", groups=frozenset({"streets"})),
    Hold("devices", devices=frozenset({DeviceName(f"cam-{index:07}") for index in (1, 2, 70, 999)})),
    Hold("both", Selector.labels(region="us"), groups=frozenset({"shops", "streets"})),
    Hold("everything"),
)
SEGMENTS = (None, Segment("region", "eu"), Segment("customer", "customer-00"))


def rehearsing(device: Device) -> Device:
    assert device.step is not None
    return replace(device, step=replace(device.step, drill=Drill.ROUND_TRIP))


def of_another_revision(device: Device) -> Device:
    assigned = {plane: replace(a, revision=RevisionName("0123456789-3")) for plane, a in device.assigned.items()}
    return replace(device, assigned=assigned)


def names(devices: list[Device]) -> list[DeviceName]:
    return [device.name for device in devices]


def seen_of(view: FleetView) -> dict[str, object]:
    """All that a view answers, without the order in which its buckets came to be."""
    rings = range(len(RINGS))
    found: dict[str, object] = {
        "devices": names(list(view)),
        "rings": {device.name: view.ring_of(device.name) for device in view},
        "kinds": {device.name: view.kind_of(device.name) for device in view},
        "buckets": {bucket.kind: names(list(bucket)) for bucket in view.all_buckets()},
        "sizes": {bucket.kind: bucket.count for bucket in view.all_buckets()},
        "ones": {bucket.kind: bucket.one().name for bucket in view.all_buckets()},
        "counts": [view.counts(ring) for ring in rings],
        "running": view.running(),
        "changed": [view.was_changed(ring) for ring in rings],
        "participants": names(view.participants()),
        "members": [names(view.members(ring, progress)) for ring in rings for progress in Progress],
        "lengths": len(view),
    }
    for now in TIMES:
        found[f"silent {now}"] = [names(view.silent(ring, now)) for ring in rings]
        found[f"due {now}"] = [names(view.due_again(ring, now)) for ring in rings]
        found[f"ahead {now}"] = [(view.next_deadline(ring, now), view.next_due(ring, now)) for ring in rings]
        found[f"late {now}"] = sorted(names(view.late(now)))
    return found


@examples(40, 25)
class AnyHistory(RuleBasedStateMachine):
    """Devices come, change, go and come again, one by one and by the dozen, under holds that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.view = FleetView(VIEWED, REVISION)
        self.truth: dict[DeviceName, Device] = {}
        self.holds: tuple[Hold, ...] = ()
        self.segment: Segment | None = None

    def put(self, device: Device) -> None:
        self.truth[device.name] = device
        self.view.put(device)

    @rule(
        start=st.integers(0, DEVICES - 1),
        number=st.sampled_from([1, 1, 2, 20, DEVICES]),
        step=st.sampled_from([1, 1, 7]),
        walk=st.sampled_from(sorted(WALKS)),
        ring=st.sampled_from([*(ring.name for ring in RINGS), "gone"]),
    )
    def change(self, start: int, number: int, step: int, walk: str, ring: str) -> None:
        for index in range(start, min(DEVICES, start + number * step), step):
            here = device_of(index)
            labels = self.truth[here.name].labels if here.name in self.truth else here.labels
            self.put(WALKS[walk](replace(here, labels=labels), ring))

    @rule(start=st.integers(0, DEVICES - 1), number=st.sampled_from([1, 3, DEVICES]))
    def stand_where_they_are(self, start: int, number: int) -> None:
        for index in range(start, min(DEVICES, start + number)):
            device = device_of(index)
            if device.name in self.truth and (ring := self.view.ring_of(device.name)) is not None:
                self.put(confirmed(self.truth[device.name], RINGS[ring].name))

    @rule(
        index=st.integers(0, DEVICES - 1),
        key=st.sampled_from(["region", "customer", "hardware", "site", "serial", "floor"]),
        value=st.sampled_from([None, "eu", "latam", "customer-01", "x", "y"]),
    )
    def label(self, index: int, key: str, value: str | None) -> None:
        if (device := self.truth.get(device_of(index).name)) is not None:
            labels = {**device.labels, key: value}
            if value is None:
                del labels[key]
            self.put(replace(device, labels=MappingProxyType(labels)))

    @rule(index=st.integers(0, DEVICES - 1))
    def say_the_same_again(self, index: int) -> None:
        if (device := self.truth.get(device_of(index).name)) is not None:
            self.put(replace(device, labels=dict(device.labels), resource_version="later"))

    @rule(start=st.integers(0, DEVICES), number=st.sampled_from([1, 1, 30, DEVICES]))
    def remove(self, start: int, number: int) -> None:
        for index in range(start, start + number):
            name = device_of(index).name
            self.truth.pop(name, None)
            self.view.remove(name)

    @rule(index=st.integers(0, DEVICES - 1))
    def go_and_come_again(self, index: int) -> None:
        device = device_of(index)
        self.view.remove(device.name)
        self.put(device)

    @rule(holds=st.sets(st.sampled_from(HOLDS)))
    def cover(self, holds: set[Hold]) -> None:
        self.holds = tuple(sorted(holds, key=HOLDS.index))
        self.view.cover(self.holds)

    @rule(segment=st.sampled_from(SEGMENTS))
    def confine(self, segment: Segment | None) -> None:
        self.segment = segment
        self.view.confine(segment)

    @rule(number=st.integers(0, 40))
    def look_at_some(self, number: int) -> None:
        for bucket in self.view.all_buckets():
            assert names(bucket.first(number)) == names(list(bucket))[:number]

    @rule()
    def compare_before_looking(self) -> None:
        """Comparing looks at everything, which clears what was left behind; without it more gathers."""
        self.compare()

    @invariant()
    def counts_are_a_recount(self) -> None:
        if len(self.truth) % 3 == 0:
            self.compare()

    def teardown(self) -> None:
        self.compare()

    def compare(self) -> None:
        fresh = FleetView(VIEWED, REVISION, reversed(self.truth.values()))
        fresh.cover(self.holds)
        fresh.confine(self.segment)
        assert seen_of(self.view) == seen_of(fresh)


TestAnyHistory = AnyHistory.TestCase


def test_bucket_gives_its_devices_by_rank_when_many_have_left_and_some_came_back() -> None:
    devices = [device_of(index) for index in range(400)]
    view = FleetView(replace(PLAN, rings=(Ring("everyone"),)), REVISION, devices)
    for device in devices[:350]:
        view.put(confirmed(device, "everyone"))
    for device in devices[100:200:3]:
        view.put(device)
    left = {device.name for device in (*devices[100:200:3], *devices[350:])}
    untouched = view.buckets(0, Progress.UNTOUCHED)
    for bucket in untouched:
        assert names(bucket.first(3)) == names(view.by_rank(bucket))[:3]
    assert {device.name for bucket in untouched for device in bucket} == left


def test_counts_follow_a_device_from_ring_to_ring_when_its_label_changes() -> None:
    view = FleetView(replace(PLAN, rings=RINGS[1:2]), REVISION, [device_of(0)])
    assert view.counts(0) == RingCounts()
    view.put(replace(device_of(0), labels=MappingProxyType({"region": "latam"})))
    assert view.counts(0) == RingCounts(target=1)
    view.put(device_of(0))
    assert view.counts(0) == RingCounts()
