"""The devices of every namespace, the groups that select them, and each plan's view of its own.

Everything here is kept as devices change: an event costs the number of groups and plans of its
namespace, never the number of devices.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from backstay.adapters.kube.informer import is_newer
from backstay.controllers.wakes import Key, Wakes
from backstay.core.devices import Device, DeviceName, RevisionName
from backstay.core.failures import RetryPolicy
from backstay.core.fleet import FleetView
from backstay.core.plan import Plan, Ring
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.revision import counter_of
from backstay.core.selectors import Selector, picked_by
from backstay.core.standing import Census, Standing

_NONE: Final[Mapping[DeviceName, Device]] = MappingProxyType({})

Running = tuple[Plane, str, ContentDigest | None]


@dataclass(slots=True)
class GroupCounts:
    """What the devices of one group report, counted."""

    devices: int = 0
    ready: int = 0
    unavailable: int = 0
    """Devices that are changing or unhealthy, whichever plan it is that changes them."""
    classes: Counter[str] = field(default_factory=Counter)
    running: Counter[Running] = field(default_factory=Counter)

    def add(self, device: Device, sign: int) -> None:
        """Count a device in, or out with -1."""
        self.devices += sign
        self.ready += sign * (device.reachable and not device.failing)
        self.unavailable += sign * bool(device.in_flight or device.failing)
        self.classes[device.device_class] += sign
        for plane, status in device.planes.items():
            if status.running is not None:
                self.running[plane, status.version, status.running] += sign


@dataclass(frozen=True, slots=True)
class _Basis:
    """What a plan's view was made from; it is made anew when any of it differs."""

    revision: RevisionName
    rings: tuple[Ring, ...]
    target: Mapping[Plane, Release]
    deadlines: Mapping[Plane, timedelta]
    retries: RetryPolicy
    retried_at: datetime | None
    groups: frozenset[str]


