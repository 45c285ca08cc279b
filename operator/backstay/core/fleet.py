"""The devices of one plan and where each of them stands, counted as they change.

Devices that are alike in everything that the next order depends on share a bucket, and a fleet of a hundred thousand
has few. A decision looks at buckets, takes devices out of them by rank where it needs any, and never walks the fleet.
The counts are kept, not recomputed; a law proves that they equal a recount. Membership is drawn anew only when
something it depends on changed, and then only those whose ring is another are sorted again.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from backstay.core.devices import (
    NOTHING_REPORTED,
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
from backstay.core.revision import Segment
from backstay.core.rings import RankKey, labels_that_matter, rank, rings_of

Running = tuple[tuple[ContentDigest | None, str], ...]
"""The content and reported version in each plane, in the order of `Plane`."""

_NOTHING_HELD: Final[frozenset[str]] = frozenset()
_PLANES: Final = tuple(Plane)
_SPARE: Final = 64
_FEW: Final = 8


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
    is_in_segment: bool
    """It has the label to which a rollback is confined; always where it is confined to none."""

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

    __slots__ = ("_joined", "_keys", "_members", "count", "kind")

    def __init__(self, kind: Kind, members: "dict[DeviceName, _Member]") -> None:
        self.kind = kind
        self.count = 0
        self._members = members
        self._keys: list[RankKey] = []
        self._joined: list[RankKey] = []

    def add(self, key: RankKey) -> None:
        """Take in a device; whoever leaves stays in the list and is passed over until it is cleared."""
        self.count += 1
        if not self._keys or self._keys[-1] < key:
            self._keys.append(key)
        else:
            self._joined.append(key)
        if len(self._keys) + len(self._joined) > 2 * self.count + _SPARE:
            self._keys = sorted({key for keys in (self._keys, self._joined) for key in keys if self._at(key)})
            self._joined = []

    def first(self, number: int) -> list[Device]:
        """So many devices with the lowest ranks, at most all."""
        self._put_in_order()
        found: list[_Member] = []
        walked = 0
        for key in self._keys:
            if len(found) >= number:
                break
            walked += 1
            member = self._at(key)
            if member is not None and not (found and found[-1] is member):
                found.append(member)
        if walked > len(found):
            self._keys[:walked] = [member.key for member in found]
        return [member.device for member in found]

    def one(self) -> Device:
        """The device with the lowest rank, which stands for all where only their kind matters."""
        return self.first(1)[0]

    def __iter__(self) -> Iterator[Device]:
        return iter(self.first(self.count))

    def _put_in_order(self) -> None:
        if len(self._joined) > _FEW:
            self._keys.extend(self._joined)
            self._keys.sort()
        else:
            for key in self._joined:
                insort(self._keys, key)
        self._joined.clear()

    def _at(self, key: RankKey) -> "_Member | None":
        member = self._members.get(key[1])
        return member if member is not None and member.bucket is self else None


class _Member:
    """One device in the view."""

    __slots__ = ("at", "bucket", "device", "key", "place", "ring", "standing")

    def __init__(self, device: Device, key: RankKey, standing: int | None) -> None:
        self.device = device
        self.key = key
        self.standing = standing
        self.ring: int | None = None
        self.bucket: Bucket | None = None
        self.at: datetime | None = None
        self.place: tuple[int | None, Progress] | None = None

    @property
    def name(self) -> DeviceName:
        """The device's name."""
        return self.key[1]

    @property
    def labels(self) -> Mapping[str, str]:
        """The device's labels."""
        return self.device.labels


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
        self._index_of: Final = {ring.name: index for index, ring in enumerate(plan.rings)}
        self._labels_that_matter: Final = labels_that_matter(plan.rings)
        self._deadlines_allowed: Final = plan.deadlines
        self._basis: Final = _Basis(
            revision, {p: release.content for p, release in plan.target.items()}, plan.retries, retried_at
        )
        self._members: dict[DeviceName, _Member] = {}
        self._ordered: list[_Member] = []
        self._is_in_order = True
        self._counted: dict[int | None, RingCounts] = {}
        self._buckets: defaultdict[int | None, dict[Kind, Bucket]] = defaultdict(dict)
        self._times: defaultdict[tuple[int | None, Progress], list[tuple[datetime, RankKey]]] = defaultdict(list)
        self._holds: tuple[Hold, ...] = ()
        self._segment: Segment | None = None
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
            key = (rank(self._key, device.name), device.name)
            member = self._members[device.name] = _Member(device, key, self._standing_of(device))
            self._ordered.append(member)
            self._is_in_order = False
            self._is_membership_stale = True
            return
        before, member.device = member.device, device
        standing = self._standing_of(device)
        if self._moves(member, before, standing):
            self._is_membership_stale = True
        member.standing = standing
        if member.bucket is not None:
            self._sort(member)

    def remove(self, name: DeviceName) -> None:
        """Forget a device that is gone, or that no group of the plan selects any more."""
        if (member := self._members.pop(name, None)) is not None:
            self._leave_bucket(member)
            self._forget_time(member)
            self._is_in_order = False
            self._is_membership_stale = True

    def cover(self, holds: tuple[Hold, ...]) -> None:
        """Sort the devices by these holds from now on; those that name no devices are the same for all."""
        naming = tuple(hold for hold in holds if hold.names_devices)
        if naming == self._holds:
            return
        self._refresh()
        changed = set(naming).symmetric_difference(self._holds)
        self._holds = naming
        for hold in changed:
            for member in self._covered_by(hold):
                if member.bucket is not None:
                    self._move(member, member.bucket.kind._replace(holds=self._covering(member.device)))

    def confine(self, segment: Segment | None) -> None:
        """Tell apart from now on which devices have the label of a segment; None tells none apart."""
        if segment == self._segment:
            return
        self._refresh()
        self._segment = segment
        for member in self._members.values():
            if member.bucket is not None and member.bucket.kind.is_in_segment is not self._is_in_segment(member.device):
                kind = member.bucket.kind
                self._move(member, kind._replace(is_in_segment=not kind.is_in_segment))

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
        self._refresh()
        if (known := self._counted.get(ring)) is None:
            known = self._counted[ring] = self._count(ring)
        return known

    def _count(self, ring: int) -> RingCounts:
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
        """All members by rank; those that came or went since the last time are seen to now."""
        if not self._is_in_order:
            if len(self._ordered) > len(self._members):
                self._ordered = [member for member in self._ordered if self._members.get(member.name) is member]
            self._ordered.sort(key=_key_of)
            self._is_in_order = True
        return self._ordered

    def _moves(self, member: _Member, before: Device, standing: int | None) -> bool:
        """Tell whether anybody's ring may change because this device did."""
        then, now = before.labels, member.device.labels
        if then != now and any(then.get(key) != now.get(key) for key in self._labels_that_matter):
            return True
        if standing == member.standing:
            return False
        return standing is None or standing != member.ring

    def _standing_of(self, device: Device) -> int | None:
        """The ring in which a device was ordered to take the revision; None also where the plan has no such ring."""
        if (assignment := next((a for a in device.assigned.values() if a.revision == self.revision), None)) is None:
            return None
        return self._index_of.get(assignment.ring)

    def _refresh(self) -> None:
        if not self._is_membership_stale:
            return
        ordered = self._in_order()
        rings = rings_of(ordered, self._rings)
        self._is_membership_stale = False
        for member, ring in zip(ordered, rings, strict=True):
            if member.bucket is None or ring != member.ring:
                member.ring = ring
                self._sort(member)

    def _sort(self, member: _Member) -> None:
        """Put a device into the bucket of its kind, and note how long it is waited for."""
        device = member.device
        kind = _kind(
            device, member.ring, self._basis, self._covering(device), is_in_segment=self._is_in_segment(device)
        )
        self._move(member, kind)
        place = (member.ring, kind.progress)
        at = self._time_of(device, kind.progress)
        if (place, at) != (member.place, member.at):
            self._forget_time(member)
            if at is not None:
                member.place, member.at = place, at
                insort(self._times[place], (at, member.key))

    def _move(self, member: _Member, kind: Kind) -> None:
        if member.bucket is not None and member.bucket.kind == kind:
            return
        self._leave_bucket(member)
        buckets = self._buckets[kind.ring]
        if (bucket := buckets.get(kind)) is None:
            bucket = buckets[kind] = Bucket(kind, self._members)
        member.bucket = bucket
        bucket.add(member.key)
        self._counted.pop(kind.ring, None)

    def _time_of(self, device: Device, progress: Progress) -> datetime | None:
        """When a device that is waited for has been waited for long enough."""
        match progress:
            case Progress.IN_FLIGHT | Progress.DRILLED if device.in_flight:
                return deadline_of(device, self._deadlines_allowed)
            case Progress.RETRYING if device.step is not None:
                since = device.status(device.step.plane).since
                if since is None or was_pardoned(device, self._basis.retried_at):
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

    def _covered_by(self, hold: Hold) -> list[_Member]:
        """The members that lie in the scope of a hold."""
        if hold.devices:
            found = [self._members[name] for name in hold.devices if name in self._members]
        else:
            matches = hold.selector.for_many()
            found = [member for member in self._members.values() if matches(member.device.labels)]
        return [m for m in found if hold.covers_device(m.name, m.device.labels, m.device.groups)]

    def _is_in_segment(self, device: Device) -> bool:
        segment = self._segment
        return segment is None or device.labels.get(segment.key) == segment.value

    def _leave_bucket(self, member: _Member) -> None:
        if (bucket := member.bucket) is None:
            return
        member.bucket = None
        bucket.count -= 1
        self._counted.pop(bucket.kind.ring, None)
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


