"""What the API server checks by the schema of a kind: types, repetition, and the rules in CEL.

The models say what is wrong with a single value; here is what only the server would see. Rules that compare with an
earlier object are passed over: there is none.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
"""

import re
from collections.abc import Container, Iterator
from functools import lru_cache
from typing import Any, Final

import cel

from backstay.api.resource import Resource
from backstay.api.rules import LIST_KEYS, LIST_TYPE, RULES
from backstay.api.structural import Schema, structural_schema
from backstay.lint.source import Path

_OF_TYPE: Final[dict[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
}
_STEP: Final = re.compile(r"\w+")
Fault = tuple[Path, str]


@lru_cache
def schema_of(kind: type[Resource]) -> Schema:
    """The schema that the API server holds an object of this kind against."""
    return structural_schema(kind)


def type_faults(schema: Schema, value: object, path: Path = ()) -> Iterator[Fault]:
    """Where a value has another type than the schema says: the models read a number in quotes as a number."""
    if not _has_type(schema, value):
        yield path, f"must be of type {schema.get('type', 'integer or string')}, and {_shown(value)} is not"
        return
    for part, inner, step in _parts(schema, value):
        yield from type_faults(part, inner, (*path, step))


def repetitions(schema: Schema, value: object, path: Path = ()) -> Iterator[Fault]:
    """Where a list that is a set, or is told apart by keys, says a thing twice."""
    if isinstance(value, list):
        yield from _twice(schema, value, path)
    for part, inner, step in _parts(schema, value):
        yield from repetitions(part, inner, (*path, step))


def broken_rules(schema: Schema, value: object, bad: Container[Path], path: Path = ()) -> Iterator[Fault]:
    """The rules that do not hold, of every part in which nothing else is wrong; `bad` are the paths where it is."""
    for part, inner, step in _parts(schema, value):
        yield from broken_rules(part, inner, bad, (*path, step))
    if path in bad:
        return
    for rule in schema.get(RULES, ()):
        if "oldSelf" not in rule["rule"] and not _holds(rule["rule"], value):
            yield (*path, *_STEP.findall(rule.get("fieldPath", ""))), rule["message"]


def with_defaults(schema: Schema, value: Any) -> Any:  # noqa: ANN401 - any JSON
    """The value as the API server completes it before it looks at the rules."""
    if isinstance(value, list):
        return [with_defaults(schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    defaults = {key: part["default"] for key, part in properties.items() if "default" in part}
    beyond = schema.get("additionalProperties", {})
    return {
        key: with_defaults(properties.get(key, beyond), part)
        for key, part in (defaults | {key: part for key, part in value.items() if part is not None}).items()
    }


def fields_at(schema: Schema, path: Path) -> tuple[str, ...]:
    """The names of the fields that may stand at a path."""
    for step in path:
        inner = schema.get("items", {}) if isinstance(step, int) else schema.get("properties", {}).get(step, {})
        schema = inner
    return tuple(schema.get("properties", ()))


def _parts(schema: Schema, value: object) -> Iterator[tuple[Schema, object, int | str]]:
    if isinstance(value, dict):
        properties, beyond = schema.get("properties", {}), schema.get("additionalProperties", {})
        for key, inner in value.items():
            if isinstance(part := properties.get(key, beyond), dict):
                yield part, inner, key
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield schema.get("items", {}), inner, index


def _has_type(schema: Schema, value: object) -> bool:
    if value is None:
        return True
    if schema.get("x-kubernetes-int-or-string"):
        wanted: tuple[type, ...] = (int, str)
    elif (name := schema.get("type")) is None:
        return True
    else:
        wanted = _OF_TYPE.get(name, (object,))
    return isinstance(value, wanted) and (bool in wanted or object in wanted or not isinstance(value, bool))


def _twice(schema: Schema, items: list[Any], path: Path) -> Iterator[Fault]:
    seen = []
    for index, item in enumerate(items):
        match schema.get(LIST_TYPE):
            case "set":
                key = item
            case "map" if isinstance(item, dict):
                key = tuple(item.get(name) for name in schema[LIST_KEYS])
            case _:
                return
        if key in seen:
            yield (*path, index), f"{_shown(key)} stands twice"
        seen.append(key)


def _holds(expression: str, value: object) -> bool:
    try:
        return bool(_program(expression).execute(cel.Context({"self": value}, {"isSorted": _is_sorted})))
    except (KeyError, TypeError, ValueError, RuntimeError):
        # A rule that cannot be computed is not kept, with the API server as well.
        return False


@lru_cache
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def _is_sorted(items: list[Any]) -> bool:
    return items == sorted(items)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
