"""Puts together what a decision may look at: one plan as it is now, from memory alone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from backstay.api import ReleasePlan
from backstay.api.conversion import plan_from
from backstay.api.healthrule import HealthRuleSpec
from backstay.api.state_conversion import outcome_from, state_from
from backstay.api.support import unsupported
from backstay.controllers.plan_conditions import REQUEST, Standing
from backstay.controllers.resolution import (
    Lookup,
    Refusal,
    Refused,
    Resolution,
    Resolved,
    Resolving,
    refused_by_itself,
)
from backstay.controllers.snapshots import Snapshot, Snapshots
from backstay.controllers.store import Store
from backstay.controllers.wakes import Key
from backstay.core.classes import CLASSES
from backstay.core.devices import RevisionName
from backstay.core.observed import Observed
from backstay.core.plan import Plan
from backstay.core.planes import ContentDigest, Plane
from backstay.core.requests import LONGEST, Request, Unreadable, parse_request
from backstay.core.revision import Phase, RevisionState, revision_named, ruling_plan
from backstay.core.signals import Verdict

REQUESTED_BY: Final = "backstay.dev/requested-by"
SUPPORTED_CLASSES: Final = frozenset(CLASSES)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was observed, and what the shell needs beside it to act on the decision."""

    observed: Observed
    standing: Standing
    snapshot: Snapshot
    """The rules by which this revision runs: the one on record, or what would be recorded if it started now."""


