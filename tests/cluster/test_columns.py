"""What `kubectl get` prints of a release that is in trouble, by the real API server, as one page for people.

The page is `tests/golden/kubectl-get.txt`. Where it differs and the difference is right, write what was printed there.
"""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from backstay.adapters.kube.client import (
    DEVICE_GROUPS,
    EDGE_DEVICES,
    HEALTH_RULES,
    HOLDS,
    RELEASE_PLANS,
    KubeClient,
    Resource,
)
from backstay.api import DeviceGroup, HealthRule, Hold
from backstay.api.releaseplan_status import ReleasePlanSummary
from backstay.controllers.fleets import GroupCounts
from backstay.controllers.reports import group_status, hold_status, rule_status
from backstay.core.planes import ContentDigest, Plane
from backstay.sandbox import Sandbox

GOLDEN = Path(__file__).parents[1] / "golden" / "kubectl-get.txt"
WIDTH = 120
NOW = datetime.now(UTC)
A, B = ContentDigest(f"sha256:{'a' * 64}"), ContentDigest(f"sha256:{'b' * 64}")
SCOPED = "avg(backstay_inference_accuracy * on(namespace, device) group_left() backstay_device_info{${scope}})"

Json = dict[str, Any]


def ago(**spans: float) -> str:
    return (NOW - timedelta(**spans)).isoformat()


def document(kind: str, name: str, spec: Json) -> Json:
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def plan(name: str, model: str) -> Json:
    artifact = f"127.0.0.1:5000/{name}/model@{A}"
    rings = [{"name": "canary", "size": "5%", "min": 3}, {"name": "everyone", "size": "100%"}]
    versions = {"model": {"version": model, "artifact": artifact}}
    return document("ReleasePlan", name, {"groups": ["warehouse-cameras"], "versions": versions, "rings": rings})


def standing(phase: str, since: str, revision: str, *, ring: str, confirmed: str, health: str) -> Json:
    summary = ReleasePlanSummary(ring=ring, confirmed=confirmed, health=health).to_document()
    return {"phase": phase, "phaseSince": since, "revision": revision, "ring": ring, "summary": summary}


PLANS = [
    (plan("gates", "1.4.0"), {}),
    (
        plan("vision", "7.2.0"),
        standing(
            "RolledBack", ago(hours=2), "3f9c2a1b4d-12", ring="canary", confirmed="0/60", health="model returned"
        ),
    ),
    (
        plan("parking", "7.1.0"),
        standing(
            "Stabilizing", ago(minutes=9), "0c44d1e902-3", ring="everyone", confirmed="59/60", health="DevicesFailed"
        ),
    ),
    (
        plan("yard", "3.0.0"),
        standing("Soaking", ago(seconds=40), "81b7f0a6c5-1", ring="eu-without-berlin", confirmed="12/4096",
                 health="ProviderError: latency-p95-of-the-slowest"),
    ),
]  # fmt: skip


def device(name: str, versions: tuple[str, str, str], ready: str, reason: str, since: str) -> tuple[Json, Json]:
    planes = {str(plane): {"version": version} for plane, version in zip(Plane, versions, strict=True)}
    condition = {"type": "Ready", "status": ready, "reason": reason, "message": "", "lastTransitionTime": since}
    spec = {"class": "esp32", "gateway": "gw-eu"}
    return document("EdgeDevice", name, spec), {"planes": planes, "conditions": [condition]}


DEVICES = [
    device("cam-0001", ("2.4.1", "7.1.0", "31.0.0"), "True", "UpToDate", ago(days=3)),
    device("cam-0002", ("2.4.1", "7.2.0", "31.0.0"), "False", "Changing", ago(seconds=30)),
    device("cam-0003", ("2.4.0", "7.1.0", "30.12.10"), "False", "StepFailed", ago(hours=5)),
    device("cam-0004", ("2.4.1", "7.1.0", "31.0.0"), "False", "Unreachable", ago(days=40)),
    (document("EdgeDevice", "cam-0005", {"class": "esp32", "gateway": "gw-eu"}), {}),
]


def group(name: str, customer: str, *, paused: bool, ready: int) -> tuple[Json, Json]:
    written = document("DeviceGroup", name, {"selector": {"matchLabels": {"customer": customer}}, "paused": paused})
    running = {(Plane.FIRMWARE, "2.4.1", A): 60, (Plane.MODEL, "7.1.0", A): 57, (Plane.MODEL, "7.2.0", B): 3}
    counts = GroupCounts(devices=60, ready=ready, running=Counter({**running, (Plane.CONFIG, "31.0.0", A): 60}))
    return written, group_status(DeviceGroup.from_document(written), counts, {}, NOW)


def rule(name: str, **more: Any) -> tuple[Json, Json]:
    signal = {"name": "accuracy", "blames": ["model"], "query": SCOPED, "min": "0.9"}
    written = document("HealthRule", name, {"signals": [signal], **more})
    return written, rule_status(HealthRule.from_document(written), {}, NOW)


DISK: Json = {"name": "disk", "kind": "DiskHeadroom", "min": "512Mi", "blames": ["model"]}


def hold(name: str, **spec: Any) -> tuple[Json, Json]:
    written = document("Hold", name, spec)
    return written, hold_status(Hold.from_document(written), {}, NOW)


OBJECTS: list[tuple[Resource, list[tuple[Json, Json]]]] = [
    (RELEASE_PLANS, PLANS),
    (
        DEVICE_GROUPS,
        [
            group("gates", "acme", paused=True, ready=60),
            group("warehouse-cameras", "globex", paused=False, ready=58),
            group("yard", "initech", paused=False, ready=60),
        ],
    ),
    (HEALTH_RULES, [rule("inference"), rule("resources", interval="5m", probes=[DISK])]),
    (EDGE_DEVICES, DEVICES),
    (
        HOLDS,
        [
            hold(
                "freeze-model-aaaaaaaaaaaa",
                versions=[{"plane": "model", "digest": A}],
                reason="accuracy: 0.41 is below the minimum of 0.9\nConvicted by vision",
            ),
            hold(
                "stock-taking",
                scope={"selector": {"matchLabels": {"customer": "acme"}}},
                reason="acme takes stock until Monday",
            ),
            hold("two-devices", scope={"devices": ["cam-0003", "cam-0004"]}, reason="sent in for repair"),
        ],
    ),
]


def without_ages(printed: str) -> str:
    """The page with every age, which ends its line, as one word."""
    lines = (re.sub(r"(?<=\s)(\d+(d|h|m|s))+$", "AGO", line.rstrip()) for line in printed.splitlines())
    return "\n".join(lines).strip() + "\n"


async def test_kubectl_get_answers_the_first_questions_in_120_columns(
    sandbox: Sandbox, kube: KubeClient, namespace: str
) -> None:
    for resource, found in OBJECTS:
        for written, status in found:
            await kube.create(resource, written, namespace)
            await kube.merge_patch(
                resource, written["metadata"]["name"], {"status": status}, namespace, subresource="status"
            )
    printed = await sandbox.kubectl("get", "releaseplans,devicegroups,healthrules,edgedevices,holds", "-n", namespace)
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= WIDTH, printed
    assert without_ages(printed) == GOLDEN.read_text(encoding="utf-8")
