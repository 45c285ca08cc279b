"""Whether a config is valid by the JSON Schema that travels with it: the same verdict where it is pushed and on a node.

As a program it judges two files: `python -m backstay.adapters.json_schema SCHEMA VALUES` prints what is wrong, or
nothing. A node runs it so, because the library takes a third of the memory that its agent may have, and because a
schema may hold a regular expression that never ends: what the program may use is limited.

Source: RFC 6901 (JSON Pointer), https://json-schema.org/draft/2020-12
"""

import resource
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import jsonschema
import orjson
from jsonschema.validators import validator_for
from jsonschema_specifications import REGISTRY
from referencing.exceptions import Unresolvable

LONGEST_FAULT: Final = 400
MEMORY_BYTES: Final = 512 * 1024 * 1024
CPU_SECONDS: Final = 10


class NoSchema(ValueError):
    """What should be a JSON Schema is none."""


def schema_fault(values: Any, schema: Any) -> str | None:  # noqa: ANN401  both may be any JSON
    """The first thing in a config that its schema refuses, with a JSON Pointer to it; None if it is valid.

    A reference in the schema leads to the schema itself or to a published draft; nothing is fetched.

    Raises:
        NoSchema: the schema is none, or refers to something else; says where.
    """
    if type(schema) not in (dict, bool):
        raise NoSchema("it is neither an object nor true or false")
    if isinstance(schema, dict) and not isinstance(schema.get("$schema", ""), str):
        raise NoSchema("its $schema is not a text")
    kind = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
        wrong = next(iter(kind(schema, registry=REGISTRY).iter_errors(values)), None)
    except jsonschema.SchemaError as error:
        raise NoSchema(_at(error.absolute_path, error.message)) from error
    except Unresolvable as error:
        raise NoSchema(f"it refers to {error.ref!r}, which is not in it") from error
    except RecursionError as error:
        raise NoSchema("it refers to itself without an end") from error
    return None if wrong is None else _at(wrong.absolute_path, wrong.message)


def judged(schema: bytes, values: bytes) -> str:
    """What is wrong with the bytes of a config or of its schema, in one line; empty if nothing is."""
    try:
        return schema_fault(_read("config", values), _read("schema", schema)) or ""
    except NoSchema as error:
        return f"its schema is not a JSON Schema: {error}"
    except ValueError as error:
        return str(error)


def pointer(path: Iterable[str | int]) -> str:
    """A JSON Pointer; empty for the whole document."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


def _at(path: Iterable[str | int], message: str) -> str:
    where = pointer(path) or "the top"
    words = message if len(message) <= LONGEST_FAULT else f"{message[:LONGEST_FAULT]}…"
    return f"{words} at {where}"


def _read(what: str, data: bytes) -> object:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the {what} is not JSON: {error}") from error


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    sys.stdout.write(judged(*(Path(name).read_bytes() for name in sys.argv[1:3])))
