"""The devices of one plan and where each of them stands, counted as they change.

Devices that are alike in everything that the next order depends on share a bucket, and a fleet of a hundred thousand
has few. A decision looks at buckets, takes devices out of them by rank where it needs any, and never walks the fleet. The
counts are kept, not recomputed; a law proves that they equal a recount. Membership is drawn anew only when something it
depends on changed.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from backstay.core.devices import (
    Device,
    DeviceName,
    PlaneState,
    RevisionName,
    StepType,
    answered_well,
    deadline_of,
)
from backstay.core.failures import RetryPolicy, is_undelivered
from backstay.core.holds import Hold
from backstay.core.plan import Plan, Ring
from backstay.core.planes import ContentDigest, Plane, Release, VersionSet
from backstay.core.rings import Candidate, RankKey, labels_that_matter, members_of_rings, rank

Running = tuple[tuple[ContentDigest | None, str], ...]
"""The content and reported version in each plane, in the order of `Plane`."""

_NOTHING_HELD: Final[frozenset[str]] = frozenset()
_SPARE: Final = 64


class Progress(StrEnum):
    """How far a device has come with a revision, whatever the time is."""

    UNTOUCHED = "Untouched"
    IN_FLIGHT = "InFlight"
    UNDER_WAY = "UnderWay"
    RETRYING = "Retrying"
    """Its last step failed without any evidence against the version, and is to be ordered again."""
    CONFIRMED = "Confirmed"
    FAILED = "Failed"
    UNVERIFIED = "Unverified"
    DRILLED = "Drilled"
    """It rehearses going back; until it is done it counts for nothing."""


class Ordered(NamedTuple):
    """The order that a device in flight has."""

    type: StepType
    plane: Plane
    content: ContentDigest | None
    is_begun: bool
    is_drill: bool


class Kind(NamedTuple):
    """Everything that the next order of a device depends on; two of one kind differ in rank and times alone."""

    ring: int | None
    progress: Progress
    is_reachable: bool
    is_revoked: bool
    is_rollback_capable: bool
    changed: tuple[Plane, ...]
    """The planes that it was ordered to change under this revision."""
    has_refused_return: bool
    device_class: str
    groups: frozenset[str]
    running: Running
    kept: Running
    """The fallback and its version in each plane."""
    order: Ordered | None
    holds: frozenset[str]
    """The holds in force that name devices and cover this one."""

    @property
    def takes_part(self) -> bool:
        """Tell whether such a device was ever ordered anything under this revision."""
        return bool(self.changed)

    @property
    def may_be_ordered(self) -> bool:
        """Tell whether an order would reach such a device."""
        return self.is_reachable and not self.is_revoked


class Bucket:
    """The devices of one kind, in order of rank."""

    __slots__ = ("_heap", "_members", "count", "kind")

    def __init__(self, kind: Kind, members: "dict[DeviceName, _Member]") -> None:
        self.kind = kind
        self.count = 0
        self._members = members
        self._heap: list[RankKey] = []

    def add(self, key: RankKey) -> None:
        """Take in a device; whoever leaves stays in the heap and is passed over until it is cleared."""
        self.count += 1
        heappush(self._heap, key)
        if len(self._heap) > 2 * self.count + _SPARE:
            self._heap = [key for key in set(self._heap) if self._has(key)]
            heapify(self._heap)

    def first(self, number: int) -> list[Device]:
        """So many devices with the lowest ranks, at most all."""
        keys: list[RankKey] = []
        while self._heap and len(keys) < number:
            key = heappop(self._heap)
            if self._has(key) and (not keys or keys[-1] != key):
                keys.append(key)
        for key in keys:
            heappush(self._heap, key)
        return [self._members[name].device for _, name in keys]

    def one(self) -> Device:
        """The device with the lowest rank, which stands for all where only their kind matters."""
        return self.first(1)[0]

    def __iter__(self) -> Iterator[Device]:
        return iter(self.first(self.count))

    def _has(self, key: RankKey) -> bool:
        member = self._members.get(key[1])
        return member is not None and member.bucket is self


class _Member:
    """One device in the view."""

    __slots__ = ("at", "bucket", "device", "key", "place", "ring")

    def __init__(self, device: Device, key: RankKey) -> None:
        self.device = device
        self.key = key
        self.ring: int | None = None
        self.bucket: Bucket | None = None
        self.at: datetime | None = None
        self.place: tuple[int | None, Progress] | None = None


@dataclass(frozen=True, slots=True)
class RingCounts:
    """The devices of one ring, each counted once in `target` and by what it has done."""

    target: int = 0
    started: int = 0
    in_flight: int = 0
    confirmed: int = 0
    failed: int = 0
    offline: int = 0
    retrying: int = 0
    drilled: int = 0

    def plus(self, other: "RingCounts") -> "RingCounts":
        """Both together."""
        return RingCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


class FleetView:
    """Every device that a plan's groups select, in buckets by ring and kind."""

    def __init__(
        self,
        plan: Plan,
        revision: RevisionName,
        devices: Iterable[Device] = (),
        *,
        retried_at: datetime | None = None,
    ) -> None:
        self.plan_name: Final = plan.name
        self.revision: Final = revision
        self._key: Final = plan.key
        self._rings: Final[tuple[Ring, ...]] = plan.rings
        self._labels_that_matter: Final = labels_that_matter(plan.rings)
        self._deadlines_allowed: Final = plan.deadlines
        self._basis: Final = _Basis(
            revision, {p: release.content for p, release in plan.target.items()}, plan.retries, retried_at
        )
        self._members: dict[DeviceName, _Member] = {}
        self._buckets: defaultdict[int | None, dict[Kind, Bucket]] = defaultdict(dict)
        self._times: defaultdict[tuple[int | None, Progress], list[tuple[datetime, RankKey]]] = defaultdict(list)
        self._holds: tuple[Hold, ...] = ()
        self._is_membership_stale = False
        for device in devices:
            self.put(device)

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Device]:
        """Every device, in the plan's order of rank, so that arrival never shows in a decision."""
        return (member.device for member in self._in_order())

    def get(self, name: DeviceName) -> Device | None:
        """The device of that name."""
        member = self._members.get(name)
        return None if member is None else member.device

    def put(self, device: Device) -> None:
        """Take in a device as it is now."""
        member = self._members.get(device.name)
        if member is None:
            self._members[device.name] = _Member(device, (rank(self._key, device.name), device.name))
            self._is_membership_stale = True
            return
        before, member.device = member.device, device
        if not self._is_membership_stale and self._moves(before, device, member.ring):
            self._is_membership_stale = True
        if not self._is_membership_stale:
            self._sort(member)

    def remove(self, name: DeviceName) -> None:
        """Forget a device that is gone, or that no group of the plan selects any more."""
        if (member := self._members.pop(name, None)) is not None:
            self._leave(member)
            self._is_membership_stale = True

    def cover(self, holds: tuple[Hold, ...]) -> None:
        """Sort the devices by these holds from now on; those that name no devices are the same for all."""
        naming = tuple(hold for hold in holds if hold.names_devices)
        if naming != self._holds:
            self._holds = naming
            if not self._is_membership_stale:
                for member in self._members.values():
                    self._sort(member)

    def buckets(self, ring: int, *progresses: Progress) -> list[Bucket]:
        """The buckets of a ring whose devices stand at one of these, or at any where none is named."""
        self._refresh()
        found = self._buckets.get(ring, {}).values()
        return [bucket for bucket in found if not progresses or bucket.kind.progress in progresses]

    def all_buckets(self) -> list[Bucket]:
        """The buckets of all devices, also of those that no ring takes."""
        self._refresh()
        return [bucket for buckets in self._buckets.values() for bucket in buckets.values()]

    def counts(self, ring: int) -> RingCounts:
        """How the devices of one ring stand."""
        found: Counter[Progress] = Counter()
        offline = 0
        for bucket in self.buckets(ring):
            found[bucket.kind.progress] += bucket.count
            if not bucket.kind.may_be_ordered and bucket.kind.progress in _AT_REST:
                offline += bucket.count
        target = found.total()
        return RingCounts(
            target=target,
            started=target - found[Progress.UNTOUCHED],
            in_flight=found[Progress.IN_FLIGHT],
            confirmed=found[Progress.CONFIRMED],
            failed=found[Progress.FAILED],
            offline=offline,
            retrying=found[Progress.RETRYING],
            drilled=found[Progress.DRILLED],
        )

    def members(self, ring: int, *progresses: Progress) -> list[Device]:
        """The devices of a ring that stand at one of these, in order of rank."""
        keys = [self._members[device.name].key for bucket in self.buckets(ring, *progresses) for device in bucket]
        return [self._members[name].device for _, name in sorted(keys)]

    def by_rank(self, devices: Iterable[Device]) -> list[Device]:
        """Devices of this view in order of rank."""
        return sorted(devices, key=lambda device: self._members[device.name].key)

    def silent(self, ring: int, now: datetime) -> list[Device]:
        """The devices of a ring in flight whose deadline is over, the longest silent first."""
        return self._over(ring, Progress.IN_FLIGHT, now)

    def next_deadline(self, ring: int, now: datetime) -> datetime | None:
        """The first deadline of a ring's devices in flight that is still ahead."""
        return self._ahead(ring, Progress.IN_FLIGHT, now)

    def due_again(self, ring: int, now: datetime) -> list[Device]:
        """The devices of a ring whose change is to be ordered again by now, the longest due first."""
        return self._over(ring, Progress.RETRYING, now)

    def next_due(self, ring: int, now: datetime) -> datetime | None:
        """When the first change that is not due yet is to be ordered again."""
        return self._ahead(ring, Progress.RETRYING, now)

    def late(self, now: datetime) -> list[Device]:
        """Every device that has an order and whose deadline is over, whatever its ring."""
        return [
            device
            for ring, progress in self._times
            if progress in {Progress.IN_FLIGHT, Progress.DRILLED}
            for device in self._over(ring, progress, now)
        ]

    def _over(self, ring: int | None, progress: Progress, now: datetime) -> list[Device]:
        self._refresh()
        times = self._times.get((ring, progress), ())
        return [self._members[name].device for _, (_, name) in times[: bisect_right(times, now, key=_time)]]

    def _ahead(self, ring: int | None, progress: Progress, now: datetime) -> datetime | None:
        self._refresh()
        times = self._times.get((ring, progress), [])
        ahead = bisect_right(times, now, key=_time)
        return times[ahead][0] if ahead < len(times) else None

    def ring_of(self, name: DeviceName) -> int | None:
        """The index of a device's ring; None when no ring takes it."""
        self._refresh()
        member = self._members.get(name)
        return None if member is None else member.ring

    def kind_of(self, name: DeviceName) -> Kind | None:
        """What a device counts as."""
        self._refresh()
        member = self._members.get(name)
        return None if member is None or member.bucket is None else member.bucket.kind

    def was_changed(self, ring: int) -> bool:
        """Tell whether this revision ordered anything of any device of a ring."""
        return any(bucket.kind.takes_part for bucket in self.buckets(ring))

    def participants(self) -> list[Device]:
        """The devices that were ordered anything under this revision, in order of rank."""
        return self.by_rank(device for bucket in self.all_buckets() if bucket.kind.takes_part for device in bucket)

    def running(self) -> list[tuple[Running, int]]:
        """The distinct sets that devices run, with how many run each; a fleet of thousands has few."""
        found: Counter[Running] = Counter()
        for bucket in self.all_buckets():
            found[bucket.kind.running] += bucket.count
        return sorted(found.items(), key=repr)

    def _in_order(self) -> list[_Member]:
        return sorted(self._members.values(), key=_key_of)

    def _moves(self, before: Device, device: Device, ring: int | None) -> bool:
        """Tell whether anybody's ring may change because this device did."""
        if before.labels != device.labels and any(
            before.labels.get(key) != device.labels.get(key) for key in self._labels_that_matter
        ):
            return True
        standing = standing_ring(device, self.revision)
        if standing == standing_ring(before, self.revision):
            return False
        return standing is None or ring is None or self._rings[ring].name != standing

    def _refresh(self) -> None:
        if not self._is_membership_stale:
            return
        ordered = self._in_order()
        candidates = [
            Candidate(member.device.name, member.device.labels, standing_ring(member.device, self.revision))
            for member in ordered
        ]
        ring_of = members_of_rings(candidates, self._rings)
        self._is_membership_stale = False
        for member in ordered:
            ring = ring_of.get(member.device.name)
            if ring != member.ring:
                self._forget_time(member)
                member.ring = ring
            self._sort(member)

    def _sort(self, member: _Member) -> None:
        """Put a device into the bucket of its kind."""
        device = member.device
        kind = _kind(device, member.ring, self._basis, self._covering(device))
        if member.bucket is None or member.bucket.kind != kind:
            self._leave_bucket(member)
            buckets = self._buckets[member.ring]
            if (bucket := buckets.get(kind)) is None:
                bucket = buckets[kind] = Bucket(kind, self._members)
            member.bucket = bucket
            bucket.add(member.key)
        place = (member.ring, kind.progress)
        at = self._time_of(device, kind.progress)
        if (place, at) != (member.place, member.at):
            self._forget_time(member)
            if at is not None:
                member.place, member.at = place, at
                insort(self._times[place], (at, member.key))

    def _time_of(self, device: Device, progress: Progress) -> datetime | None:
        """When a device that is waited for has been waited for long enough."""
        match progress:
            case Progress.IN_FLIGHT | Progress.DRILLED if device.in_flight:
                return deadline_of(device, self._deadlines_allowed)
            case Progress.RETRYING if device.step is not None:
                since = device.status(device.step.plane).since
                if since is None or not is_undelivered(device):
                    return device.step.issued
                return self._basis.retries.due(device.step.attempt, since)
            case _:
                return None

    def _covering(self, device: Device) -> frozenset[str]:
        if not self._holds:
            return _NOTHING_HELD
        return frozenset(
            hold.name for hold in self._holds if hold.covers_device(device.name, device.labels, device.groups)
        )

    def _leave(self, member: _Member) -> None:
        self._leave_bucket(member)
        self._forget_time(member)

    def _leave_bucket(self, member: _Member) -> None:
        if (bucket := member.bucket) is None:
            return
        member.bucket = None
        bucket.count -= 1
        if not bucket.count:
            del self._buckets[bucket.kind.ring][bucket.kind]

    def _forget_time(self, member: _Member) -> None:
        if member.place is None or member.at is None:
            return
        times = self._times[member.place]
        del times[bisect_left(times, (member.at, member.key))]
        member.place = member.at = None


