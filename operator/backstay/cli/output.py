"""How a command prints what it found: for people, or for programs as JSON or YAML."""

import json
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated, Any, Final, assert_never

import typer


class Output(StrEnum):
    """What `-o` takes, in kubectl's words."""

    TEXT = "text"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


PROGRAMS: Final = frozenset({Output.JSON, Output.YAML, Output.NAME})
"""What is printed for programs, and nothing else beside it."""

OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="text, wide (more columns), json, yaml or name (KIND/NAME).")
]


def show(output: Output, document: Callable[[], object], text: Callable[[], None], names: Iterable[str]) -> None:
    """Print as asked: programs get the document or the names, people the text."""
    match output:
        case Output.NAME:
            for name in names:
                print(name)
        case Output.JSON:
            print(json.dumps(document(), indent=2, ensure_ascii=False))
        case Output.YAML:
            import yaml

            print(yaml.safe_dump(document(), sort_keys=False, allow_unicode=True), end="")
        case Output.TEXT | Output.WIDE:
            text()
        case _:
            assert_never(output)


def list_of(items: list[dict[str, Any]]) -> dict[str, Any]:
    """A list as kubectl prints one, so that the same filters of programs fit."""
    return {"apiVersion": "v1", "kind": "List", "items": items}
