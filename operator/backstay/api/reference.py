"""Writes the reference of the resources from the models: `python -m backstay.api.reference [--check] [DIRECTORY]`."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from backstay.api import KINDS
from backstay.api.crds import crd
from backstay.api.generated import Generated
from backstay.api.resource import GROUP, VERSION, Resource
from backstay.api.rules import RULES
from backstay.api.structural import Schema
from backstay.api.support import FIELDS, Later, Only

COMMAND: Final = "python -m backstay.api.reference"
HEADER: Final = f"""<!-- Generated from backstay.api by `{COMMAND}`; do not edit. -->
# Resources

All kinds are of `{GROUP}/{VERSION}` and live in a namespace, which is the tenant. `kubectl explain` shows the same
texts. A field marked *not yet* is part of the API, but this version does not act on it: an object that sets it gets the
condition `Accepted=False` with reason `NotYetSupported` and the field's path. Each field has an anchor, such as
[`#releaseplan.spec.rings.soak`](#releaseplan.spec.rings.soak).
"""


def reference() -> Generated:
    """The pages of the reference."""
    text = "\n".join((HEADER, *(line for kind in KINDS for line in _kind(kind))))
    return Generated(COMMAND, Path("docs/reference"), {"resources.md": text}, "resources.md")


def _kind(kind: type[Resource]) -> Iterator[str]:
    schema = crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    names = ", ".join(f"`{name}`" for name in (kind.served.plural, *kind.served.short_names))
    yield f"## {kind.kind_name()}\n\n{schema['description']}\n\nFor kubectl: {names}.\n"
    for part in (part for part in ("spec", "status") if part in schema["properties"]):
        branch = schema["properties"][part]
        yield f"### {kind.kind_name()} {part}\n\n{branch['description']}\n"
        yield from (f"- {text}" for text in _rules(branch))
        yield "\n| field | type | |\n|---|---|---|"
        yield from _rows(branch, part, kind)
        yield ""


def _rows(schema: Schema, path: str, kind: type[Resource]) -> Iterator[str]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        inner = f"{path}.{name}"
        yield _row(inner, field, required=name in required, kind=kind)
        yield from _rows(field, inner, kind)
        yield from _rows(field.get("items", {}), f"{inner}[]", kind)


def _row(path: str, field: Schema, *, required: bool, kind: type[Resource]) -> str:
    texts = [field.get("description", "")]
    texts += [f"{text[0].upper()}{text[1:]}." for text in (*_rules(field), *_rules(field.get("items", {})))]
    if required:
        texts.insert(0, "**Required.**")
    texts += _not_yet(path, kind)
    anchor = f"{kind.kind_name().lower()}.{path}".replace("[]", "")
    cells = (f'<a id="{anchor}"></a>`{path}`', _type(field), " ".join(text for text in texts if text))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rules(schema: Schema) -> list[str]:
    return [rule["message"] for rule in schema.get(RULES, ())]


def _type(schema: Schema) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema['items'])}, at most {schema['maxItems']}"
        case "string" if schema.get("format") == "date-time":
            return "time"
        case None:
            return "number or percentage"
        case other:
            return str(other)


def _not_yet(path: str, kind: type[Resource]) -> list[str]:
    match FIELDS[kind].get(path):
        case Later():
            return ["*Not yet.*"]
        case Only(values, why) if why:
            return [f"*Not yet*, other than {', '.join(f'`{_shown(value)}`' for value in sorted(values, key=str))}."]
        case _:
            return []


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the directory, or compare it and say what differs."""
    return reference().run(arguments)


if __name__ == "__main__":
    sys.exit(main())
