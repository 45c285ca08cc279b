"""The texts and quantities that the fields of every kind are made of: bounded, by pattern, never floats.

A quantity stays the text that was written, so that what is read back is what was sent; the functions here give its
meaning.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StrictStr, WithJsonSchema
from pydantic_core import PydanticCustomError

from backstay.api.durations import parse_duration
from backstay.api.rules import CONDITION, MESSAGE

_NUMBER: Final = r"(0|[1-9][0-9]*)"
_TAIL: Final = r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*"
_SEMVER: Final = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_TAIL})?(\+{_TAIL})?"
_COMPARATOR: Final = rf"(=|!=|>|>=|<|<=){_SEMVER}"
_NAME: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_DIGEST: Final = r"sha256:[a-f0-9]{64}"
_ZERO_TO_100: Final = r"(100|[1-9]?[0-9](\.[0-9]{1,2})?)%"
_ABOVE_0_BELOW_100: Final = r"([1-9][0-9]?(\.[0-9]{1,2})?|0\.(0[1-9]|[1-9][0-9]?))%"
_ABOVE_0_TO_100: Final = rf"(100%|{_ABOVE_0_BELOW_100})"
_DURATION: Final = r"([0-9]{1,5}(\.[0-9]{1,3})?(h|m|s|ms)){1,4}"
_MOST_DEVICES: Final = 1_000_000


def _wrong(value: object, message: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{found} is wrong: {message}", {"found": repr(value), "message": message})


def _matching(pattern: str, message: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise _wrong(text, message)
        return text

    return check


def _text(pattern: str, message: str, max_length: int, *, condition: str = "") -> tuple[Any, ...]:
    schema = {"type": "string", "minLength": 1, "maxLength": max_length, "pattern": f"^{pattern}$", MESSAGE: message}
    if condition:
        schema[CONDITION] = condition
    bounds = Field(min_length=1, max_length=max_length)
    return bounds, AfterValidator(_matching(pattern, message)), WithJsonSchema(schema)


def _count_or_percent(pattern: str, minimum: int, message: str) -> tuple[Any, ...]:
    is_share = _matching(pattern, message)

    def check(value: int | str) -> int | str:
        if isinstance(value, str):
            return is_share(value)
        if not minimum <= value <= _MOST_DEVICES:
            raise _wrong(value, message)
        return value

    schema = {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": minimum,
        "maximum": _MOST_DEVICES,
        "pattern": f"^{pattern}$",
    }
    return AfterValidator(check), WithJsonSchema(schema)


def _not_zero(text: str) -> str:
    if not any(digit in text for digit in "123456789"):
        raise _wrong(text, "must be above zero")
    return text


def _a_second_or_more(text: str) -> str:
    if parse_duration(text) < timedelta(seconds=1):
        raise _wrong(text, "must be 1s or more")
    return text


def _in_the_database(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError) as error:
        # A part of a name, such as Europe, is a directory.
        raise _wrong(text, "is no time zone of the IANA database, such as Europe/Berlin") from error
    return text


def _clip(length: int) -> Callable[[object], object]:
    def clip(value: object) -> object:
        return f"{value[: length - 1]}…" if isinstance(value, str) and len(value) > length else value

    return clip


def _cell(length: int) -> tuple[Any, ...]:
    return BeforeValidator(_clip(length)), Field(max_length=length)


Name = Annotated[str, *_text(_NAME, "must be a DNS label: lower-case letters, digits and '-'", 63)]
"""Name of a thing that lives inside an object: a ring, a signal, a probe."""

ObjectName = Annotated[
    str,
    *_text(rf"{_NAME}(\.{_NAME})*", "must be the name of an object: lower-case letters, digits, '-' and '.'", 253),
]
"""Name of another object."""

DeviceNamePattern = Annotated[
    str,
    *_text(
        r"([a-z0-9.*?-]|\[!?[a-z0-9.-]+\])+",
        "must be a pattern of names: lower-case letters, digits, '-', '.', '*', '?' and sets such as [0-9]",
        253,
    ),
]
"""A pattern of whole names, as in a shell: `cam-*`, `cam-[0-9][0-9]`."""

Duration = Annotated[
    str,
    *_text(
        _DURATION,
        "must be a duration of hours, minutes and seconds, such as 90s, 15m or 2h30m",
        32,
    ),
]
"""A Go duration that is not negative: `90s`, `15m`, `2h30m`."""

PositiveDuration = Annotated[
    str,
    AfterValidator(_not_zero),
    *_text(
        _DURATION,
        "must be a duration above zero, such as 90s, 15m or 2h30m",
        32,
        condition="duration(self) > duration('0s')",
    ),
]
"""A Go duration above zero."""

Interval = Annotated[
    str,
    AfterValidator(_a_second_or_more),
    *_text(
        _DURATION,
        "must be a duration of 1s or more, such as 30s or 5m",
        32,
        condition="duration(self) >= duration('1s')",
    ),
]
"""How often something is asked: a Go duration of a second or more, because neighbours have to answer."""

Percentage = Annotated[str, *_text(_ZERO_TO_100, "must be a percentage from 0% to 100%, such as 98% or 99.5%", 8)]
"""A share, as `98%`."""

PositivePercentage = Annotated[
    str, *_text(_ABOVE_0_TO_100, "must be a percentage above 0% and up to 100%, such as 98% or 0.5%", 8)
]
"""A share that is not nothing, as `1%`."""

Confidence = Annotated[
    str, *_text(_ABOVE_0_BELOW_100, "must be a percentage above 0% and below 100%, such as 95%: nothing is certain", 8)
]
"""How certain a finding must be, as `95%`; nothing measured is certain altogether."""

CountOrPercentage = Annotated[
    StrictInt | StrictStr,
    *_count_or_percent(_ZERO_TO_100, 0, "must be a number of devices, or a share up to 100%"),
]
"""A number of devices, or a share of them."""

PositiveCountOrPercentage = Annotated[
    StrictInt | StrictStr,
    *_count_or_percent(_ABOVE_0_TO_100, 1, "must be a number of devices from 1, or a share above 0% and up to 100%"),
]
"""A number of devices from 1, or a share of them above 0%."""

Count = Annotated[int, Field(ge=0, le=_MOST_DEVICES)]
"""A number of devices, or of other things of which there are as many."""

DecimalText = Annotated[
    str, *_text(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", "must be a decimal number as a string, such as '0.120'", 26)
]
"""A decimal number, as text because a float is not the number that was written."""

PositiveDecimalText = Annotated[
    str,
    AfterValidator(_not_zero),
    *_text(
        r"[0-9]{1,15}(\.[0-9]{1,9})?",
        "must be a decimal number above zero as a string, such as '0.05'",
        25,
        condition="double(self) > 0.0",
    ),
]
"""A decimal number above zero."""

ByteQuantity = Annotated[
    str, *_text(r"[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|k|M|G|T)?", "must be a number of bytes, such as 512Mi", 18)
]
"""A number of bytes, as `512Mi`."""

SemVer = Annotated[str, *_text(_SEMVER, "must be a semantic version, such as 2.4.1", 64)]
"""A semantic version. Source: https://semver.org"""