def _kind(device: Device, ring: int | None, basis: _Basis, holds: frozenset[str], *, is_in_segment: bool) -> Kind:
    changed = changed_planes(device, basis.revision)
    return Kind(
        ring,
        _progress_of(device, changed, basis),
        device.reachable,
        device.revoked,
        device.rollback_capable,
        changed,
        _has_refused_return(device, basis.retries),
        device.device_class,
        device.groups,
        running_of(device),
        kept_by(device),
        _order_of(device),
        holds,
        is_in_segment,
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
    assigned = device.assigned
    if not assigned:
        return ()
    return tuple([plane for plane in _PLANES if (a := assigned.get(plane)) is not None and a.revision == revision])


def _progress_of(  # noqa: PLR0911 - a chain of rules
    device: Device, changed: tuple[Plane, ...], basis: _Basis
) -> Progress:
    """Say how far a device has come, by what it reports that it runs."""
    step, revision = device.step, basis.revision
    if device.in_flight:
        return Progress.DRILLED if step is not None and step.drill else Progress.IN_FLIGHT
    is_there = all(device.runs(plane, content) for plane, content in basis.target.items())
    if not changed:
        return Progress.CONFIRMED if is_there and not device.failing else Progress.UNTOUCHED
    if step is None or (step.withdrawn and not device.begun):
        return Progress.UNDER_WAY if _has_moved_on(device, revision) else Progress.UNTOUCHED
    if step.drill is not None:
        return Progress.CONFIRMED if is_there else Progress.DRILLED
    is_own = step.plane in changed
    if is_own and device.status(step.plane).state is PlaneState.INSTALLED_UNVERIFIED:
        return Progress.UNVERIFIED
    if (is_own and not answered_well(device)) or regressed_plane(device, revision) is not None:
        may_again = is_undelivered(device) and step.attempt < basis.retries.attempts
        return Progress.RETRYING if may_again or was_pardoned(device, basis.retried_at) else Progress.FAILED
    return Progress.CONFIRMED if is_there else Progress.UNDER_WAY


def was_pardoned(device: Device, retried_at: datetime | None) -> bool:
    """Tell whether a person lets a device try again what it was ordered before."""
    return retried_at is not None and device.step is not None and device.step.issued < retried_at


def _has_moved_on(device: Device, revision: RevisionName) -> bool:
    """Tell whether a revision has changed anything on a device; an order that was taken back has not."""
    return any(
        assignment.revision == revision and device.runs(plane, assignment.content)
        for plane, assignment in device.assigned.items()
    )


def regressed_plane(device: Device, revision: RevisionName) -> Plane | None:
    """The lowest plane that was confirmed under this revision and no longer runs what was confirmed.

    A device whose bootloader fell back later still has its confirmation on record; what it runs now is what counts.
    """
    return next(
        (p for p in changed_planes(device, revision) if not device.runs(p, device.assigned[p].content)),
        None,
    )


def running_of(device: Device) -> Running:
    """What a device reports that it runs, as a key."""
    statuses = [device.planes.get(plane, NOTHING_REPORTED) for plane in _PLANES]
    return tuple([(status.running, status.version) for status in statuses])


def kept_by(device: Device) -> Running:
    """What a device reports that it keeps to fall back to, as a key."""
    statuses = [device.planes.get(plane, NOTHING_REPORTED) for plane in _PLANES]
    return tuple([(status.fallback, status.fallback_version) for status in statuses])


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
