"""Prometheus's text, and the series by which health rules pick devices.

Labels come from the EdgeDevice and never from a device, so that a device can neither pose as another nor make series
without end.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from backstay.core.devices import Assignment, Device
from backstay.core.planes import Plane

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
UNKNOWN_VERSION: Final = "unknown"
"""The version label of content that the operator has never named here."""

_TO_ESCAPE: Final = re.compile(r'[\\"\n]')


def family(name: str, text: str, samples: Iterable[tuple[str, float]], kind: str = "gauge") -> bytes:
    """A metric with all its series, as labels and values; nothing where there is none."""
    name = f"backstay_{name}"
    lines = [f"{name}{{{found}}} {value!r}\n" for found, value in samples]
    return "".join([f"# HELP {name} {text}\n# TYPE {name} {kind}\n", *lines]).encode() if lines else b""


def labels(*pairs: tuple[str, str]) -> str:
    """Labels as they stand between the braces."""
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)


def info(namespace: str, device: Device, version: Callable[[Plane], str]) -> Iterator[tuple[str, float]]:
    """The series of `device_info`, one for each plan of the device; `version` names what runs in a plane."""
    versions = [(str(plane), version(plane)) for plane in Plane]
    for plan, revision, ring in _memberships(device) or (("", "", ""),):
        found = labels(
            ("namespace", namespace),
            ("device", device.name),
            *((name, device.labels.get(name, "")) for name in ("customer", "region", "site")),
            ("class", device.device_class),
            ("plan", plan),
            ("revision", revision),
            ("ring", ring),
            *versions,
        )
        yield found, 1.0


INFO: Final = ("device_info", "A device, one series for each of its plans.")


def _memberships(device: Device) -> tuple[tuple[str, str, str], ...]:
    """Each plan of the device once, by its latest assignment: two series of one plan would break every join."""
    latest: dict[str, Assignment] = {}
    for assignment in sorted(device.assigned.values(), key=_counter):
        latest[assignment.plan] = assignment
    if device.step is not None and (ordered := device.assigned.get(device.step.plane)) is not None:
        latest[ordered.plan] = ordered
    return tuple((plan, str(found.revision), found.ring) for plan, found in sorted(latest.items()))


def _counter(assignment: Assignment) -> int:
    """How many revisions the plan had before this one: the number at the end of a revision's name."""
    counter = assignment.revision.rpartition("-")[2]
    return int(counter) if counter.isascii() and counter.isdigit() else 0


def _escaped(value: str) -> str:
    if not _TO_ESCAPE.search(value):
        return value
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