SemVerRange = Annotated[
    str,
    *_text(
        rf"{_COMPARATOR}(,{_COMPARATOR}){{0,7}}",
        "must be comparators joined by commas, such as >=2.2.0,<3.0.0",
        256,
    ),
]
"""Comparators that must all hold: `>=2.2.0,<3.0.0`."""

Digest = Annotated[str, *_text(_DIGEST, "must be sha256: and 64 hexadecimal digits", 71)]
"""The SHA-256 of an artifact's content."""

ArtifactReference = Annotated[
    str,
    *_text(
        rf"[a-zA-Z0-9][a-zA-Z0-9.-]*(:[0-9]{{1,5}})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+@{_DIGEST}",
        "must name the artifact by digest, as HOST[:PORT]/REPOSITORY@sha256:…: a tag can move",
        512,
    ),
]
"""An OCI artifact by the digest of its manifest."""

TimeOfDay = Annotated[str, *_text(r"([01][0-9]|2[0-3]):[0-5][0-9]", "must be a time of day from 00:00 to 23:59", 5)]
"""Hours and minutes, as `09:00`."""

TimeZone = Annotated[
    str,
    AfterValidator(_in_the_database),
    *_text(
        r"[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}",
        "must be a time zone of the IANA database, as Europe/Berlin",
        64,
    ),
]
"""A time zone of the IANA database. Only the models know whether there is one of that name; CEL sees its form alone."""

DeviceClassName = Annotated[str, *_text(_NAME, "must be the name of a device class, such as esp32", 63)]
"""Name of a device class; the set is open."""

LABEL_KEY: Final = r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?"
MUST_BE_A_LABEL_KEY: Final = "must be the key of a label, such as region or backstay.dev/audience"
LabelKey = Annotated[str, *_text(LABEL_KEY, MUST_BE_A_LABEL_KEY, 317)]
"""Key of a label, with or without a prefix."""

ShortText = Annotated[str, Field(max_length=256)]
"""A line of text."""

LongText = Annotated[str, Field(max_length=2048)]
"""Some lines of text."""

Cell8 = Annotated[str, *_cell(8)]
Cell10 = Annotated[str, *_cell(10)]
Cell11 = Annotated[str, *_cell(11)]
Cell16 = Annotated[str, *_cell(16)]
Cell22 = Annotated[str, *_cell(22)]
Cell24 = Annotated[str, *_cell(24)]
"""A ready-made cell of `kubectl get`; what is longer is cut, because a row must fit its line."""


def parse_fraction(text: Percentage) -> Decimal:
    """The share that a percentage means, from 0 to 1, exactly."""
    return Decimal(text.removesuffix("%")) / 100


def parse_bytes(text: ByteQuantity) -> int:
    """How many bytes a checked quantity means: `512Mi` are 512 * 1024 * 1024, `512M` are 512 million."""
    number = text.rstrip("KkMGTi")
    return int(number) * _BYTES[text.removeprefix(number)]


_BYTES: Final[Mapping[str, int]] = MappingProxyType(
    {"": 1}
    | {unit: 1000**power for power, unit in enumerate(("k", "M", "G", "T"), start=1)}
    | {unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), start=1)}
)
