"""What the real API server makes of the CRDs: every example under tests/api/examples, accepted or refused by field."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import client, config

from backstay.api import (
    KINDS,
    Condition,
    ConditionStatus,
    DeviceGroupStatus,
    EdgeDeviceStatus,
    HealthRuleStatus,
    HoldStatus,
    ReleasePlanStatus,
    Resource,
)
from backstay.api.resource import GROUP, VERSION, ApiModel

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests" / "api" / "examples"
ACCEPTED = sorted((EXAMPLES / "accepted").glob("*.yaml"))
REJECTED = sorted((EXAMPLES / "rejected").glob("*.yaml"))
PLURALS = {kind.kind_name(): kind.served.plural for kind in KINDS}
WIDTH = 120

Document = dict[str, Any]


@pytest.fixture
async def api(sandbox: Any) -> AsyncIterator[client.ApiClient]:
    """A client that can ask for a dry run and for kubectl's strict validation."""
    settings = client.Configuration()
    await config.load_kube_config(config_file=str(sandbox.kubeconfig), client_configuration=settings)
    async with client.ApiClient(settings) as opened:
        yield opened


async def create(api: client.ApiClient, namespace: str, document: Document, **options: Any) -> Document:
    """Create an object under kubectl's strict validation."""
    objects = client.CustomObjectsApi(api)
    plural = PLURALS[document["kind"]]
    made: Document = await objects.create_namespaced_custom_object(
        GROUP, VERSION, namespace, plural, document, field_validation="Strict", **options
    )
    return made


async def replace(api: client.ApiClient, namespace: str, document: Document) -> Document:
    """Replace an object under kubectl's strict validation."""
    objects = client.CustomObjectsApi(api)
    metadata = document["metadata"]
    made: Document = await objects.replace_namespaced_custom_object(
        GROUP, VERSION, namespace, PLURALS[document["kind"]], metadata["name"], document, field_validation="Strict"
    )
    return made


async def report(api: client.ApiClient, namespace: str, found: Document, status: ApiModel) -> Document:
    """Write an object's status."""
    objects = client.CustomObjectsApi(api)
    made: Document = await objects.replace_namespaced_custom_object_status(
        GROUP,
        VERSION,
        namespace,
        PLURALS[found["kind"]],
        found["metadata"]["name"],
        found | {"status": status.to_document()},
        field_validation="Strict",
    )
    return made


async def delete(api: client.ApiClient, namespace: str, document: Document) -> None:
    objects = client.CustomObjectsApi(api)
    await objects.delete_namespaced_custom_object(
        GROUP, VERSION, namespace, PLURALS[document["kind"]], document["metadata"]["name"]
    )


def documents(path: Path) -> list[Document]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def accepted(name: str) -> Document:
    return documents(EXAMPLES / "accepted" / f"{name}.yaml")[0]


