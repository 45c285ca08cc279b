"""The store as others may look at it: read-only, and in the order in which people read."""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

from backstay.api import DeviceGroup, HealthRule, Hold, ReleasePlan
from backstay.api.resource import Resource
from backstay.controllers.shelf import Shelf
from backstay.controllers.store import Store
from backstay.core.devices import Device, DeviceName
from backstay.core.standing import Census, Standing, standing_of
from backstay.ports.overview import Decided, DevicePage, Known, Wanted

LOOKED_AT_ONCE: Final = 500
"""So many devices are looked at before others have their turn: a millisecond's worth or two."""
_LAST: Final = "\U0010ffff"

M = TypeVar("M", bound=Resource)


class StoreOverview:
    """What the operator holds in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def namespaces(self) -> tuple[str, ...]:
        """The namespaces of which anything is known, in order."""
        kept = (shelf.namespaces() for shelf in self._store.shelves.values())
        return tuple(sorted(self._store.fleets.namespaces().union(*kept)))

    def changes(self, namespace: str) -> int:
        """A number that grows whenever anything of a namespace changes."""
        return self._store.changes(namespace)

    def plans(self, namespace: str) -> tuple[Known[ReleasePlan], ...]:
        """The plans of a namespace by name."""
        return _known(self._store.plans, namespace)

    def groups(self, namespace: str) -> tuple[Known[DeviceGroup], ...]:
        """The groups of a namespace by name."""
        return _known(self._store.groups, namespace)

    def rules(self, namespace: str) -> tuple[Known[HealthRule], ...]:
        """The health rules of a namespace by name."""
        return _known(self._store.rules, namespace)

    def holds(self, namespace: str) -> tuple[Known[Hold], ...]:
        """The holds of a namespace by name."""
        return _known(self._store.holds, namespace)

    def decided(self, namespace: str, plan: str) -> Decided | None:
        """What was last decided about a plan."""
        return self._store.decided(namespace, plan)

    def census(self, namespace: str) -> Census:
        """The devices of a namespace, counted."""
        return self._store.fleets.census(namespace)

    def device(self, namespace: str, name: DeviceName) -> Device | None:
        """One device."""
        return self._store.fleets.get(namespace, name)

    async def devices(
        self, namespace: str, wanted: Wanted, *, after: str = "", limit: int = 100, backwards: bool = False
    ) -> DevicePage:
        """A page of devices, beginning after a name; a long search lets others work meanwhile."""
        found: list[Device] = []
        devices, is_wanted = self._store.fleets.of(namespace), _test_for(wanted)
        names = _span(self._candidates(namespace, wanted), wanted.begins, after, backwards=backwards)
        while looked_at := tuple(islice(names, LOOKED_AT_ONCE)):
            for name in looked_at:
                # One that has gone since is passed over.
                if (device := devices.get(name)) is not None and is_wanted(device):
                    if len(found) == limit:
                        return DevicePage(tuple(found), found[-1].name)
                    found.append(device)
            await asyncio.sleep(0)
        return DevicePage(tuple(found))

    def _candidates(self, namespace: str, wanted: Wanted) -> Sequence[DeviceName]:
        """The names to look through, in order: of those who are not well only these."""
        if wanted.standing is None or wanted.standing is Standing.HEALTHY:
            return self._store.fleets.names(namespace)
        return sorted(self._store.fleets.unwell(namespace, wanted.standing))


def _known(shelf: Shelf[M], namespace: str) -> tuple[Known[M], ...]:
    return tuple(Known(name, seen.model, seen.problem) for name, seen in shelf.of_namespace(namespace))


def _span(names: Sequence[DeviceName], begins: str, after: str, *, backwards: bool) -> Iterator[DeviceName]:
    """The names that begin so and come after another, found without looking at the others."""
    first, last = bisect_left(names, begins), bisect_right(names, begins + _LAST) if begins else len(names)
    if backwards:
        if after:
            last = min(last, bisect_left(names, after))
        return (names[index] for index in range(last - 1, first - 1, -1))
    if after:
        first = max(first, bisect_right(names, after))
    return (names[index] for index in range(first, last))


def _test_for(wanted: Wanted) -> Callable[[Device], bool]:
    """A test of only what is asked for: a hundred thousand devices may have to take it."""
    tests: list[Callable[[Device], bool]] = []
    if wanted.group:
        tests.append(lambda device: wanted.group in device.groups)
    tests += [_is_labelled(key, value) for key, value in wanted.labels.items()]
    if wanted.version and wanted.plane is not None:
        plane = wanted.plane
        tests.append(lambda device: device.status(plane).version == wanted.version)
    elif wanted.version:
        tests.append(lambda device: any(status.version == wanted.version for status in device.planes.values()))
    if wanted.standing is not None:
        tests.append(lambda device: standing_of(device) is wanted.standing)
    if len(tests) == 1:
        return tests[0]
    return lambda device: all(test(device) for test in tests)


def _is_labelled(key: str, value: str) -> Callable[[Device], bool]:
    return lambda device: device.labels.get(key) == value
