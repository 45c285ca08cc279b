"""The devices of one plan and where each of them stands, counted as they change.

The counts are kept, not recomputed, because a decision is taken on every change of any device; a law
proves that they equal a recount. Membership is drawn anew only when something it depends on changed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from backstay.core.devices import Device, DeviceName, PlaneState, RevisionName, answered_well
from backstay.core.plan import Plan, Ring
from backstay.core.planes import ContentDigest, Plane, Release, VersionSet
from backstay.core.rings import Candidate, members_of_rings, rank

Running = tuple[tuple[ContentDigest | None, str], ...]
"""The content and reported version in each plane, in the order of `Plane`."""


class Progress(StrEnum):
    """How far a device has come with a revision, whatever the time is."""

    UNTOUCHED = "Untouched"
    IN_FLIGHT = "InFlight"
    UNDER_WAY = "UnderWay"
    CONFIRMED = "Confirmed"
    FAILED = "Failed"
    UNVERIFIED = "Unverified"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a device counts as."""

    ring: int | None
    progress: Progress
    is_reachable: bool


@dataclass(frozen=True, slots=True)
class RingCounts:
    """The devices of one ring, each counted once in `target` and by what it has done."""

    target: int = 0
    started: int = 0
    in_flight: int = 0
    confirmed: int = 0
    failed: int = 0
    offline: int = 0


class FleetView:
    """Every device that a plan's groups select, indexed by ring and progress."""

    def __init__(self, plan: Plan, revision: RevisionName, devices: Iterable[Device] = ()) -> None:
        self.plan_name: Final = plan.name
        self.revision: Final = revision
        self._key: Final = plan.key
        self._rings: Final[tuple[Ring, ...]] = plan.rings
        self._target: Final = {plane: release.content for plane, release in plan.target.items()}
        self._devices: dict[DeviceName, Device] = {}
        self._ring_of: dict[DeviceName, int] = {}
        self._standing: dict[DeviceName, Standing] = {}
        self._names: defaultdict[Standing, set[DeviceName]] = defaultdict(set)
        self._running: Counter[Running] = Counter()
        self._ranks: dict[DeviceName, bytes] = {}
        self._is_membership_stale = False
        for device in devices:
            self.put(device)

    def __len__(self) -> int:
        return len(self._devices)

    def __iter__(self) -> Iterator[Device]:
        """Every device, in the plan's order of rank, so that arrival never shows in a decision."""
        return iter(sorted(self._devices.values(), key=self._rank))

    def get(self, name: DeviceName) -> Device | None:
        """The device of that name."""
        return self._devices.get(name)

    def put(self, device: Device) -> None:
        """Take in a device as it is now."""
        before = self._devices.get(device.name)
        self._devices[device.name] = device
        if before is not None:
            self._running.subtract([running_of(before)])
        self._running[running_of(device)] += 1
        if before is None or before.labels != device.labels or self._has_moved(before, device):
            self._is_membership_stale = True
        if not self._is_membership_stale:
            self._count(device)

    def remove(self, name: DeviceName) -> None:
        """Forget a device that is gone, or that no group of the plan selects any more."""
        if (device := self._devices.pop(name, None)) is None:
            return
        self._ranks.pop(name, None)
        self._running.subtract([running_of(device)])
        if (standing := self._standing.pop(name, None)) is not None:
            self._names[standing].discard(name)
        self._is_membership_stale = True

    def counts(self, ring: int) -> RingCounts:
        """How the devices of one ring stand."""
        self._refresh()
        found = {
            (progress, is_reachable): len(self._names.get(Standing(ring, progress, is_reachable), ()))
            for progress in Progress
            for is_reachable in (True, False)
        }

        def of(progress: Progress) -> int:
            return found[progress, True] + found[progress, False]

        target = sum(found.values())
        return RingCounts(
            target=target,
            started=target - of(Progress.UNTOUCHED),
            in_flight=of(Progress.IN_FLIGHT),
            confirmed=of(Progress.CONFIRMED),
            failed=of(Progress.FAILED),
            offline=found[Progress.UNTOUCHED, False] + found[Progress.UNDER_WAY, False],
        )

    def members(self, ring: int, *progresses: Progress) -> list[Device]:
        """The devices of a ring that stand at one of these, in order of rank."""
        self._refresh()
        names = (
            name
            for progress in progresses
            for is_reachable in (True, False)
            for name in self._names.get(Standing(ring, progress, is_reachable), ())
        )
        return sorted((self._devices[name] for name in names), key=self._rank)

    def ring_of(self, name: DeviceName) -> int | None:
        """The index of a device's ring; None when no ring takes it."""
        self._refresh()
        return self._ring_of.get(name)

    def was_changed(self, ring: int) -> bool:
        """Tell whether this revision ordered anything of any device of a ring."""
        return any(takes_part(device, self.revision) for device in self.members(ring, *Progress))

    def participants(self) -> list[Device]:
        """The devices that were ordered anything under this revision, in order of rank."""
        return [device for device in self if takes_part(device, self.revision)]

    def running(self) -> list[tuple[Running, int]]:
        """The distinct sets that devices run, with how many run each; a fleet of thousands has few."""
        return sorted(
            ((running, count) for running, count in self._running.items() if count),
            key=repr,
        )

    def _rank(self, device: Device) -> bytes:
        if (known := self._ranks.get(device.name)) is None:
            known = self._ranks[device.name] = rank(self._key, device.name)
        return known

    def _has_moved(self, before: Device, device: Device) -> bool:
        """Tell whether the device now stands in another ring than it was counted in."""
        ring = standing_ring(device, self.revision)
        if ring == standing_ring(before, self.revision):
            return False
        known = self._ring_of.get(device.name)
        return ring is None or known is None or self._rings[known].name != ring

    def _refresh(self) -> None:
        if not self._is_membership_stale:
            return
        candidates = (
            Candidate(device.name, device.labels, standing_ring(device, self.revision))
            for device in self._devices.values()
        )
        self._ring_of = members_of_rings(candidates, self._rings, self._key)
        self._is_membership_stale = False
        for device in self._devices.values():
            self._count(device)

    def _count(self, device: Device) -> None:
        standing = Standing(
            self._ring_of.get(device.name),
            progress_of(device, self.revision, self._target),
            device.reachable,
        )
        before = self._standing.get(device.name)
        if before == standing:
            return
        if before is not None:
            self._names[before].discard(device.name)
        self._standing[device.name] = standing
        self._names[standing].add(device.name)