class Fleets:
    """All devices that the operator sees."""

    def __init__(self, wakes: Wakes) -> None:
        self._wakes = wakes
        self._devices: defaultdict[str, dict[DeviceName, Device]] = defaultdict(dict)
        self._selectors: defaultdict[str, dict[str, Selector]] = defaultdict(dict)
        self._groups_of: dict[tuple[str, frozenset[tuple[str, str]]], frozenset[str]] = {}
        self._views: dict[Key, tuple[_Basis, FleetView]] = {}
        self._counts: defaultdict[Key, GroupCounts] = defaultdict(GroupCounts)
        self.changed_groups: Final[set[Key]] = set()
        """Groups whose counts may differ since somebody last cleared this."""
        self._bounded: set[Key] = set()
        self._censuses: defaultdict[str, Census] = defaultdict(Census)
        self._unwell: defaultdict[tuple[str, Standing], set[DeviceName]] = defaultdict(set)
        self._names: dict[str, list[DeviceName]] = {}
        self._changes: Counter[str] = Counter()

    def get(self, namespace: str, name: DeviceName) -> Device | None:
        """One device."""
        devices = self._devices.get(namespace)
        return None if devices is None else devices.get(name)

    @property
    def total(self) -> int:
        """How many devices the operator sees, in all namespaces."""
        return sum(len(devices) for devices in self._devices.values())

    def put(self, found: tuple[str, Device]) -> None:
        """Take in a device as the server sent it, unless a newer version is here already."""
        namespace, device = found
        known = self._devices[namespace].get(device.name)
        if known is None or is_newer(device.resource_version, known.resource_version):
            self._take(namespace, known, device)

    def put_answer(self, namespace: str, device: Device) -> None:
        """Take in the answer to our own write; one that arrives after the device is gone does not bring it back."""
        known = self._devices[namespace].get(device.name)
        if known is not None and is_newer(device.resource_version, known.resource_version):
            self._take(namespace, known, device)

    def remove(self, namespace: str, name: str) -> None:
        """Forget a device that is gone."""
        known = self._devices[namespace].pop(DeviceName(name), None)
        if known is None:
            return
        self._names.pop(namespace, None)
        self._count(namespace, known, -1)
        for key, (basis, view) in self._views_of(namespace):
            if known.groups & basis.groups:
                view.remove(known.name)
                self._wakes.wake([key])

    def set_group(self, namespace: str, name: str, selector: Selector | None) -> None:
        """A group selects otherwise now, or with None not at all; its devices are sorted anew."""
        before = self._selectors[namespace].get(name)
        if before == selector:
            return
        if selector is None:
            del self._selectors[namespace][name]
        else:
            self._selectors[namespace][name] = selector
        self._groups_of.clear()
        for device in tuple(self._devices[namespace].values()):
            self._take(namespace, device, device)
        self.changed_groups.add((namespace, name))

    def bound(self, namespace: str, name: str, *, is_bounded: bool) -> None:
        """Plans wait for room in this group, and are to look again when a device of it settles."""
        if is_bounded:
            self._bounded.add((namespace, name))
        else:
            self._bounded.discard((namespace, name))

    def view(
        self, plan: Plan, revision: RevisionName, groups: Iterable[str], retried_at: datetime | None = None
    ) -> FleetView:
        """The plan's devices, kept up to date from now on."""
        key = (plan.namespace, plan.name)
        basis = _Basis(revision, plan.rings, plan.target, plan.deadlines, plan.retries, retried_at, frozenset(groups))
        known = self._views.get(key)
        if known is not None and known[0] == basis:
            return known[1]
        mine = (device for device in self._devices[plan.namespace].values() if device.groups & basis.groups)
        view = FleetView(plan, revision, mine, retried_at=retried_at)
        self._views[key] = (basis, view)
        return view

    def forget(self, key: Key) -> None:
        """Keep no view for a plan that is gone."""
        self._views.pop(key, None)

    def counts(self, namespace: str, group: str) -> GroupCounts:
        """What the devices of a group report."""
        return self._counts[namespace, group]

    def of(self, namespace: str) -> Mapping[DeviceName, Device]:
        """Every device of a namespace as it is now."""
        return MappingProxyType(self._devices.get(namespace, _NONE))

    def unwell(self, namespace: str, standing: Standing) -> AbstractSet[DeviceName]:
        """The devices of a namespace that stand in one way that is not Healthy: few, or a person should know."""
        return self._unwell.get((namespace, standing), frozenset())

    def namespaces(self) -> frozenset[str]:
        """The namespaces that have devices."""
        return frozenset(namespace for namespace, devices in self._devices.items() if devices)

    def census(self, namespace: str) -> Census:
        """All devices of a namespace, counted."""
        return self._censuses.get(namespace) or Census()

    def names(self, namespace: str) -> Sequence[DeviceName]:
        """The names of a namespace's devices in order: sorted when somebody asks, and kept until one comes or goes."""
        if (known := self._names.get(namespace)) is None:
            known = self._names[namespace] = sorted(self._devices.get(namespace, ()))
        return known

    def changes(self, namespace: str) -> int:
        """A number that grows whenever a device of a namespace comes, goes or changes."""
        return self._changes[namespace]

    def highest_counter(self, namespace: str, plan: str) -> int:
        """The highest counter of the revisions of a plan of this name that any device was ordered to take."""
        counters = (
            counter_of(assignment.revision)
            for device in self._devices[namespace].values()
            for assignment in device.assigned.values()
            if assignment.plan == plan
        )
        return max(counters, default=0)

    def contents(self, namespace: str) -> frozenset[ContentDigest]:
        """Every content that a device of a namespace runs, keeps to fall back to, or is ordered to run."""
        return frozenset(
            content
            for device in self._devices[namespace].values()
            for contents in (
                (found for status in device.planes.values() for found in (status.running, status.fallback)),
                (assignment.content for assignment in device.assigned.values()),
            )
            for content in contents
            if content is not None
        )

    def classes(self, namespace: str, groups: Iterable[str]) -> tuple[str, ...]:
        """The device classes that occur in some groups."""
        found = {name for group in groups for name, count in self.counts(namespace, group).classes.items() if count > 0}
        return tuple(sorted(found))

    def _take(self, namespace: str, known: Device | None, device: Device) -> None:
        device = replace(device, groups=self._groups(namespace, device))
        self._devices[namespace][device.name] = device
        if known is None:
            self._names.pop(namespace, None)
        else:
            self._count(namespace, known, -1)
        self._count(namespace, device, +1)
        for key, (basis, view) in self._views_of(namespace):
            if device.groups & basis.groups:
                view.put(device)
            elif known is not None and known.groups & basis.groups:
                view.remove(device.name)
            else:
                continue
            self._wakes.wake([key])

    def _count(self, namespace: str, device: Device, sign: int) -> None:
        self._changes[namespace] += 1
        standing = self._censuses[namespace].add(device, sign)
        if standing is not Standing.HEALTHY:
            names = self._unwell[namespace, standing]
            names.add(device.name) if sign > 0 else names.discard(device.name)
        for group in device.groups:
            self._counts[namespace, group].add(device, sign)
            self.changed_groups.add((namespace, group))
            if (namespace, group) in self._bounded:
                self._wakes.wake_namespace(namespace)

    def _groups(self, namespace: str, device: Device) -> frozenset[str]:
        """The groups that select a device; devices that share their labels share the answer."""
        key = (namespace, frozenset(device.labels.items()))
        if (known := self._groups_of.get(key)) is None:
            known = self._groups_of[key] = picked_by(self._selectors[namespace], device.labels)
        return known

    def _views_of(self, namespace: str) -> list[tuple[Key, tuple[_Basis, FleetView]]]:
        return [(key, held) for key, held in self._views.items() if key[0] == namespace]
