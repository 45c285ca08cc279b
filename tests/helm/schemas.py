"""JSON Schemas for kubeconform: of built-in kinds as a real API server describes them, of ours as crds/ does."""

import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from backstay.sandbox.build import helm_binaries
from tests.helm.chart import ROOT

Schema = dict[str, Any]
KIND = "x-kubernetes-group-version-kind"
FILES = "{{ .ResourceKind }}{{ .KindSuffix }}.json"
"""How kubeconform finds a schema below a directory."""


def conforms(text: str, known: Path, *skipped: str) -> subprocess.CompletedProcess[str]:
    """Ask kubeconform whether manifests are what the schemas in a directory allow; it tells only what is wrong."""
    skip = [f"-skip={','.join(skipped)}"] if skipped else []
    command = (helm_binaries() / "kubeconform", "-strict", *skip, f"-schema-location={known}/{FILES}", "-")
    return subprocess.run(command, input=text, capture_output=True, text=True)


def write_ours(to: Path) -> None:
    """Write a schema of each of our kinds."""
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        spec = yaml.safe_load(path.read_text())["spec"]
        (version,) = spec["versions"]
        schema = version["schema"]["openAPIV3Schema"]
        _write(to, spec["group"], version["name"], spec["names"]["kind"], _strict(schema))


def write_served(document: Schema, to: Path) -> None:
    """Write a schema of each kind in an OpenAPI document of the API server's (`/openapi/v3/…`)."""
    shared = {"components": {"schemas": _strict(document["components"]["schemas"])}}
    for name, schema in document["components"]["schemas"].items():
        for kind in schema.get(KIND, ()):
            whole = {"$ref": f"#/components/schemas/{name}"} | shared
            _write(to, kind["group"], kind["version"], kind["kind"], whole)


def _write(to: Path, group: str, version: str, kind: str, schema: Schema) -> None:
    group_of_file = f"-{group.partition('.')[0]}" if group else ""
    (to / f"{kind.lower()}{group_of_file}-{version}.json").write_text(json.dumps(schema))


def _strict(schema: Any) -> Any:
    """A schema by which fields that it does not name are wrong, as they are for a person who misspells one."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: _strict(value) for name, value in schema.items()}
    open_ended = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_ended:
        return inner | {"additionalProperties": False}
    return inner
