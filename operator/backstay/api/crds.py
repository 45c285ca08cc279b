"""Writes the CustomResourceDefinitions from the models: `python -m backstay.api.crds [--check] [DIRECTORY]`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from backstay.api import KINDS
from backstay.api.generated import Generated
from backstay.api.resource import GROUP, VERSION, Column, Resource
from backstay.api.structural import Schema, structural_schema

COMMAND: Final = "python -m backstay.api.crds"
HEADER: Final = f"# Generated from backstay.api by `{COMMAND}`; do not edit.\n"

Manifest = dict[str, Any]


def crd(kind: type[Resource]) -> Manifest:
    """The CustomResourceDefinition of a kind."""
    served = kind.served
    names = {
        "plural": served.plural,
        "singular": kind.kind_name().lower(),
        "kind": kind.kind_name(),
        "listKind": f"{kind.kind_name()}List",
        "shortNames": list(served.short_names),
        "categories": ["backstay"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{served.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {key: value for key, value in names.items() if value},
            "scope": "Namespaced",
            "versions": [_version(kind)],
        },
    }


def crd_files() -> Generated:
    """The CustomResourceDefinitions as files."""
    return Generated(
        COMMAND, Path("crds"), {f"{kind.served.plural}.yaml": HEADER + _yaml(crd(kind)) for kind in KINDS}, ".yaml"
    )


def _version(kind: type[Resource]) -> Manifest:
    version: Manifest = {
        "name": VERSION,
        "served": True,
        "storage": True,
        **({"subresources": {"status": {}}} if "status" in kind.model_fields else {}),
        "additionalPrinterColumns": [_column(column) for column in kind.served.columns],
    }
    if kind.served.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.served.selectable]
    return version | {"schema": {"openAPIV3Schema": _schema(kind)}}


def _schema(kind: type[Resource]) -> Schema:
    whole = structural_schema(kind)
    properties = whole["properties"]
    return {
        "description": whole["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{kind.kind_name()}."},
            "metadata": {"type": "object"},
            "spec": properties["spec"],
            **{
                part: {key: value for key, value in properties[part].items() if key != "default"}
                for part in ("status",)
                if part in properties
            },
        },
    }


def _column(column: Column) -> Manifest:
    made = {"name": column.name, "type": column.type, "jsonPath": column.path, "description": column.description}
    return {key: value for key, value in made.items() if value} | (
        {"priority": column.priority} if column.priority else {}
    )


class _Dumper(yaml.SafeDumper):
    """Without anchors: every part is written where it belongs."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class passes it
        return True


def _yaml(manifest: Manifest) -> str:
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the directory, or compare it and say what differs."""
    return crd_files().run(arguments)


if __name__ == "__main__":
    sys.exit(main())