_AT_REST: Final = frozenset({Progress.UNTOUCHED, Progress.UNDER_WAY, Progress.RETRYING})
"""Where a device waits for an order; one that cannot be given any there is offline, and asked of by no gate."""


class _Basis(NamedTuple):
    """What of a plan and its revision decides how far a device has come."""

    revision: RevisionName
    target: Mapping[Plane, ContentDigest]
    retries: RetryPolicy
    retried_at: datetime | None


def _kind(device: Device, ring: int | None, basis: _Basis, holds: frozenset[str]) -> Kind:
    return Kind(
        ring,
        progress_of(device, basis.revision, basis.target, basis.retries, basis.retried_at),
        device.reachable,
        device.revoked,
        device.rollback_capable,
        changed_planes(device, basis.revision),
        _has_refused_return(device, basis.retries),
        device.device_class,
        device.groups,
        running_of(device),
        kept_by(device),
        _order_of(device),
        holds,
    )


def _order_of(device: Device) -> Ordered | None:
    if not device.in_flight or (step := device.step) is None:
        return None
    assignment = device.assigned.get(step.plane)
    content = None if assignment is None else assignment.content
    return Ordered(step.type, step.plane, content, device.begun, step.drill is not None)


def _has_refused_return(device: Device, retries: RetryPolicy) -> bool:
    """Tell whether a device answered its order back, and not by going; one that only did not arrive is repeated."""
    step = device.step
    if step is None or step.type is not StepType.RETURN or not device.answered or answered_well(device):
        return False
    return not is_undelivered(device) or step.attempt >= retries.attempts


