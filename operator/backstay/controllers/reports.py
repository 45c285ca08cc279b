"""The statuses of groups, health rules and holds: what they reach, and whether they can be used."""

import asyncio
import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from backstay.adapters.kube.client import DEVICE_GROUPS, HEALTH_RULES, HOLDS, KubeClient, Resource
from backstay.api import DeviceGroup, HealthRule
from backstay.api import Hold as WrittenHold
from backstay.api.devicegroup import DeviceGroupSummary
from backstay.api.healthrule import HealthRuleSummary
from backstay.api.hold import summarize
from backstay.api.resource import Resource as Kind
from backstay.api.support import unsupported
from backstay.controllers.conditions import Says, conditions
from backstay.controllers.fleets import GroupCounts
from backstay.controllers.merge import merge_patch, without_nulls
from backstay.controllers.shelf import Seen
from backstay.controllers.store import Store
from backstay.core.planes import Plane
from backstay.errors import BackstayError, NotFound
from backstay.ports.clock import Clock
from backstay.ports.leadership import Leader

Json = dict[str, Any]

EVERY_SECONDS: Final = 1.0
MOST_VERSIONS: Final = 8

log = logging.getLogger(__name__)


class Reports:
    """Writes these statuses where they have changed, at most once a second each."""

    def __init__(self, client: KubeClient, store: Store, clock: Clock, leader: Leader) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._leader = leader
        self._looked_at = clock.now()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._write_groups()
            if self._store.reports_due.is_set() or self._has_hold_run_out():
                self._store.reports_due.clear()
                await self._write_others()
            await asyncio.sleep(EVERY_SECONDS)

    def _has_hold_run_out(self) -> bool:
        """Whether a hold has ended since its status was written."""
        now = self._clock.now()
        ends = (hold.model.spec.until for _, hold in self._store.holds.all() if hold.model is not None)
        return any(self._looked_at < end <= now for end in ends if end is not None)

    async def _write_groups(self) -> None:
        changed = self._store.fleets.changed_groups
        while changed:
            namespace, name = changed.pop()
            seen = self._store.groups.get((namespace, name))
            if seen is not None and seen.model is not None:
                counts = self._store.fleets.counts(namespace, name)
                status = group_status(seen.model, counts, seen.status, self._clock.now())
                await self._write(DEVICE_GROUPS, seen, status)

    async def _write_others(self) -> None:
        now = self._looked_at = self._clock.now()
        for _, rule in self._store.rules.all():
            if rule.model is not None:
                await self._write(HEALTH_RULES, rule, rule_status(rule.model, rule.status, now))
        for _, hold in self._store.holds.all():
            if hold.model is not None:
                await self._write(HOLDS, hold, hold_status(hold.model, hold.status, now))

    async def _write(self, resource: Resource, seen: Seen[Any], status: Json) -> None:
        if not (patch := merge_patch(seen.status, without_nulls(status))):
            return
        metadata = seen.raw["metadata"]
        self._leader.assert_held()
        try:
            raw = await self._client.merge_patch(
                resource, metadata["name"], {"status": patch}, metadata["namespace"], subresource="status"
            )
        except NotFound:
            return
        except BackstayError as error:
            log.warning("the status of %s %s/%s: %s", resource.plural, metadata["namespace"], metadata["name"], error)
            return
        self._store.shelves[resource].put(raw)


def group_status(group: DeviceGroup, counts: GroupCounts, before: Json, now: datetime) -> Json:
    """What the devices of a group report, the most frequent versions first."""
    versions = {plane.value: _versions(counts, plane) for plane in Plane}
    beyond = unsupported(group)
    cells = {plane: _cell(found) for plane, found in versions.items()}
    health = "Paused" if group.spec.paused else "Healthy" if counts.ready == counts.devices else "NotAllReady"
    is_ready = counts.ready == counts.devices and not beyond
    words = f"{counts.ready} of {counts.devices} devices are reachable and healthy"
    says = [
        Says("Ready", is_ready, "DevicesReady" if is_ready else "DevicesNotReady", words),
        *_settled(beyond),
    ]
    return {
        "observedGeneration": group.metadata.generation,
        "devices": counts.devices,
        "ready": counts.ready,
        "versions": versions,
        "summary": DeviceGroupSummary(
            ready=f"{counts.ready}/{counts.devices}", **cells, health="NotYetSupported" if beyond else health
        ).to_document(),
        "conditions": conditions(says, before.get("conditions", ()), group.metadata.generation, now),
    }


def rule_status(rule: HealthRule, before: Json, now: datetime) -> Json:
    """Whether a rule can be used."""
    beyond = unsupported(rule)
    return {
        "observedGeneration": rule.metadata.generation,
        "summary": HealthRuleSummary(
            signals=str(len(rule.spec.signals)),
            probes=str(len(rule.spec.probes)),
            health="NotYetSupported" if beyond else "Accepted",
        ).to_document(),
        "conditions": conditions(_usable(rule, beyond), before.get("conditions", ()), rule.metadata.generation, now),
    }


def hold_status(hold: WrittenHold, before: Json, now: datetime) -> Json:
    """What a hold stops."""
    beyond = unsupported(hold)
    says = [*_usable(hold, beyond), _in_force(hold, now)]
    return {
        "observedGeneration": hold.metadata.generation,
        "summary": summarize(hold.spec).to_document(),
        "conditions": conditions(says, before.get("conditions", ()), hold.metadata.generation, now),
    }


def _in_force(hold: WrittenHold, now: datetime) -> Says:
    until = hold.spec.until
    if until is None:
        return Says("InForce", status=True, reason="Stands", message="it stands until somebody deletes it")
    if now < until:
        return Says("InForce", status=True, reason="Stands", message=f"it stands until {until.isoformat()}")
    return Says("InForce", status=False, reason="RanOut", message=f"it ran out at {until.isoformat()}")


def _usable(resource: Kind, beyond: Iterable[object]) -> list[Says]:
    words = "; ".join(map(str, beyond))
    if words:
        return [Says("Ready", status=False, reason="NotYetSupported", message=words), *_settled((words,))]
    return [
        Says("Ready", status=True, reason="Accepted", message=f"the {resource.kind_name()} is in use"),
        *_settled(()),
    ]


def _settled(beyond: Iterable[object]) -> list[Says]:
    words = "; ".join(map(str, beyond))
    if words:
        return [
            Says("Reconciling", status=False, reason="NotYetSupported"),
            Says("Stalled", status=True, reason="NotYetSupported", message=words),
            Says("Accepted", status=False, reason="NotYetSupported", message=words),
        ]
    return [
        Says("Reconciling", status=False, reason="Settled"),
        Says("Stalled", status=False, reason="Settled"),
        Says("Accepted", status=True, reason="Accepted"),
    ]


def _versions(counts: GroupCounts, plane: Plane) -> list[Json]:
    found = [(key, count) for key, count in counts.running.items() if key[0] is plane and count]
    ordered = sorted(found, key=lambda item: (-item[1], item[0][1], str(item[0][2])))[:MOST_VERSIONS]
    return [{"version": version, "digest": digest, "devices": count} for (_, version, digest), count in ordered]


def _cell(versions: list[Json]) -> str:
    if not versions:
        return ""
    return f"{versions[0]['version']}{'+' if len(versions) > 1 else ''}"
