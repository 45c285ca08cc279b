"""The manifests against the real API server: what each identity may and may not do; the example is accepted."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client, config

from backstay.api import KINDS
from backstay.sandbox import Sandbox
from tests.cluster.guide_shell import ROOT, GuideShell
from tests.guides import blocks

MANIFESTS = ROOT / "manifests"
GROUP = "backstay.dev"
TENANT, OTHER = "backstay-test-tenant", "backstay-test-other"
OPERATOR = "system:serviceaccount:backstay-system:backstay-operator"
BRIDGE = f"system:serviceaccount:{TENANT}:bridge-gw-eu"

Asked = tuple[str, str, str]
"""Verb, resource, namespace."""

OPERATOR_MAY: list[Asked] = [
    *((verb, f"{kind.served.plural}.{GROUP}", TENANT) for kind in KINDS for verb in ("list", "watch")),
    *(("get", f"{plural}.{GROUP}", TENANT) for plural in ("releaseplans", "edgedevices", "holds", "agentleases")),
    ("list", f"edgedevices.{GROUP}", ""),
    ("patch", f"releaseplans.{GROUP}/status", TENANT),
    ("patch", f"devicegroups.{GROUP}/status", TENANT),
    ("patch", f"healthrules.{GROUP}/status", TENANT),
    ("patch", f"holds.{GROUP}/status", TENANT),
    ("patch", f"edgedevices.{GROUP}", TENANT),
    # manifests/admission.yaml leaves of this only that a node is away: tests/cluster/test_silence.py.
    ("patch", f"edgedevices.{GROUP}/status", TENANT),
    ("silence", f"edgedevices.{GROUP}", TENANT),
    ("create", f"holds.{GROUP}", TENANT),
    ("create", "controllerrevisions.apps", TENANT),
    ("list", "controllerrevisions.apps", ""),
    ("delete", "controllerrevisions.apps", TENANT),
    ("create", "events.events.k8s.io", TENANT),
    ("patch", "events.events.k8s.io", TENANT),
    ("create", "leases.coordination.k8s.io", "backstay-system"),
    ("update", "leases.coordination.k8s.io", "backstay-system"),
]
PAGE_MAY: list[Asked] = [
    ("create", "tokenreviews.authentication.k8s.io", ""),
    ("create", "subjectaccessreviews.authorization.k8s.io", ""),
    ("list", "events.events.k8s.io", ""),
    ("create", "endpointslices.discovery.k8s.io/backstay-page", "backstay-system"),
    ("patch", "endpointslices.discovery.k8s.io/backstay-page", "backstay-system"),
]
PAGE_MAY_NOT: list[Asked] = [
    ("patch", "endpointslices.discovery.k8s.io/another", "backstay-system"),
    ("create", "endpointslices.discovery.k8s.io", "backstay-system"),
    ("patch", "endpointslices.discovery.k8s.io/backstay-page", TENANT),
    ("patch", "pods", "backstay-system"),
    ("get", "services", "backstay-system"),
    ("list", "events", ""),
]
OPERATOR_MAY_NOT: list[Asked] = [
    *PAGE_MAY,
    ("update", f"edgedevices.{GROUP}/status", TENANT),
    ("create", f"edgedevices.{GROUP}", TENANT),
    ("delete", f"edgedevices.{GROUP}", TENANT),
    ("patch", f"releaseplans.{GROUP}", TENANT),
    ("delete", f"releaseplans.{GROUP}", TENANT),
    ("patch", f"healthrules.{GROUP}", TENANT),
    ("patch", f"devicegroups.{GROUP}", TENANT),
    ("patch", f"holds.{GROUP}", TENANT),
    ("patch", f"agentleases.{GROUP}", TENANT),
    ("delete", f"holds.{GROUP}", TENANT),
    ("get", f"healthrules.{GROUP}", TENANT),
    ("get", "controllerrevisions.apps", TENANT),
    ("patch", "controllerrevisions.apps", TENANT),
    ("delete", "events.events.k8s.io", TENANT),
    ("delete", "leases.coordination.k8s.io", "backstay-system"),
    ("get", "secrets", TENANT),
    ("get", "pods", TENANT),
    ("update", "leases.coordination.k8s.io", TENANT),
    ("create", "customresourcedefinitions.apiextensions.k8s.io", ""),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io", ""),
]
BRIDGE_MAY: list[Asked] = [
    ("list", f"edgedevices.{GROUP}", TENANT),
    ("watch", f"edgedevices.{GROUP}", TENANT),
    ("watch", f"holds.{GROUP}", TENANT),
    ("watch", f"devicegroups.{GROUP}", TENANT),
    ("patch", f"edgedevices.{GROUP}/status", TENANT),
    ("get", "secrets/backstay-tenant-key", TENANT),
]
BRIDGE_MAY_NOT: list[Asked] = [
    ("patch", f"edgedevices.{GROUP}", TENANT),
    ("delete", f"edgedevices.{GROUP}", TENANT),
    ("list", f"releaseplans.{GROUP}", TENANT),
    ("create", f"holds.{GROUP}", TENANT),
    ("delete", f"holds.{GROUP}", TENANT),
    ("list", "secrets", TENANT),
    ("get", "secrets/registry", TENANT),
    ("list", f"edgedevices.{GROUP}", ""),
    ("list", f"edgedevices.{GROUP}", OTHER),
    ("patch", f"edgedevices.{GROUP}/status", OTHER),
    ("get", "secrets/backstay-tenant-key", OTHER),
]


@pytest.fixture
async def access(sandbox: Any) -> AsyncIterator[client.AuthorizationV1Api]:
    """A tenant with a bridge, another beside it, and a way to ask the API server who may do what."""
    for tenant in (TENANT, OTHER):
        namespace = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {tenant}}}\n"
        bridge = (MANIFESTS / "tenant" / "bridge-rbac.yaml").read_text(encoding="utf-8")
        await sandbox.apply(namespace)
        await sandbox.apply(bridge.replace("TENANT", tenant).replace("GATEWAY", "gw-eu"))
    settings = client.Configuration()
    await config.load_kube_config(config_file=str(sandbox.kubeconfig), client_configuration=settings)
    async with client.ApiClient(settings) as opened:
        yield client.AuthorizationV1Api(opened)


@pytest.fixture(params=["without the page", "with the page"])
async def with_page(request: pytest.FixtureRequest, sandbox: Sandbox) -> bool:
    """Whether the operator has the page's rights; others of these tests may have left them."""
    rights = MANIFESTS / "page" / "rbac.yaml"
    if request.param == "with the page":
        await sandbox.apply(rights)
    else:
        await sandbox.kubectl("delete", "--ignore-not-found", "-f", str(rights))
    return bool(request.param == "with the page")


