"""Writes the CustomResourceDefinitions from the models: `python -m backstay.api.crds [--check] [DIRECTORY]`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from backstay.api import KINDS
from backstay.api.resource import GROUP, VERSION, Column, Resource
from backstay.api.structural import Schema, structural_schema
from backstay.errors import Refused

COMMAND: Final = "python -m backstay.api.crds"
HEADER: Final = f"# Generated from backstay.api by `{COMMAND}`; do not edit.\n"
DIRECTORY: Final = Path("crds")

Manifest = dict[str, Any]


class Drift(Refused):
    """The files are not what the models say."""


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


def crds() -> tuple[Manifest, ...]:
    """The CustomResourceDefinitions of every kind."""
    return tuple(crd(kind) for kind in KINDS)


def files() -> dict[str, str]:
    """What the directory must hold, by file name."""
    return {f"{kind.served.plural}.yaml": HEADER + _yaml(crd(kind)) for kind in KINDS}


def write(directory: Path) -> None:
    """Write every file."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (directory / name).write_text(text, encoding="utf-8")


def check(directory: Path) -> None:
    """Compare the directory with the models.

    Raises:
        Drift: naming the files that are missing, different, or of no kind.
    """
    wanted = files()
    found = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.yaml")}
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        message = (
            f"{', '.join(str(directory / name) for name in wrong)} differ from the models in operator/backstay/api: "
            f"run `{COMMAND} {directory}` and commit what changes"
        )
        raise Drift(message)


def _version(kind: type[Resource]) -> Manifest:
    version: Manifest = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
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
            "status": {key: value for key, value in properties["status"].items() if key != "default"},
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
    parser = argparse.ArgumentParser(prog=COMMAND, description="Write the CustomResourceDefinitions from the models.")
    parser.add_argument(
        "directory", nargs="?", type=Path, default=DIRECTORY, help="where the files are (default: crds)"
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a file differs")
    given = parser.parse_args(arguments)
    if not given.check:
        write(given.directory)
        return 0
    try:
        check(given.directory)
    except Drift as drift:
        sys.stderr.write(f"{drift}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
