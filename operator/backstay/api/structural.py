"""JSON Schema as pydantic writes it, made into the structural schema that a CustomResourceDefinition demands.

Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from typing import Any, Final

from backstay.api.resource import ApiModel
from backstay.api.rules import CONDITION, MESSAGE, RULES, rule

Schema = dict[str, Any]

_DROPPED: Final = frozenset({"title", "propertyNames", "$defs", MESSAGE, CONDITION})
"""What Kubernetes does not know, or repeats the field's name."""

_ORDER: Final = ("description", "type", "format", "enum", "default", "required", "properties", "items")


def structural_schema(model: type[ApiModel]) -> Schema:
    """The schema of a model without references, titles, nulls or anything else that Kubernetes refuses.

    What a person writes keeps its defaults, and gets a sentence where a pattern does not match; what a program writes
    keeps the bare pattern, which costs the API server less.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(schema, schema.get("$defs", {}), written=False)


def _structural(schema: Schema, definitions: dict[str, Schema], *, written: bool) -> Schema:
    schema = _without_null(_resolved(schema, definitions), definitions)
    if "properties" in schema:
        written = schema.get("additionalProperties") is False
    made = {key: value for key, value in schema.items() if key not in _DROPPED}
    if "properties" in made:
        made.pop("additionalProperties", None)
        made["properties"] = {
            name: _property(part, definitions, written=written) for name, part in made["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if key in made:
            made[key] = _structural(made[key], definitions, written=written)
    if "description" in made:
        made["description"] = " ".join(made["description"].split())
    return _ordered(_with_message(made, schema) if written and MESSAGE in schema else made)


def _property(schema: Schema, definitions: dict[str, Schema], *, written: bool) -> Schema:
    made = _structural(schema, definitions, written=written)
    default = made.pop("default", None)
    if written and default not in (None, [], ""):
        made["default"] = {} if isinstance(default, dict) else default
    return _ordered(made)


def _ordered(schema: Schema) -> Schema:
    """Keywords in the order in which people read them, whatever order pydantic has."""
    first = [key for key in _ORDER if key in schema]
    return {key: schema[key] for key in (*first, *sorted(schema.keys() - set(first)))}


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Put what a reference names in its place; what stands beside the reference wins."""
    while "$ref" in schema:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = definitions[schema["$ref"].removeprefix("#/$defs/")] | beside
    return schema


def _without_null(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """Kubernetes has no null: what may be null is a field that may be left out."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if len(options) != 1:
        return schema
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    return _resolved(options[0], definitions) | beside


def _with_message(made: Schema, schema: Schema) -> Schema:
    """Say in a sentence what the pattern says in signs."""
    condition = schema.get(CONDITION)
    expression = f"self.matches(r'{schema['pattern']}')" + (f" && {condition}" if condition else "")
    more = [*made.get(RULES, [])]
    rest = {key: value for key, value in made.items() if key != "pattern"}
    return rest | {RULES: [rule(expression, schema[MESSAGE]), *more]}
