"""What a device says of itself by `configData`: kept for people who look, never used for a decision."""

from enum import StrEnum
from typing import Final

from backstay.bridge.health import MalformedBody, as_object, printable

MOST_ATTRIBUTES: Final = 64
LONGEST_KEY: Final = 128
LONGEST_VALUE: Final = 128


class Mode(StrEnum):
    """How new attributes meet those that are known."""

    MERGE = "merge"
    REPLACE = "replace"
    REMOVE = "remove"


def parse_attributes(body: object, known: dict[str, str]) -> dict[str, str]:
    """The attributes after a `configData` body.

    Raises:
        MalformedBody: a field has the wrong form, or there would be too many.
    """
    found = as_object(body, "the body")
    try:
        mode = Mode.MERGE if found.get("mode") is None else Mode(found["mode"])
    except ValueError as error:
        raise MalformedBody(f"mode must be one of {', '.join(Mode)}") from error
    given = {_key(key): _value(value) for key, value in as_object(found.get("data"), "data").items()}
    match mode:
        case Mode.MERGE:
            attributes = known | given
        case Mode.REPLACE:
            attributes = given
        case Mode.REMOVE:
            attributes = {key: value for key, value in known.items() if key not in given}
    if len(attributes) > MOST_ATTRIBUTES:
        raise MalformedBody(f"a device has at most {MOST_ATTRIBUTES} attributes")
    return attributes


def _key(key: str) -> str:
    if not 0 < len(key) <= LONGEST_KEY:
        raise MalformedBody(f"the name of an attribute has 1 to {LONGEST_KEY} characters")
    return printable(key, LONGEST_KEY)


def _value(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_VALUE:
        raise MalformedBody(f"the value of an attribute is a text of at most {LONGEST_VALUE} characters")
    return printable(value, LONGEST_VALUE)
