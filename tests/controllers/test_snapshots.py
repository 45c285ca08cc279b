"""A snapshot comes back from its ControllerRevision as it was."""

import orjson

from backstay.api.healthrule import HealthRuleSpec
from backstay.controllers.snapshots import Snapshot, label_value
from backstay.core.devices import RevisionName
from backstay.core.planes import ContentDigest, Plane, Release, Requirement, VersionRange
from tests.api.test_conversion import rule, written_plan


def snapshot() -> Snapshot:
    needs = (Requirement(Plane.FIRMWARE, VersionRange.parse(">=2.2.0,<3.0.0")),)
    release = Release(Plane.MODEL, "7.2.0", ContentDigest(f"sha256:{'c' * 64}"), needs, "registry.example/vision/model")
    rules: dict[str, HealthRuleSpec] = {"health": rule("health", "latency").spec}
    plan = written_plan(rings=[{"name": "canary", "size": "1%", "select": {"matchLabels": {"region": "eu"}}}])
    return Snapshot(RevisionName("abcdef0123-4"), 4, plan.spec, rules, {Plane.MODEL: release})


def test_snapshot_comes_back_as_it_was() -> None:
    made = snapshot()
    read = Snapshot.from_document(orjson.loads(orjson.dumps(made.to_document())), 4)
    assert read == made
    assert read.plan("acme", "vision") == made.plan("acme", "vision")


def test_label_of_a_long_name_is_a_valid_label() -> None:
    assert label_value("vision") == "vision"
    assert label_value("a" * 62 + "-" + "b" * 20) == "a" * 62
