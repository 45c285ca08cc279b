"""All that the operator knows of the cluster, in memory, and who must look again when it changes."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from backstay.adapters.kube.client import (
    DEVICE_GROUPS,
    HEALTH_RULES,
    HOLDS,
    RELEASE_PLANS,
    KubeClient,
    Resource,
)
from backstay.api import DeviceGroup, HealthRule, ReleasePlan
from backstay.api import Hold as WrittenHold
from backstay.api.conversion import group_rules_from
from backstay.api.hold_conversion import hold_from, selector_from
from backstay.controllers.fleets import Fleets
from backstay.controllers.shelf import Shelf
from backstay.controllers.wakes import Wakes
from backstay.core.holds import Hold
from backstay.core.observed import GroupRules, Rival
from backstay.core.planes import Plane
from backstay.errors import Unavailable
from backstay.ports.overview import Decided

SWEEP_SECONDS: Final = 30.0

log = logging.getLogger(__name__)


class Store:
    """Plans, groups, rules and holds by kopf's events, devices by the informer, and own writes at once."""

    def __init__(self) -> None:
        self.wakes: Final = Wakes()
        self.fleets: Final = Fleets(self.wakes)
        self.plans: Final = Shelf(ReleasePlan, self._plan_changed)
        self.groups: Final = Shelf(DeviceGroup, self._group_changed)
        self.rules: Final = Shelf(HealthRule, self._rule_changed)
        self.holds: Final = Shelf(WrittenHold, self._hold_changed)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._plan_uids: dict[tuple[str, str], tuple[str, int] | None] = {}
        self._decided: dict[tuple[str, str], Decided] = {}
        self._changes: Counter[str] = Counter()
        self.plans_changed: Final = asyncio.Event()
        """Set when a plan has come or gone."""
        self.reports_due: Final = asyncio.Event()
        """Set when a group, rule or hold has changed, so that its own status may be out of date."""
        self.enrolment_due: Final = asyncio.Event()
        """Set when a device has come that is not enrolled, or a group's rule may let one in now."""

    @property
    def shelves(self) -> dict[Resource, Shelf[Any]]:
        """Where the objects of each kind are kept."""
        return {
            RELEASE_PLANS: self.plans,
            DEVICE_GROUPS: self.groups,
            HEALTH_RULES: self.rules,
            HOLDS: self.holds,
        }

    def holds_in(self, namespace: str) -> tuple[Hold, ...]:
        """The holds of a namespace; one that cannot be read stops everything rather than nothing."""
        return tuple(
            Hold(name, reason=f"it cannot be read: {seen.problem}") if seen.model is None else hold_from(seen.model)
            for name, seen in self.holds.of_namespace(namespace)
        )

    def group_rules(self, namespace: str) -> dict[str, GroupRules]:
        """What the groups of a namespace demand of every plan; one that cannot be read lets nothing start."""
        found = {}
        for name, seen in self.groups.of_namespace(namespace):
            counts = self.fleets.counts(namespace, name)
            found[name] = (
                GroupRules(paused=True)
                if seen.model is None
                else group_rules_from(seen.model.spec, counts.devices, counts.unavailable)
            )
        return found

    @asynccontextmanager
    async def turn(self, namespace: str) -> AsyncIterator[None]:
        """From observing to acting: plans take turns where a group bounds what they do together."""
        groups = self.groups.of_namespace(namespace)
        if not any(seen.model is not None and seen.model.spec.max_unavailable is not None for _, seen in groups):
            yield
            return
        async with self._turns[namespace]:
            yield

    def note(self, namespace: str, plan: str, decided: Decided) -> None:
        """Keep what was last decided about a plan, for whoever asks why."""
        self._decided[namespace, plan] = decided
        self._changes[namespace] += 1

    def decided(self, namespace: str, plan: str) -> Decided | None:
        """What was last decided about a plan; None before the first decision, or where the plan is gone."""
        return self._decided.get((namespace, plan))

    def changes(self, namespace: str) -> int:
        """A number that grows whenever anything that is known of a namespace changes."""
        return self._changes[namespace] + self.fleets.changes(namespace)

    def rivals(self, namespace: str, plan: str) -> tuple[Rival, ...]:
        """The other plans of a namespace, with what they want; one that cannot be read keeps what it has."""
        own = self.plans.get((namespace, plan))
        return tuple(
            Rival(name, frozenset(Plane), frozenset(), goes_first=False)
            if seen.model is None
            else Rival(
                name,
                frozenset(seen.model.spec.versions.by_plane()),
                frozenset(seen.model.spec.groups),
                goes_first=own is None or _age(seen.raw) < _age(own.raw),
            )
            for name, seen in self.plans.of_namespace(namespace)
            if name != plan
        )

    async def sweep(self, client: KubeClient) -> None:
        """Read every plan, group, rule and hold with quorum.

        Raises:
            Forbidden, Unavailable
        """
        for resource, shelf in self.shelves.items():
            items: list[dict[str, Any]] = []
            version = ""
            async for page in client.list_pages(resource):
                version = version or page.resource_version
                items.extend(page.items)
            shelf.sweep(items, version)

    async def keep_swept(self, client: KubeClient) -> None:
        """Find what a watch has missed: kopf says nothing of objects that went while it was not connected."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep(client)
            except Unavailable as error:
                log.warning("%s", error)

    def _plan_changed(self, namespace: str, name: str) -> None:
        key = (namespace, name)
        self._changes[namespace] += 1
        self.wakes.wake([key])
        seen = self.plans.get(key)
        if seen is None:
            self._decided.pop(key, None)
        metadata = None if seen is None else seen.raw["metadata"]
        before, now = self._plan_uids.get(key), metadata and (metadata["uid"], metadata.get("generation", 0))
        if before == now:
            return
        self._plan_uids[key] = now
        if before is None or now is None or before[0] != now[0]:
            self.plans_changed.set()
        # A plan that comes, goes or is edited is a rival of the others in its namespace.
        self.wakes.wake_namespace(namespace)

    def _group_changed(self, namespace: str, name: str) -> None:
        self._changes[namespace] += 1
        seen = self.groups.get((namespace, name))
        spec = None if seen is None or seen.model is None else seen.model.spec
        self.fleets.set_group(namespace, name, None if spec is None else selector_from(spec.selector))
        self.fleets.bound(namespace, name, is_bounded=spec is not None and spec.max_unavailable is not None)
        self.fleets.changed_groups.add((namespace, name))
        self.reports_due.set()
        self.enrolment_due.set()
        self.wakes.wake_namespace(namespace)

    def _rule_changed(self, namespace: str, name: str) -> None:
        del name
        self._changes[namespace] += 1
        self.reports_due.set()
        self.wakes.wake_namespace(namespace)

    def _hold_changed(self, namespace: str, name: str) -> None:
        del name
        self._changes[namespace] += 1
        self.reports_due.set()
        self.wakes.wake_namespace(namespace)


def _age(raw: dict[str, Any]) -> tuple[str, str]:
    """What decides which of two objects was there first."""
    return raw["metadata"].get("creationTimestamp", ""), raw["metadata"]["name"]
