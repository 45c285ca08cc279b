"""A plane's progress as JSON values, so that a device can keep it through a reboot.

What time and probes said before a reboot is not kept: the window and the proofs begin anew after it.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from backstay.core.device import Cause, Order, Probe, Progress, Reason
from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import ContentDigest, Plane, Requirement, VersionRange
from backstay.core.quantities import seconds_of

_OWN_FIELDS: Final = ("name", "kind", "within")
"""What every probe has; the others are settings of its kind."""


def to_record(progress: Progress) -> dict[str, Any]:
    """Return what of the progress survives a reboot."""
    return {
        "state": str(progress.state),
        "changed": progress.changed,
        "cause": [str(progress.cause.reason), progress.cause.detail] if progress.cause else None,
        "order": _order_record(progress.order) if progress.order else None,
    }


def from_record(record: Mapping[str, Any]) -> Progress:
    """Read a progress back.

    Raises:
        ValueError, KeyError, TypeError: the record was not written by `to_record`.
    """
    cause, order = record["cause"], record["order"]
    return Progress(
        state=PlaneState(record["state"]),
        changed=bool(record["changed"]),
        cause=Cause(Reason(cause[0]), str(cause[1])) if cause else None,
        order=_order(order) if order else None,
    )


def _order_record(order: Order) -> dict[str, Any]:
    return {
        "number": order.number,
        "plane": str(order.plane),
        "type": str(order.type),
        "content": order.content,
        "version": order.version,
        "window": order.window.total_seconds(),
        "probes": [_probe_record(probe) for probe in order.probes],
        "requires": {str(need.plane): need.range.text for need in order.requires},
        **{name: True for name, said in (("rehearsal", order.rehearsal), ("again", order.again)) if said},
    }


def _order(record: Mapping[str, Any]) -> Order:
    return Order(
        number=int(record["number"]),
        plane=Plane(record["plane"]),
        type=StepType(record["type"]),
        content=ContentDigest(record["content"]),
        version=str(record["version"]),
        probes=tuple(_probe(*found) for found in record["probes"]),
        window=timedelta(seconds=record["window"]),
        requires=requirements(record["requires"]),
        rehearsal=bool(record.get("rehearsal")),
        again=bool(record.get("again")),
    )


def _probe_record(probe: Probe) -> list[Any]:
    within = [] if probe.within is None else [probe.within.total_seconds()]
    return [probe.name, probe.kind, dict(probe.settings), *within]


def _probe(name: str, kind: str, settings: Mapping[str, str], within: float | None = None) -> Probe:
    return Probe(name, kind, tuple(settings.items()), None if within is None else timedelta(seconds=within))


def probe_ordered(found: Mapping[str, Any]) -> Probe:
    """Read a probe as an order carries it, from the API or a bridge; its settings stay text, for its kind to read.

    Raises:
        ValueError, KeyError: it has no name or kind, or `within` is no duration.
    """
    settings = tuple((str(name), str(value)) for name, value in sorted(found.items()) if name not in _OWN_FIELDS)
    within = timedelta(seconds=seconds_of(str(found["within"]))) if found.get("within") else None
    return Probe(str(found["name"]), str(found["kind"]), settings, within)


def requirements(ranges: Mapping[str, str]) -> tuple[Requirement, ...]:
    """Read requirements from a mapping of plane to range.

    Raises:
        ValueError: a plane or a range is not one.
    """
    return tuple(Requirement(Plane(plane), VersionRange.parse(text)) for plane, text in sorted(ranges.items()))
