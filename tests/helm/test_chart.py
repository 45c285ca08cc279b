"""The chart without a cluster: what it renders, and what it refuses."""

import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.sandbox.build import helm_binaries
from tests.helm.chart import CHART, EVERYTHING, MONITORING, REQUIRED, ROOT, Manifest, by_name, documents, helm, rendered

GOLDEN = Path(__file__).parent / "golden"
MADE_ELSEWHERE = {"CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
"""What scripts/chart.py makes: it is compared with its source instead."""


@pytest.mark.parametrize("values", [REQUIRED, EVERYTHING], ids=lambda path: path.stem)
def test_chart_is_linted_without_a_word(tmp_path: Path, values: Path):
    done = helm("lint", "--strict", "--quiet", CHART, f"--values={values}", home=tmp_path)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "values", "more"),
    [("required", REQUIRED, ()), ("everything", EVERYTHING, (MONITORING,))],
    ids=["required", "everything"],
)
def test_chart_renders_what_was_reviewed(tmp_path: Path, name: str, values: Path, more: tuple[str, ...]):
    found = documents(rendered(tmp_path, *more, values=values))
    text = yaml.safe_dump_all(
        [one for one in found if one["kind"] not in MADE_ELSEWHERE], sort_keys=False, width=120, explicit_start=True
    )
    golden = GOLDEN / f"{name}.yaml"
    if os.environ.get("BACKSTAY_WRITE_STORIES"):
        golden.write_text(text)
    assert text == golden.read_text(), "BACKSTAY_WRITE_STORIES=1 writes it anew, for the diff to be read"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("image.repository=", "at '/image/repository'"),
        ("operator.replcas=3", "at '/operator': additional properties 'replcas' not allowed"),
        ("operator.replicas=many", "at '/operator/replicas': got string, want integer"),
        ("operator.prometheus.url=prometheus:9090", "at '/operator/prometheus/url'"),
        ("operator.webhook.enabled=true", "at '/operator/webhook/tokenSecret/name'"),
        ("operator.webhook.enabled=true", "at '/operator/webhook/namespaces': minItems: got 0, want 1"),
        ("operator.page.enabled=true", "at '/operator/page/tls"),
        ("image.digest=sha256:12", "at '/image/digest'"),
        ("bridges[0].gateway=gw-eu", "at '/bridges/0': missing property 'namespace'"),
        ("bridges[0].gateway=GW_EU,bridges[0].namespace=acme", "at '/bridges/0/gateway'"),
        (
            "bridges[0].gateway=a,bridges[0].namespace=b,bridges[0].clientCa.configMapName=c",
            "at '/bridges/0': properties 'tls' required, if 'clientCa' exists",
        ),
        ("bridges[0].gateway=a,bridges[0].namespace=b,bridges[0].cacheLimit=8GB", "at '/bridges/0/cacheLimit'"),
        (
            "bridges[0].gateway=a,bridges[0].namespace=b,bridges[0].tls.secretName=c,bridges[0].tls.certManager.dnsNames[0]=e",
            "at '/bridges/0/tls': 'not' failed",
        ),
    ],
)
def test_wrong_value_is_refused_by_name(tmp_path: Path, wrong: str, told: str):
    done = helm("template", CHART, f"--values={REQUIRED}", f"--set={wrong}", home=tmp_path)

    assert done.returncode != 0
    assert told in done.stderr


def test_operator_is_on_its_nodes_network_only_when_asked(tmp_path: Path):
    def deployment(*more: str) -> dict[str, Any]:
        found = documents(rendered(tmp_path, *more))
        (spec,) = [one["spec"] for one in found if one["kind"] == "Deployment"]
        return dict(spec)

    usual, asked = deployment(), deployment("--set=operator.hostNetwork=true")
    pod = asked["template"]["spec"]
    assert usual["template"]["spec"].get("hostNetwork") is None
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert asked["strategy"]["rollingUpdate"]["maxSurge"] == 0, "a node has each port once"


def test_kinds_and_policies_are_left_out_when_somebody_else_installs_them(tmp_path: Path):
    text = rendered(tmp_path, "--set=crds.install=false,admissionPolicies.install=false")

    assert {one["kind"] for one in documents(text)} & MADE_ELSEWHERE == set()


