"""What a release would do, before anything ships: whom it reaches, by which steps, and what refuses it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from backstay.core.admission import refusals
from backstay.core.devices import Device
from backstay.core.dispatch import is_held
from backstay.core.fleet import Bucket, FleetView, version_set
from backstay.core.observed import Observed
from backstay.core.path import NoPath, Path, path_between
from backstay.core.plan import revision_hash
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.revision import revision_named
from backstay.core.steps import search_once
from backstay.simulate.rollout.documents import WrittenRelease
from backstay.simulate.rollout.pace import shortest_step

NAMED: Final = 5
"""So many devices of each ring are named."""


@dataclass(frozen=True, slots=True)
class RingPreview:
    """One ring, as it would be."""

    name: str
    devices: int
    first: tuple[str, ...]
    """The first of them, in the order in which they would be changed."""
    to_change: int
    held: int
    unreachable: int
    at_once: int
    """So many may change at the same time."""
    waits_for: tuple[str, ...]
    """What besides health it waits for: a person, hours, a rehearsal."""
    at_best: timedelta
    """From its start until the next ring may start, if every device were as quick as the quickest."""


@dataclass(frozen=True, slots=True)
class PathPreview:
    """One order of changes, and how many devices would take it."""

    running: str
    steps: str
    devices: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A release, seen ahead."""

    revision: str
    devices: int
    rings: tuple[RingPreview, ...]
    left_out: int
    """Devices that no ring takes."""
    paths: tuple[PathPreview, ...]
    refusals: tuple[str, ...]
    at_best: timedelta
    """Until the release could have succeeded."""


def preview(
    release: WrittenRelease, devices: tuple[Device, ...], known: Mapping[ContentDigest, Release], now: datetime
) -> Preview:
    """Look ahead with the same membership, admission and path search as the operator."""
    plan = release.plan
    view = FleetView(plan, revision_named(None, plan), devices)
    observed = Observed(plan, view, holds=release.holds, known=known, groups=release.groups)
    view.cover(tuple(hold for hold in release.holds if hold.is_in_force(now)))
    rings = tuple(_ring(observed, index, now) for index in range(len(plan.rings)))
    refused = (*release.beyond, *(because.message for because in refusals(observed, now)))
    return Preview(
        revision=revision_hash(plan.target),
        devices=len(view),
        rings=rings,
        left_out=sum(bucket.count for bucket in view.all_buckets() if bucket.kind.ring is None),
        paths=tuple(_paths(observed)),
        refusals=refused,
        at_best=sum((ring.at_best for ring in rings), plan.stability),
    )


def _ring(observed: Observed, index: int, now: datetime) -> RingPreview:
    plan, fleet = observed.plan, observed.fleet
    rules, buckets = plan.rings[index], fleet.buckets(index)
    next_step = search_once(observed, now)
    to_change = held = longest = 0
    steps = timedelta()
    for bucket in buckets:
        path = _path(bucket, observed)
        if not path:
            continue
        to_change += bucket.count
        order = next_step(bucket.one())
        if order is not None and not isinstance(order, NoPath):
            release = order.release
            is_stopped = is_held(bucket.kind, order.type, release.plane, release.content, observed.holds, now)
            held += bucket.count if is_stopped else 0
        if len(path) > longest:
            longest = len(path)
            steps = sum((shortest_step(step.plane, plan.deadlines) for step in path), timedelta())
    target = fleet.counts(index).target
    at_once = max(1, rules.in_flight.of(target))
    waves = ceil(to_change / at_once)
    rehearsal = timedelta() if rules.rehearsal is None or not to_change else 2 * steps
    return RingPreview(
        name=rules.name,
        devices=target,
        first=tuple(device.name for device in fleet.members(index)[:NAMED]),
        to_change=to_change,
        held=held,
        unreachable=sum(bucket.count for bucket in buckets if not bucket.kind.may_be_ordered),
        at_once=at_once,
        waits_for=tuple(_waits(observed, index)),
        at_best=waves * steps + rules.soak + rehearsal,
    )


def _waits(observed: Observed, index: int) -> Iterator[str]:
    rules = observed.plan.rings[index]
    if rules.needs_approval:
        yield "a person's approval"
    if rules.windows:
        yield "its window"
    if rules.rehearsal is not None:
        broken = " and one broken on purpose" if rules.rehearsal.break_one else ""
        yield f"a rehearsal with {rules.rehearsal.devices} devices{broken}"


def _path(bucket: Bucket, observed: Observed) -> tuple[Release, ...]:
    found = path_between(version_set(bucket.kind.running, observed.known), observed.plan.target)
    return found.steps if isinstance(found, Path) else ()


def _paths(observed: Observed) -> Iterator[PathPreview]:
    """The distinct orders of changes, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    for bucket in observed.fleet.all_buckets():
        running = version_set(bucket.kind.running, observed.known)
        found = path_between(running, observed.plan.target)
        match found:
            case Path(()):
                steps = "nothing to do"
            case Path(releases):
                steps = ", then ".join(_change(running.get(release.plane), release) for release in releases)
            case NoPath():
                steps = f"none: {found}"
        counts[str(running), steps] += bucket.count
    for (running_words, steps), count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield PathPreview(running_words, steps, count)


def _change(before: Release | None, release: Release) -> str:
    plane: Plane = release.plane
    return f"{plane} {before.version if before else 'none'} → {release.version}"