def expected(path: Path) -> tuple[str, str]:
    """The field and the part of the message that a rejected example announces in its header."""
    header = dict(re.findall(r"^# (\w+): (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE))
    return header["field"], header["because"]


def complaints(error: client.ApiException) -> list[tuple[str, str]]:
    """Each field that the API server names, with what it says of it."""
    status = json.loads(error.body or "{}")
    causes = [(cause.get("field", ""), cause["message"]) for cause in status.get("details", {}).get("causes", [])]
    strict = re.findall(r'(unknown) field "([^"]+)"', status["message"])
    return causes + [(field, "unknown field") for _, field in strict]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.served.plural)
async def test_crd_is_established_and_structural_when_applied(api: client.ApiClient, kind: type[Resource]) -> None:
    found = await client.ApiextensionsV1Api(api).read_custom_resource_definition(f"{kind.served.plural}.{GROUP}")
    assert found.status is not None
    conditions = {condition.type: condition.status for condition in found.status.conditions or ()}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
async def test_example_is_accepted_when_it_is_right(api: client.ApiClient, namespace: str, path: Path) -> None:
    for document in documents(path):
        made = await create(api, namespace, document, dry_run="All")
        kind = next(kind for kind in KINDS if kind.kind_name() == document["kind"])
        stored, written = kind.from_document(made), kind.from_document(document)
        assert stored.to_document()["spec"] == written.to_document()["spec"], "the server has other defaults"


@pytest.mark.parametrize("path", REJECTED, ids=lambda path: path.stem)
async def test_example_is_refused_by_field_when_it_is_wrong(api: client.ApiClient, namespace: str, path: Path) -> None:
    field, because = expected(path)
    *before, wrong = documents(path)
    for document in before:
        made = await create(api, namespace, document)
        wrong["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    try:
        with pytest.raises(client.ApiException) as refusal:
            await (replace(api, namespace, wrong) if before else create(api, namespace, wrong, dry_run="All"))
    finally:
        for document in before:
            await delete(api, namespace, document)
    said = complaints(refusal.value)
    assert any(found == field and because in message for found, message in said), said


@pytest.mark.usefixtures("api")
async def test_kubectl_names_the_unknown_field_when_it_validates_strictly(sandbox: Any, namespace: str) -> None:
    path = EXAMPLES / "rejected" / "releaseplan-unknown-field.yaml"
    with pytest.raises(Exception, match=r'unknown field "spec\.rollBack"'):
        await sandbox.kubectl("create", "--validate=strict", "--dry-run=server", "-n", namespace, "-f", str(path))


NOW = datetime(2026, 3, 2, 9, 0, 0, tzinfo=UTC)
READY = Condition(type="Ready", status=ConditionStatus.FALSE, reason="ProbeFailed", last_transition_time=NOW)


def plan_status() -> ReleasePlanStatus:
    """A status in which every field that can be is set."""
    digest = f"sha256:{'a' * 64}"
    verdict = {"signal": "latency-p95", "rule": "inference", "result": "Fail", "value": "0.31", "query": "q", "at": NOW}
    return ReleasePlanStatus.model_validate(
        {
            "observedGeneration": 3,
            "revision": "3f9c2a1b4d-12",
            "phase": "RollingBack",
            "phaseSince": NOW - timedelta(minutes=9),
            "ring": "everyone-in-europe",
            "rings": [
                {
                    "name": "canary",
                    "target": 3,
                    "started": 3,
                    "confirmed": 2,
                    "verdict": "Fail",
                    "soakStarted": NOW,
                    "errorBudgetSpent": "0.125",
                }
            ],
            "culprit": {
                "plane": "model",
                "version": "7.2.0",
                "digest": digest,
                "verdict": "Convicted",
                "hold": "model-aa",
            },
            "lastHandledRequest": "approve@3f9c2a1b4d-12/eu/1",
            "requestAnswer": {"reason": "Approved", "message": "anna lets ring eu start"},
            "evidence": [verdict],
            "history": [
                {"revision": "3f9c2a1b4d-11", "versions": {"model": "7.1.0"}, "phase": "Succeeded", "ended": NOW}
            ],
            "summary": {
                "ring": "everyone-in-europe",
                "confirmed": "12/60",
                "health": "Fail: latency-p95-of-the-slowest",
            },
            "progress": {
                "counter": 12,
                "hash": "3f9c2a1b4d",
                "ringIndex": 1,
                "since": NOW,
                "plane": "model",
                "reverted": ["config"],
                "suspects": ["model", "firmware"],
                "beside": ["config"],
                "cause": {"reason": "SignalFailed", "message": "latency-p95 is 0.31"},
                "ringSince": NOW,
                "segment": {"key": "backstay.dev/hardware", "value": "rev-b"},
                "confinedToRing": True,
                "askedBy": "system:serviceaccount:acme:anna",
                "approved": 2,
                "pardoned": [0, 3],
                "retriedAt": NOW,
                "haltedFrom": "Soaking",
                "drills": [{"device": "cam-0001", "kind": "Break", "stage": "Mending"}],
                "rehearsed": ["canary"],
                "signals": [
                    {
                        "name": "latency-p95",
                        "failures": 2,
                        "total": 5,
                        "looks": 7,
                        "lastAt": NOW,
                        "unclearSince": NOW,
                    }
                ],
                "verdicts": [verdict],
            },
            "conditions": [READY.to_document()],
        }
    )


STATUSES: dict[str, ApiModel] = {
    "releaseplan-shortest": plan_status(),
    "devicegroup": DeviceGroupStatus.model_validate(
        {
            "devices": 60,
            "ready": 58,
            "versions": {"model": [{"version": "7.2.0", "digest": f"sha256:{'a' * 64}", "devices": 60}]},
            "summary": {
                "ready": "58/60",
                "firmware": "2.4.1 +",
                "model": "7.2.0",
                "config": "31.0.0",
                "health": "Degraded",
            },
            "conditions": [READY.to_document()],
        }
    ),
    "healthrule-shortest": HealthRuleStatus.model_validate(
        {
            "summary": {"signals": "1", "probes": "0", "health": "Accepted"},
            "conditions": [READY.to_document()],
        }
    ),
    "edgedevice-ordered": EdgeDeviceStatus.model_validate(
        accepted("edgedevice-ordered")["status"]
        | {
            "planes": {
                plane: {"running": f"sha256:{'a' * 64}", "version": "12.14.10", "state": "Confirmed", "since": NOW}
                for plane in ("firmware", "model", "config")
            },
            "conditions": [READY.to_document()],
        }
    ),
    "hold-segment": HoldStatus.model_validate(
        {
            "summary": {
                "scope": "customer=acme",
                "versions": "every change",
                "reason": "the customer takes stock today",
            },
        }
    ),
}


@pytest.fixture
async def reported(api: client.ApiClient, namespace: str) -> AsyncIterator[dict[str, Document]]:
    """One object of every kind, with a status that sets what can be set."""
    made: dict[str, Document] = {}
    try:
        for name, status in STATUSES.items():
            created = await create(api, namespace, accepted(name))
            made[name] = created
            made[name] = await report(api, namespace, created, status)
        yield made
    finally:
        for document in made.values():
            await delete(api, namespace, document)


async def test_status_comes_back_as_it_was_written_when_every_field_is_set(reported: dict[str, Document]) -> None:
    for name, status in STATUSES.items():
        assert type(status).from_document(reported[name]["status"]) == status


async def test_columns_fit_the_line_and_say_what_matters_when_all_kinds_are_listed(
    sandbox: Any, namespace: str, reported: dict[str, Document]
) -> None:
    del reported
    printed = await sandbox.kubectl("get", "releaseplans,devicegroups,healthrules,edgedevices,holds", "-n", namespace)
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= WIDTH, printed
    plan = next(line for line in printed.splitlines() if "releaseplan" in line)
    assert re.search(r"RollingBack +3f9c2a1b4d-12 +everyone-… +12/60 +Fail: latency-p95-of-… +\d+", plan), printed


async def test_devices_are_selectable_by_gateway_when_listed(
    sandbox: Any, namespace: str, reported: dict[str, Document]
) -> None:
    del reported
    for gateway, found in (("gw-eu", "cam-0001"), ("gw-us", "")):
        listed = await sandbox.kubectl(
            "get", "edgedevices", "-n", namespace, f"--field-selector=spec.gateway={gateway}", "-o", "name"
        )
        assert listed.strip().removeprefix("edgedevice.backstay.dev/") == found
