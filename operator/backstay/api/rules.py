"""What a schema says beyond JSON Schema: CEL rules and how lists merge."""

from typing import Any, Final

from pydantic.config import JsonDict

RULES: Final = "x-kubernetes-validations"
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_KEYS: Final = "x-kubernetes-list-map-keys"
MESSAGE: Final = "x-backstay-message"
"""Beside a `pattern`: the sentence that a person gets where the pattern does not match."""

CONDITION: Final = "x-backstay-condition"
"""Beside a `pattern`: what else must hold of a text that matches, in CEL."""

SET: Final[JsonDict] = {LIST_TYPE: "set"}
"""A list without repetition, where every writer owns their own items."""

ATOMIC: Final[JsonDict] = {LIST_TYPE: "atomic"}
"""A list whose order matters: one writer owns all of it."""


def list_map(*keys: str) -> JsonDict:
    """A list whose items are told apart by some of their fields, which no two share."""
    return {LIST_TYPE: "map", LIST_KEYS: list(keys)}


def rule(expression: str, message: str, *, at: str = "", reason: str = "") -> JsonDict:
    """One CEL rule over an object; `at` is the field that the error names, as `.rollback.order`."""
    made: JsonDict = {"rule": expression, "message": message}
    if at:
        made["fieldPath"] = at
    if reason:
        made["reason"] = reason
    return made


def rules(*made: JsonDict, **more: Any) -> JsonDict:
    """The rules as the part of a schema that carries them, with any other keyword of that schema."""
    return {RULES: list(made), **more}
