"""A device's health report: what it says it runs, which probes pass, and how it fares.

Whatever a device sends is bounded and checked here; nothing that is not understood gets further. The last report of
each device stays in memory, so a text that a fleet has in common is kept once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any, Final

from backstay.core.planes import ContentDigest, Plane
from backstay.errors import Refused

MOST_PROBES: Final = 32
LONGEST_LINE: Final = 256
LONGEST_VERSION: Final = 64
LONGEST_INTERVAL_SECONDS: Final = 7 * 24 * 3600.0
SHORTEST_INTERVAL_SECONDS: Final = 0.1

LOWEST: Final[Mapping[str, float]] = {
    "inference_latency_seconds": 0.0,
    "inference_accuracy": 0.0,
    "heap_free_bytes": 0.0,
    "temperature_celsius": -273.15,
}
"""The figures that a device may report, each with the least that can be true."""
HIGHEST_OF: Final = {"inference_accuracy": 1.0}
HIGHEST: Final = 1e15

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
PROBE_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
SLOT: Final = re.compile(r"[0-9A-Za-z_.-]{0,32}")
AGENT: Final = re.compile(r"[ -~]{0,128}")
OTADATA: Final = re.compile(r"(?:[0-9a-fA-F]{128})?")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e\xa0-\U0010ffff]")


class MalformedBody(Refused):
    """A body is not what the path expects; the message names the field."""


@dataclass(frozen=True, slots=True)
class PlaneReport:
    """What a device computed of its own bytes in one plane."""

    running: ContentDigest | None
    version: str = ""
    fallback: ContentDigest | None = None
    fallback_version: str = ""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """One report, checked."""

    planes: Mapping[Plane, PlaneReport] = field(default_factory=dict)
    slot: str = ""
    rollback_capable: bool | None = None
    agent: str = ""
    failing: tuple[str, ...] = ()
    probed: bool = False
    """The report carries results of probes."""
    resources: Mapping[str, float] = field(default_factory=dict)
    logged: bool = False
    """The report carries lines of the device's log; that they came is all that is asked of them."""
    interval_seconds: float | None = None


def parse_health(body: object) -> HealthReport:
    """Check a health report; figures that cannot be true are left out, everything else that is wrong is refused.

    Raises:
        MalformedBody: a field has the wrong form.
    """
    report = as_object(body, "the report")
    _text(report, "otadata", OTADATA)
    probes = _probes(report.get("probes"))
    return HealthReport(
        planes=_planes(report.get("planes")),
        slot=_text(report, "slot", SLOT),
        rollback_capable=_flag(report, "rollbackCapable"),
        agent=_text(report, "agent", AGENT),
        failing=tuple(sorted(name for name, passed in probes.items() if not passed)),
        probed=bool(probes),
        resources=_resources(report.get("resources")),
        logged=_is_log(report.get("log")),
        interval_seconds=_interval(report),
    )


def as_object(value: object, where: str) -> dict[str, Any]:
    """The value as a JSON object.

    Raises:
        MalformedBody: it is none.
    """
    if not isinstance(value, dict):
        raise MalformedBody(f"{where} must be a JSON object")
    return value


def printable(text: str, longest: int) -> str:
    """A device's text as it may stand in an object or a log: one line, bounded, without control characters."""
    return _UNPRINTABLE.sub(" ", text[:longest]).strip()


def _planes(found: object) -> dict[Plane, PlaneReport]:
    known = set(Plane)
    reports = as_object({} if found is None else found, "planes")
    return {Plane(name): _plane(report, f"planes.{name}") for name, report in reports.items() if name in known}


def _plane(found: object, where: str) -> PlaneReport:
    report = as_object(found, where)
    return PlaneReport(
        running=_digest(report, "running", where),
        version=_version(report, "version", where),
        fallback=_digest(report, "fallback", where),
        fallback_version=_version(report, "fallbackVersion", where),
    )


def _digest(report: dict[str, Any], name: str, where: str) -> ContentDigest | None:
    text = report.get(name)
    if text is None or text == "":
        return None
    if not isinstance(text, str) or not DIGEST.fullmatch(text):
        raise MalformedBody(f"{where}.{name} must be sha256: and 64 hexadecimal digits")
    return ContentDigest(intern(text))


def _version(report: dict[str, Any], name: str, where: str) -> str:
    # Firmware may be called anything; a name for people is no reason to lose the digest beside it.
    text = report.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise MalformedBody(f"{where}.{name} must be a text")
    return intern(printable(text, LONGEST_VERSION))


def _text(report: dict[str, Any], name: str, form: re.Pattern[str], where: str = "") -> str:
    text = report.get(name)
    if text is None:
        return ""
    if not isinstance(text, str) or not form.fullmatch(text):
        raise MalformedBody(f"{f'{where}.' if where else ''}{name} must be a text of the form {form.pattern}")
    return intern(text)


def _flag(report: dict[str, Any], name: str) -> bool | None:
    value = report.get(name)
    if value is not None and not isinstance(value, bool):
        raise MalformedBody(f"{name} must be true or false")
    return value


def _probes(found: object) -> dict[str, bool]:
    if found is None:
        return {}
    if not isinstance(found, list) or len(found) > MOST_PROBES:
        raise MalformedBody(f"probes must be a list of at most {MOST_PROBES}")
    results: dict[str, bool] = {}
    for index, item in enumerate(found):
        probe = as_object(item, f"probes[{index}]")
        name, passed = probe.get("name"), probe.get("passed")
        if not isinstance(name, str) or not PROBE_NAME.fullmatch(name) or not isinstance(passed, bool):
            raise MalformedBody(f"probes[{index}] needs a name in lower-case letters and digits, and passed")
        results[name] = passed and results.get(name, True)
    return results


def _resources(found: object) -> dict[str, float]:
    figures = as_object({} if found is None else found, "resources")
    return {name: float(figures[name]) for name in LOWEST if _can_be_true(name, figures.get(name))}


def _can_be_true(name: str, value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Neither NaN nor infinity lies between two numbers.
    return LOWEST[name] <= value <= HIGHEST_OF.get(name, HIGHEST)


def _is_log(found: object) -> bool:
    """Whether there are any lines."""
    if found is None:
        return False
    if not isinstance(found, list) or not all(isinstance(line, str) for line in found):
        raise MalformedBody("log must be a list of texts")
    return bool(found)


def _interval(report: dict[str, Any]) -> float | None:
    value = report.get("interval")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < HIGHEST:
        raise MalformedBody("interval must be a number of seconds above zero")
    return min(max(float(value), SHORTEST_INTERVAL_SECONDS), LONGEST_INTERVAL_SECONDS)