def changed_planes(device: Device, revision: RevisionName) -> tuple[Plane, ...]:
    """The planes that a device was ordered to change under a revision."""
    return tuple([plane for plane in Plane if (a := device.assigned.get(plane)) and a.revision == revision])


def standing_ring(device: Device, revision: RevisionName) -> str | None:
    """The ring under which a device was ordered to take a revision."""
    return next((a.ring for a in device.assigned.values() if a.revision == revision), None)


def progress_of(
    device: Device,
    revision: RevisionName,
    target: Mapping[Plane, ContentDigest],
    retries: RetryPolicy,
    retried_at: datetime | None = None,
) -> Progress:
    """Say how far a device has come, by what it reports that it runs."""
    step = device.step
    if device.in_flight:
        return Progress.DRILLED if step is not None and step.drill else Progress.IN_FLIGHT
    is_there = all(device.runs(plane, content) for plane, content in target.items())
    if not changed_planes(device, revision):
        return Progress.CONFIRMED if is_there and not device.failing else Progress.UNTOUCHED
    if step is None or (step.withdrawn and not device.begun):
        return Progress.UNDER_WAY if _has_moved_on(device, revision) else Progress.UNTOUCHED
    if step.drill is not None:
        return Progress.CONFIRMED if is_there else Progress.DRILLED
    is_own = (assignment := device.assigned.get(step.plane)) is not None and assignment.revision == revision
    if is_own and device.status(step.plane).state is PlaneState.INSTALLED_UNVERIFIED:
        return Progress.UNVERIFIED
    if (is_own and not answered_well(device)) or regressed_plane(device, revision) is not None:
        may_again = is_undelivered(device) and step.attempt < retries.attempts
        was_pardoned = retried_at is not None and step.issued < retried_at
        return Progress.RETRYING if may_again or was_pardoned else Progress.FAILED
    return Progress.CONFIRMED if is_there else Progress.UNDER_WAY