def test_kinds_stay_when_the_release_goes(tmp_path: Path):
    kinds = [one for one in documents(rendered(tmp_path)) if one["kind"] == "CustomResourceDefinition"]

    assert len(kinds) == len(list((ROOT / "crds").glob("*.yaml")))
    assert {one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in kinds} == {"keep"}


def test_monitors_and_rules_are_made_only_where_the_cluster_has_those_kinds(tmp_path: Path):
    kinds = {"ServiceMonitor", "PrometheusRule"}

    assert {one["kind"] for one in documents(rendered(tmp_path, values=EVERYTHING))} & kinds == set()
    assert {one["kind"] for one in documents(rendered(tmp_path, MONITORING, values=EVERYTHING))} & kinds == kinds


def test_kinds_of_others_are_what_their_owners_say(tmp_path: Path):
    text = rendered(tmp_path, MONITORING, values=EVERYTHING)

    assert known_kinds(text).stdout.split() == [
        "Certificate",
        "Certificate",
        "PrometheusRule",
        "ServiceMonitor",
        "ServiceMonitor",
    ]


def test_kind_of_another_is_refused_when_its_owner_has_no_such_field(tmp_path: Path):
    done = known_kinds(rendered(tmp_path, MONITORING, values=EVERYTHING).replace("issuerRef:", "issuedBy:"))

    assert done.returncode == 1
    assert 'Certificate: error unmarshaling JSON: while decoding JSON: json: unknown field "issuedBy"' in done.stderr


def known_kinds(text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm_binaries() / "known-kinds"], input=text, capture_output=True, text=True)


def test_alerts_are_those_that_promtool_has_tried(tmp_path: Path):
    rules = by_name(documents(rendered(tmp_path, MONITORING, values=EVERYTHING)))[
        "PrometheusRule", "backstay-system", "backstay"
    ]

    assert rules["spec"] == yaml.safe_load((ROOT / "manifests" / "monitoring" / "rules.yaml").read_text())


def rules_of(objects: list[Manifest]) -> set[tuple[str, str]]:
    """What the operator may, as verbs and kinds, by whichever role."""
    return {
        (verb, kind)
        for one in objects
        if one["kind"] in {"ClusterRole", "Role"} and "bridge" not in one["metadata"]["name"]
        for rule in one["rules"]
        for verb in rule["verbs"]
        for kind in rule["resources"]
    }


def test_rights_of_the_page_are_given_only_with_the_page(tmp_path: Path):
    page = "--set=operator.page.enabled=true,operator.page.tls.secretName=page-tls"

    without, with_page = (rules_of(documents(rendered(tmp_path, *more))) for more in ((), (page,)))

    assert with_page - without == {
        ("create", "tokenreviews"),
        ("create", "subjectaccessreviews"),
        ("list", "events"),
        ("create", "endpointslices"),
        ("patch", "endpointslices"),
        ("delete", "endpointslices"),
    }


def test_slice_that_the_operator_may_write_is_that_of_the_page_alone(tmp_path: Path):
    found = by_name(documents(rendered(tmp_path, values=EVERYTHING)))
    (rule,) = found["Role", "backstay-system", "backstay-operator-page"]["rules"]

    assert rule["resourceNames"] == ["backstay-page"]
    assert "selector" not in found["Service", "backstay-system", "backstay-page"]["spec"]


def test_holds_may_be_lifted_in_all_namespaces_only_when_alerts_may_hold_in_all(tmp_path: Path):
    webhook = (
        "--set=operator.webhook.enabled=true,operator.webhook.tokenSecret.name=t,operator.webhook.namespaces={acme,*}"
    )
    lifting = [
        one for one in documents(rendered(tmp_path, webhook)) if one["metadata"]["name"] == "backstay-alert-holds"
    ]

    assert ("delete", "holds") not in rules_of(documents(rendered(tmp_path)))
    assert [(one["kind"], "namespace" in one["metadata"]) for one in lifting] == [
        ("ClusterRole", False),
        ("ClusterRoleBinding", False),
    ]
    assert lifting[1]["roleRef"]["kind"] == "ClusterRole"


def test_chart_has_the_version_of_the_program():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    program = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert (chart["version"], chart["appVersion"]) == (program, program)


def test_nothing_names_another_namespace_when_the_release_is_elsewhere(tmp_path: Path):
    text = rendered(tmp_path, "--namespace=platform", MONITORING, values=EVERYTHING)

    assert "backstay-system" not in text
    assert "namespace: platform" in text