async def may(access: client.AuthorizationV1Api, who: str, asked: Asked) -> bool:
    verb, resource, namespace = asked
    path, _, tail = resource.partition("/")
    plural, _, group = path.partition(".")
    review = client.V1SubjectAccessReview(
        spec=client.V1SubjectAccessReviewSpec(
            user=who,
            groups=["system:serviceaccounts", f"system:serviceaccounts:{who.split(':')[2]}", "system:authenticated"],
            resource_attributes=client.V1ResourceAttributes(
                verb=verb,
                group=group,
                version="*",
                resource=plural,
                subresource=tail if tail == "status" else "",
                name="" if tail == "status" else tail,
                namespace=namespace,
            ),
        )
    )
    answer = await access.create_subject_access_review(review)
    assert answer.status is not None
    return bool(answer.status.allowed)


async def test_bridge_may_do_its_work_and_nothing_else(access: client.AuthorizationV1Api) -> None:
    await assert_may(access, BRIDGE, BRIDGE_MAY, BRIDGE_MAY_NOT)


async def test_operator_may_do_its_work_and_nothing_else_with_the_page_and_without(
    access: client.AuthorizationV1Api, with_page: bool
) -> None:
    ours = PAGE_MAY if with_page else []
    refused = [asked for asked in (*OPERATOR_MAY_NOT, *PAGE_MAY_NOT) if asked not in ours]
    await assert_may(access, OPERATOR, [*OPERATOR_MAY, *ours], refused)


async def assert_may(access: client.AuthorizationV1Api, who: str, allowed: list[Asked], refused: list[Asked]) -> None:
    granted = {asked: await may(access, who, asked) for asked in (*allowed, *refused)}
    assert [asked for asked in allowed if not granted[asked]] == [], "not allowed, but needed"
    assert [asked for asked in refused if granted[asked]] == [], "allowed, but not needed"


@pytest.mark.usefixtures("access")
async def test_example_release_is_accepted_when_its_artifacts_are_filled_in(sandbox: Any) -> None:
    for path in sorted((MANIFESTS / "example").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        for plane in ("FIRMWARE", "MODEL", "CONFIG"):
            text = text.replace(f"{plane}_ARTIFACT}}", f"127.0.0.1:5000/vision/{plane.lower()}@sha256:{'a' * 64}}}")
        await sandbox.kubectl("create", "--validate=strict", "--dry-run=server", "-n", TENANT, "-f", "-", input=text)


async def test_plan_goes_at_once_when_it_is_deleted_and_no_operator_runs(sandbox: Any, namespace: str) -> None:
    example = MANIFESTS.parent / "tests" / "api" / "examples" / "accepted" / "releaseplan-shortest.yaml"
    await sandbox.kubectl("create", "-n", namespace, "-f", str(example))
    await sandbox.kubectl("delete", "releaseplan", "vision", "-n", namespace, "--wait", "--timeout=10s")
    left = await sandbox.kubectl("get", "releaseplans", "-n", namespace, "-o", "name")
    assert left.strip() == ""


async def test_dashboards_come_to_grafana_by_the_guide(sandbox: Sandbox, tmp_path: Path) -> None:
    (commands,) = blocks((ROOT / "docs" / "how-to" / "watch-with-grafana.md").read_text(), "sh")
    await sandbox.kubectl("create", "namespace", "monitoring")
    try:
        await GuideShell(sandbox, "monitoring", tmp_path).run(commands)
        found = await sandbox.kubectl("get", "configmap", "-n", "monitoring", "-l", "grafana_dashboard=1", "-o", "json")
        (one,) = json.loads(found)["items"]
        assert sorted(one["data"]) == sorted(path.name for path in (MANIFESTS / "monitoring" / "grafana").iterdir())
    finally:
        await sandbox.kubectl("delete", "namespace", "monitoring", "--wait=false")