def takes_part(device: Device, revision: RevisionName) -> bool:
    """Tell whether a device was ever ordered anything under a revision."""
    return any(assignment.revision == revision for assignment in device.assigned.values())


def standing_ring(device: Device, revision: RevisionName) -> str | None:
    """The ring under which a device was ordered to take a revision."""
    return next((a.ring for a in device.assigned.values() if a.revision == revision), None)


def progress_of(device: Device, revision: RevisionName, target: Mapping[Plane, ContentDigest]) -> Progress:
    """Say how far a device has come, by what it reports that it runs."""
    if device.in_flight:
        return Progress.IN_FLIGHT
    if not takes_part(device, revision):
        is_there = all(device.runs(plane, content) for plane, content in target.items())
        return Progress.CONFIRMED if is_there and not device.failing else Progress.UNTOUCHED
    step = device.step
    if step is None or (step.withdrawn and not device.begun):
        return Progress.UNDER_WAY if _has_moved_on(device, revision) else Progress.UNTOUCHED
    is_own = (assignment := device.assigned.get(step.plane)) is not None and assignment.revision == revision
    if is_own and device.status(step.plane).state is PlaneState.INSTALLED_UNVERIFIED:
        return Progress.UNVERIFIED
    if (is_own and not answered_well(device)) or _has_regressed(device, revision):
        return Progress.FAILED
    is_there = all(device.runs(plane, content) for plane, content in target.items())
    return Progress.CONFIRMED if is_there else Progress.UNDER_WAY


def _has_moved_on(device: Device, revision: RevisionName) -> bool:
    """Tell whether a revision has changed anything on a device; an order that was taken back has not."""
    return any(
        assignment.revision == revision and device.runs(plane, assignment.content)
        for plane, assignment in device.assigned.items()
    )


def _has_regressed(device: Device, revision: RevisionName) -> bool:
    """Tell whether a plane that was confirmed under this revision no longer runs what was confirmed."""
    return any(
        assignment.revision == revision and not device.runs(plane, assignment.content)
        for plane, assignment in device.assigned.items()
    )


def running_of(device: Device) -> Running:
    """What a device reports that it runs, as a key."""
    return tuple((status.running, status.version) for status in map(device.status, Plane))


def version_set(running: Running, known: Mapping[ContentDigest, Release]) -> VersionSet:
    """The releases behind running contents; one we never resolved has the version its device reports, and no needs."""
    releases = {
        plane: known.get(content) or Release(plane, version, content)
        for plane, (content, version) in zip(Plane, running, strict=True)
        if content is not None
    }
    return VersionSet.of(releases)