class Observer:
    """Observes one plan."""

    def __init__(
        self, key: Key, store: Store, snapshots: Snapshots, resolver: Lookup, wake: Callable[[], None]
    ) -> None:
        self._key = key
        self._store = store
        self._snapshots = snapshots
        self._resolver = resolver
        self._wake = wake

    def observe(self, plan: ReleasePlan, verdicts: Mapping[str, Verdict]) -> Sight | Resolving:
        """Everything as it is now; `Resolving` while there is nothing yet to decide on."""
        namespace, name = self._key
        state = state_from(plan.status)
        kept = self._running_snapshot(state)
        resolution = self._resolution(plan, kept)
        live = self._live(plan, resolution, kept)
        ruling = ruling_plan(state, _plan(live, self._key), _plan(kept, self._key))
        if ruling is None and isinstance(resolution, Resolving):
            return resolution
        if ruling is None:
            ruling = plan_from(namespace, name, plan.spec, {}, {})
        snapshot = _chosen(ruling, live, kept) or self._candidate(plan, Resolved({}, {}))
        revision = self._named(state, ruling) if ruling.target else _unnamed(state)
        retried_at = state.retried_at if state else None
        fleet = self._store.fleets.view(ruling, revision, snapshot.spec.groups, retried_at)
        refused = resolution if isinstance(resolution, Refused) else None
        known = self._snapshots.known(namespace) | {release.content: release for release in ruling.target.values()}
        observed = Observed(
            plan=ruling,
            fleet=fleet,
            state=state,
            refusal=refused.because if refused else None,
            holds=self._store.holds_in(namespace),
            verdicts=verdicts,
            known=known,
            unproven=self._unproven(plan, state, revision),
            groups=self._store.group_rules(namespace),
            rivals=self._store.rivals(namespace, name),
            request=_request(plan),
        )
        standing = Standing(refused, resolution if isinstance(resolution, Resolved) else None)
        return Sight(observed, standing, snapshot)

    def _named(self, state: RevisionState | None, ruling: Plan) -> RevisionName:
        """The revision that the plan asks for; only its first can collide with those of an earlier plan of its name."""
        used = self._store.fleets.highest_counter(*self._key) if state is None else 0
        return revision_named(state, ruling, used)

    def _running_snapshot(self, state: RevisionState | None) -> Snapshot | None:
        """The rules on record; a pending revision has none yet, so that its plan can still be mended."""
        if state is None or state.phase is Phase.PENDING:
            return None
        return self._snapshots.get(self._key, state.revision)

    def _resolution(self, plan: ReleasePlan, kept: Snapshot | None) -> Resolution:
        if refused := refused_by_itself(plan):
            return refused
        if kept is not None and plan.spec.versions == kept.spec.versions:
            # What runs needs neither the registry nor the rules as they are now, only its signatures are told anew.
            asked = self._look_up(plan)
            return Resolved(kept.releases, asked.signatures if isinstance(asked, Resolved) else {})
        return self._missing(plan) or self._look_up(plan)

    def _look_up(self, plan: ReleasePlan) -> Resolution:
        namespace, _ = self._key
        classes = self._store.fleets.classes(namespace, plan.spec.groups)
        if not classes:
            groups = ", ".join(plan.spec.groups)
            return Refused(Refusal.NO_DEVICES, f"no device: the groups of the plan ({groups}) select none")
        if len(classes) > 1:
            found = ", ".join(classes)
            return Refused(
                Refusal.NOT_YET_SUPPORTED,
                f"the plan's devices are of several classes ({found}); give each class its own plan",
            )
        if classes[0] not in SUPPORTED_CLASSES:
            return Refused(Refusal.NOT_YET_SUPPORTED, f"devices of class {classes[0]} are not supported yet")
        return self._resolver.look_up(
            plan.spec.versions.by_plane(),
            classes[0],
            lambda reference: self._snapshots.declared(namespace, reference),
            self._wake,
        )

    def _missing(self, plan: ReleasePlan) -> Refused | None:
        namespace, _ = self._key
        for group in plan.spec.groups:
            if self._store.groups.get((namespace, group)) is None:
                return Refused(Refusal.GROUP_MISSING, f"spec.groups: DeviceGroup {group} does not exist in {namespace}")
        for name in plan.spec.health:
            seen = self._store.rules.get((namespace, name))
            if seen is None or seen.model is None:
                return Refused(Refusal.RULE_MISSING, f"spec.health: HealthRule {name} does not exist in {namespace}")
            if beyond := unsupported(seen.model):
                paths = "; ".join(map(str, beyond))
                return Refused(Refusal.NOT_YET_SUPPORTED, f"HealthRule {name}: {paths}")
        return None

    def _live(self, plan: ReleasePlan, resolution: Resolution, kept: Snapshot | None) -> Snapshot | None:
        if isinstance(resolution, Refused) and kept is not None and plan.spec.versions == kept.spec.versions:
            return self._candidate(plan, Resolved(kept.releases, {}))
        return self._candidate(plan, resolution) if isinstance(resolution, Resolved) else None

    def _candidate(self, plan: ReleasePlan, resolved: Resolved) -> Snapshot:
        namespace, _ = self._key
        rules: dict[str, HealthRuleSpec] = {}
        for name in plan.spec.health:
            seen = self._store.rules.get((namespace, name))
            if seen is not None and seen.model is not None:
                rules[name] = seen.model.spec
        return Snapshot(RevisionName(""), 0, plan.spec, rules, resolved.releases)

    def _unproven(
        self, plan: ReleasePlan, state: RevisionState | None, revision: RevisionName
    ) -> frozenset[tuple[Plane, ContentDigest]]:
        """What earlier revisions shipped and none of those that succeeded did."""
        succeeded = {
            outcome.revision for outcome in map(outcome_from, plan.status.history) if outcome.phase is Phase.SUCCEEDED
        }
        if state is not None and state.phase is Phase.SUCCEEDED:
            succeeded.add(state.revision)
        shipped: set[tuple[Plane, ContentDigest]] = set()
        proven: set[tuple[Plane, ContentDigest]] = set()
        for snapshot in self._snapshots.of_plan(self._key):
            if snapshot.revision in succeeded:
                proven |= snapshot.shipped()
            elif snapshot.revision != revision:
                shipped |= snapshot.shipped()
        return frozenset(shipped - proven)


def _request(plan: ReleasePlan) -> Request | Unreadable | None:
    """What a person asks for, unless it has been answered."""
    annotations = plan.metadata.annotations
    if (asked := annotations.get(REQUEST)) is None or asked[:LONGEST] == plan.status.last_handled_request:
        return None
    return parse_request(asked, annotations.get(REQUESTED_BY, ""))


def _plan(snapshot: Snapshot | None, key: Key) -> Plan | None:
    return None if snapshot is None else snapshot.plan(*key)


def _chosen(ruling: Plan, live: Snapshot | None, kept: Snapshot | None) -> Snapshot | None:
    """The one of the two whose rules the ruling plan has."""
    if live is not None and (kept is None or ruling.target != kept.plan(ruling.namespace, ruling.name).target):
        return live
    return kept


def _unnamed(state: RevisionState | None) -> RevisionName:
    return state.revision if state else RevisionName("")
