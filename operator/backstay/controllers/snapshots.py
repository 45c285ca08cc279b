"""The rules of a revision as they were when it started, in an `apps/v1` ControllerRevision that the plan owns.

Later edits of a plan must not move the gates of a rollout that runs; and the releases that were resolved
then are known again after a restart, also while the registry is away.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.kube.client import CONTROLLER_REVISIONS, KubeClient
from backstay.api.conversion import plan_from, tightened
from backstay.api.healthrule import HealthRuleSpec
from backstay.api.releaseplan import ReleasePlan, ReleasePlanSpec
from backstay.core.devices import RevisionName
from backstay.core.plan import Plan
from backstay.core.planes import ContentDigest, Plane, Release, Requirement, VersionRange
from backstay.core.retention import Record
from backstay.errors import BackstayError, Conflict, NotFound

PLAN_LABEL: Final = "backstay.dev/plan"
LONGEST_LABEL: Final = 63

Json = dict[str, Any]
Key = tuple[str, str]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a revision was started with; the releases are as their artifacts declare them."""

    revision: RevisionName
    counter: int
    spec: ReleasePlanSpec
    rules: Mapping[str, HealthRuleSpec]
    releases: Mapping[Plane, Release]

    def plan(self, namespace: str, name: str) -> Plan:
        """The plan that decisions see."""
        return plan_from(namespace, name, self.spec, self.rules, self.releases)

    def shipped(self) -> frozenset[tuple[Plane, ContentDigest]]:
        """The contents that this revision brings."""
        return frozenset((plane, release.content) for plane, release in self.releases.items())

    def to_document(self) -> Json:
        """The snapshot as JSON; `from_document` reads it back unchanged."""
        return {
            "revision": self.revision,
            "spec": self.spec.to_document(),
            "rules": {name: rule.to_document() for name, rule in self.rules.items()},
            "releases": {plane.value: _release_document(release) for plane, release in self.releases.items()},
        }

    @classmethod
    def from_document(cls, document: Json, counter: int) -> "Snapshot":
        """Read a snapshot.

        Raises:
            InvalidDocument: the specs in it are not what this version understands.
        """
        return cls(
            revision=RevisionName(document["revision"]),
            counter=counter,
            spec=ReleasePlanSpec.from_document(document["spec"]),
            rules={name: HealthRuleSpec.from_document(rule) for name, rule in document["rules"].items()},
            releases={Plane(plane): _release(Plane(plane), found) for plane, found in document["releases"].items()},
        )


