"""Every field is acted on or refused by path."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api import KINDS, DeviceGroup, EdgeDevice, HealthRule, Hold, ReleasePlan, Resource
from backstay.api.crds import crd
from backstay.api.support import FIELDS, Later, Only, Whole, unsupported

ACCEPTED = Path(__file__).parent / "examples" / "accepted"


def example(kind: type[Resource], name: str) -> Resource:
    return kind.from_document(yaml.safe_load((ACCEPTED / f"{name}.yaml").read_text(encoding="utf-8")))


def paths(resource: Resource) -> list[str]:
    return [found.path for found in unsupported(resource)]


def leaves(schema: dict[str, Any], path: str, kind: type[Resource]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every leaf of a schema by its path; where the table answers for a whole branch, the branch."""
    if isinstance(FIELDS[kind].get(path), Whole | Later):
        yield path, schema
    elif "properties" in schema:
        for name, part in schema["properties"].items():
            yield from leaves(part, f"{path}.{name}", kind)
    elif "items" in schema:
        yield from leaves(schema["items"], f"{path}[]", kind)
    else:
        yield path, schema


def spec_leaves(kind: type[Resource]) -> dict[str, dict[str, Any]]:
    spec = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return dict(leaves(spec, "spec", kind))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind_name())
def test_table_names_every_field_and_no_other(kind: type[Resource]) -> None:
    assert set(spec_leaves(kind)) == set(FIELDS[kind])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind_name())
def test_table_decides_on_every_value_when_a_field_has_a_fixed_set(kind: type[Resource]) -> None:
    for path, schema in spec_leaves(kind).items():
        support = FIELDS[kind][path]
        if "enum" in schema and not isinstance(support, Later):
            assert isinstance(support, Only), f"{path} must say which values are acted on"
            assert support.values <= set(schema["enum"]), path
            assert support.why or support.values == set(schema["enum"]), f"{path} must say why not the others"


def test_unsupported_is_empty_when_only_supported_fields_are_set() -> None:
    for kind, name in (
        (ReleasePlan, "releaseplan-shortest"),
        (ReleasePlan, "releaseplan-counts"),
        (ReleasePlan, "releaseplan-without-rings"),
        (ReleasePlan, "releaseplan-irreversible"),
        (DeviceGroup, "devicegroup"),
        (HealthRule, "healthrule-shortest"),
        (HealthRule, "healthrule-probes-only"),
        (HealthRule, "healthrule-node-probes"),
        (HealthRule, "healthrule-reporting"),
        (EdgeDevice, "edgedevice-ordered"),
        (EdgeDevice, "edgedevice-rehearsing"),
        (Hold, "hold-segment"),
        (Hold, "hold-version"),
        (Hold, "hold-groups"),
    ):
        assert paths(example(kind, name)) == [], name


def test_unsupported_names_each_field_of_a_plan_when_it_sets_everything() -> None:
    assert paths(example(ReleasePlan, "releaseplan-everything")) == ["spec.pullSecretRef"]


def test_unsupported_names_each_field_of_the_other_kinds_when_they_set_everything() -> None:
    assert paths(example(DeviceGroup, "devicegroup-everything")) == []
    assert paths(example(HealthRule, "healthrule-everything")) == []
    assert paths(example(EdgeDevice, "edgedevice-node")) == ["spec.pins"]
    assert paths(example(Hold, "hold-devices")) == []


def test_unsupported_says_what_is_asked_for_and_what_to_do_when_printed() -> None:
    said = {found.path: str(found) for found in unsupported(example(ReleasePlan, "releaseplan-everything"))}
    assert said["spec.pullSecretRef"] == (
        "spec.pullSecretRef: registries that ask for credentials are not supported yet; leave it out"
    )


def test_safe_mode_is_for_nodes() -> None:
    spec = {"class": "esp32", "gateway": "gw-eu", "mode": "Safe"}
    behind = EdgeDevice.from_document(
        {"apiVersion": "backstay.dev/v1alpha1", "kind": "EdgeDevice", "metadata": {"name": "a"}, "spec": spec}
    )
    assert list(map(str, unsupported(behind))) == [
        "spec.mode: Safe is for nodes: a device behind a gateway goes into safe mode by itself alone"
    ]
