"""manifests/ and the chart say the same: one diff between what kustomize and what helm make."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from backstay.sandbox.build import kubernetes_binaries
from tests.helm.chart import ROOT, Manifest, by_name, documents, rendered

HELMS_OWN = {"app.kubernetes.io/managed-by", "helm.sh/chart"}
WEBHOOK = "--set=operator.webhook.enabled=true,operator.webhook.tokenSecret.name=alertmanager-token"
LABELS_OF_THE_BASE = {
    "app.kubernetes.io/name": "backstay",
    "app.kubernetes.io/instance": "backstay",
    "app.kubernetes.io/version": "0.1.0",
}


def kustomized(directory: Path) -> list[Manifest]:
    command = (str(kubernetes_binaries() / "kubectl"), "kustomize", str(directory))
    return documents(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def comparable(objects: list[Manifest]) -> str:
    """Objects in an order that is nobody's, without what only helm says."""
    for one in objects:
        one["metadata"]["labels"] = {
            name: value for name, value in one["metadata"].get("labels", {}).items() if name not in HELMS_OWN
        }
    found = by_name(objects)
    return yaml.safe_dump_all([found[name] for name in sorted(found)])


def test_kustomize_makes_what_the_chart_makes_with_its_default_values(tmp_path: Path):
    ours = kustomized(ROOT / "manifests")
    # helm makes the namespace itself, by --create-namespace.
    beside = [one for one in ours if one["kind"] == "Namespace"]

    assert [one["metadata"]["name"] for one in beside] == ["backstay-system"]
    assert comparable([one for one in ours if one not in beside]) == comparable(documents(rendered(tmp_path)))


def test_kustomize_makes_the_page_that_the_chart_makes(tmp_path: Path):
    manifests = os.path.relpath(ROOT / "manifests", tmp_path.resolve())
    overlay = {"resources": [manifests], "components": [f"{manifests}/page"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    page = "--set=operator.page.enabled=true,operator.page.tls.secretName=backstay-page-tls"

    ours = [one for one in kustomized(tmp_path) if one["kind"] != "Namespace"]

    assert comparable(ours) == comparable(documents(rendered(tmp_path, page)))


@pytest.mark.parametrize("tenant", ["acme", "borealis"])
def test_manifest_of_a_tenant_makes_what_the_chart_makes_for_alerts(tmp_path: Path, tenant: str):
    ours = documents((ROOT / "manifests/tenant/alert-holds-rbac.yaml").read_text().replace("TENANT", tenant))
    for one in ours:
        one["metadata"]["labels"] = dict(LABELS_OF_THE_BASE)
    webhook = f"{WEBHOOK},operator.webhook.namespaces={{acme,borealis}}"
    theirs = [one for one in documents(rendered(tmp_path, webhook)) if one["metadata"].get("namespace") == tenant]

    assert comparable(ours) == comparable(theirs)


@pytest.mark.parametrize("gateway", ["gw-eu", "north"])
def test_manifests_of_a_tenant_make_what_the_chart_makes_of_a_bridge(tmp_path: Path, gateway: str):
    text = "\n---\n".join(
        (ROOT / "manifests" / "tenant" / name).read_text() for name in ("bridge-rbac.yaml", "bridge.yaml")
    )
    ours = documents(text.replace("TENANT", "acme").replace("GATEWAY", gateway))
    for one in ours:
        one["metadata"]["labels"] = LABELS_OF_THE_BASE | one["metadata"].get("labels", {})
    set_bridge = f"--set=bridges[0].namespace=acme,bridges[0].gateway={gateway}"
    theirs = [one for one in documents(rendered(tmp_path, set_bridge)) if one["metadata"].get("namespace") == "acme"]

    assert comparable(ours) == comparable(theirs)