class Snapshots:
    """Every snapshot of every plan, read once and kept."""

    def __init__(self, client: KubeClient, failpoints: Failpoints) -> None:
        self._client = client
        self._failpoints = failpoints
        self._kept: defaultdict[Key, dict[RevisionName, Snapshot]] = defaultdict(dict)

    async def load(self, uids: Mapping[Key, str], namespace: str | None = None) -> None:
        """Read the snapshots of the plans that exist; what an earlier plan of the same name left is not theirs."""
        for raw in await self._client.list(CONTROLLER_REVISIONS, namespace, label_selector=PLAN_LABEL):
            metadata = raw["metadata"]
            owners = metadata.get("ownerReferences", ())
            owner: Json = next((owner for owner in owners if owner["kind"] == "ReleasePlan"), {})
            key = (metadata["namespace"], owner.get("name", ""))
            if uids.get(key) != owner.get("uid"):
                continue
            try:
                snapshot = Snapshot.from_document(raw["data"], raw["revision"])
            except (BackstayError, KeyError, TypeError, ValueError) as error:
                log.warning("%s/%s: revision %s cannot be read: %s", *key, metadata["name"], error)
                continue
            self._kept[key][snapshot.revision] = snapshot

    def get(self, key: Key, revision: RevisionName) -> Snapshot | None:
        """The snapshot of a revision."""
        return self._kept[key].get(revision)

    def of_plan(self, key: Key) -> Iterator[Snapshot]:
        """A plan's snapshots, the earliest first."""
        return iter(sorted(self._kept[key].values(), key=lambda snapshot: snapshot.counter))

    def known(self, namespace: str) -> dict[ContentDigest, Release]:
        """Every release that any plan of a namespace has shipped, with what the latest plan demanded of it."""
        return {
            release.content: tightened(release, snapshot.spec.versions.by_plane()[plane])
            for key in self._kept
            if key[0] == namespace
            for snapshot in self.of_plan(key)
            for plane, release in snapshot.releases.items()
        }

    def declared(self, namespace: str, reference: str) -> Release | None:
        """What an artifact declared when it was resolved for some earlier revision."""
        return next(
            (
                release
                for key in self._kept
                if key[0] == namespace
                for snapshot in self.of_plan(key)
                for release in snapshot.releases.values()
                if release.artifact == reference
            ),
            None,
        )

    def forget(self, key: Key) -> None:
        """Keep nothing of a plan that is gone."""
        self._kept.pop(key, None)

    async def save(self, plan: ReleasePlan, snapshot: Snapshot) -> None:
        """Make sure that the cluster holds this snapshot; one that was written and never used is replaced.

        Raises:
            Unavailable, Forbidden
        """
        key = (plan.metadata.namespace, plan.metadata.name)
        if self._kept[key].get(snapshot.revision) == snapshot:
            return
        self._failpoints.passing("before-revision")
        body = _controller_revision(plan, snapshot)
        try:
            await self._client.create(CONTROLLER_REVISIONS, body, plan.metadata.namespace)
        except Conflict:
            # The data of a ControllerRevision never changes; nothing was dispatched under it before the plan said so.
            await self._delete(body["metadata"]["name"], plan.metadata.namespace)
            await self._client.create(CONTROLLER_REVISIONS, body, plan.metadata.namespace)
        self._kept[key][snapshot.revision] = snapshot
        self._failpoints.passing("after-revision")

    def records(self, key: Key) -> list[Record]:
        """What each kept snapshot of a plan shipped, the earliest first."""
        return [
            Record(snapshot.revision, frozenset(release.content for release in snapshot.releases.values()))
            for snapshot in self.of_plan(key)
        ]

    async def drop(self, key: Key, revisions: Iterable[RevisionName]) -> None:
        """Delete snapshots that nothing needs any more.

        Raises:
            Unavailable, Forbidden
        """
        namespace, name = key
        for revision in revisions:
            await self._delete(f"{name}-{revision}", namespace)
            self._kept[key].pop(revision, None)
            log.info("%s/%s: forgot revision %s, which nothing needs any more", *key, revision)

    async def _delete(self, name: str, namespace: str) -> None:
        try:
            await self._client.delete(CONTROLLER_REVISIONS, name, namespace)
        except NotFound:
            return


def label_value(name: str) -> str:
    """A name as the value of a label, which may be shorter than a name."""
    return name[:LONGEST_LABEL].rstrip("-.")


def _controller_revision(plan: ReleasePlan, snapshot: Snapshot) -> Json:
    metadata = plan.metadata
    owner = {
        "apiVersion": plan.api_version,
        "kind": plan.kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": f"{metadata.name}-{snapshot.revision}",
            "namespace": metadata.namespace,
            "labels": {PLAN_LABEL: label_value(metadata.name)},
            "ownerReferences": [owner],
        },
        "revision": snapshot.counter,
        "data": snapshot.to_document(),
    }


def _release_document(release: Release) -> Json:
    return {
        "version": release.version,
        "content": release.content,
        "artifact": release.artifact,
        "requires": [{"plane": need.plane.value, "range": need.range.text} for need in release.requires],
    }


def _release(plane: Plane, found: Json) -> Release:
    needs = (Requirement(Plane(need["plane"]), VersionRange.parse(need["range"])) for need in found["requires"])
    return Release(plane, found["version"], ContentDigest(found["content"]), tuple(needs), found["artifact"])
