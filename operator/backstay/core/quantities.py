"""Quantities as the API writes them and devices read them: a duration `1m30s`, a share `98%`, bytes `512Mi`."""

import re
from collections.abc import Mapping
from typing import Final

_DURATION_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_BYTES: Final = re.compile(r"(\d+)(Ki|Mi|Gi|Ti|k|M|G|T)?", re.ASCII)
_BYTES_UNIT: Final[Mapping[str, int]] = {
    "": 1,
    **{unit: 1000 ** (at + 1) for at, unit in enumerate("kMGT")},
    **{f"{unit}i": 1024 ** (at + 1) for at, unit in enumerate("KMGT")},
}


def seconds_of(duration: str) -> float:
    """Read a Go duration such as `1m30s`.

    Raises:
        ValueError: it is not one.
    """
    parts = _DURATION_PART.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        message = f"{duration!r} is not a duration such as '90s' or '1m30s'"
        raise ValueError(message)
    return sum(float(number) * _DURATION_SECONDS[unit] for number, unit in parts)


def fraction_of(text: str) -> float:
    """Read a fraction, `98%` or `0.98`.

    Raises:
        ValueError: it is not one.
    """
    return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)


def bytes_of(quantity: str) -> int:
    """Read a number of bytes such as `512Mi`.

    Raises:
        ValueError: it is not one.
    """
    if (parts := _BYTES.fullmatch(quantity)) is None:
        message = f"{quantity!r} is not a number of bytes such as '512Mi'"
        raise ValueError(message)
    return int(parts[1]) * _BYTES_UNIT[parts[2] or ""]