def _has_moved_on(device: Device, revision: RevisionName) -> bool:
    """Tell whether a revision has changed anything on a device; an order that was taken back has not."""
    return any(
        assignment.revision == revision and device.runs(plane, assignment.content)
        for plane, assignment in device.assigned.items()
    )


def regressed_plane(device: Device, revision: RevisionName) -> Plane | None:
    """A plane that was confirmed under this revision and no longer runs what was confirmed.

    A device whose bootloader fell back later still has its confirmation on record; what it runs now is what counts.
    """
    return next(
        (
            plane
            for plane, assignment in device.assigned.items()
            if assignment.revision == revision and not device.runs(plane, assignment.content)
        ),
        None,
    )


def running_of(device: Device) -> Running:
    """What a device reports that it runs, as a key."""
    return tuple([(status.running, status.version) for status in map(device.status, Plane)])


def kept_by(device: Device) -> Running:
    """What a device reports that it keeps to fall back to, as a key."""
    return tuple([(status.fallback, status.fallback_version) for status in map(device.status, Plane)])


def version_set(running: Running, known: Mapping[ContentDigest, Release]) -> VersionSet:
    """The releases behind running contents; one we never resolved has the version its device reports, and no needs."""
    releases = {
        plane: known.get(content) or Release(plane, version, content)
        for plane, (content, version) in zip(Plane, running, strict=True)
        if content is not None
    }
    return VersionSet.of(releases)


def _key_of(member: _Member) -> RankKey:
    return member.key


def _time(entry: tuple[datetime, RankKey]) -> datetime:
    return entry[0]
