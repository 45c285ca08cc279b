"""How often the API server was written to for each device, counted from its own audit log.

Each write is put down to the step that the object names in `spec.desired` once it is written: 0 before the first. So a
device's first reports count apart, and the operator's order counts for the step that it orders.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

BEFORE_ANY_STEP: Final = 0
SPEC_MOST: Final = 1
STATUS_MOST: Final = 2
_CHANGES: Final = frozenset({"update", "patch"})
_REFUSED: Final = 300


@dataclass(frozen=True, slots=True)
class Write:
    """One write of one EdgeDevice."""

    device: str
    step: int
    to_status: bool
    taken: bool
    """Whether the API server took it."""
    by: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Writes that were taken, by device and step, and how many were not."""

    spec: Counter[tuple[str, int]] = field(default_factory=Counter)
    status: Counter[tuple[str, int]] = field(default_factory=Counter)
    refused: int = 0

    def steps(self) -> list[int]:
        """The numbers of the steps that were ordered."""
        return sorted({step for _, step in (*self.spec, *self.status)} - {BEFORE_ANY_STEP})

    def excess(self) -> list[str]:
        """What was written more often than it may be, in words; empty if nothing was."""
        limits = ((self.spec, SPEC_MOST, "spec"), (self.status, STATUS_MOST, "status"))
        return [
            f"{device}: {count} {what} writes in step {step}, at most {most} are allowed"
            for counter, most, what in limits
            for (device, step), count in sorted(counter.items())
            if step != BEFORE_ANY_STEP and count > most
        ]


def writes_in(audit_log: Path, namespace: str) -> Iterator[Write]:
    """Read the writes of the EdgeDevices of a namespace, in the order in which they were answered."""
    with audit_log.open("rb") as lines:
        for line in lines:
            event = orjson.loads(line)
            about = event.get("objectRef", {})
            if about.get("resource") == "edgedevices" and about.get("namespace") == namespace:
                yield from _write(event, about)


def counted(writes: Iterable[Write]) -> Counts:
    """Count them."""
    spec: Counter[tuple[str, int]] = Counter()
    status: Counter[tuple[str, int]] = Counter()
    refused = 0
    for write in writes:
        if not write.taken:
            refused += 1
            continue
        (status if write.to_status else spec)[write.device, write.step] += 1
    return Counts(spec, status, refused)


def _write(event: dict[str, Any], about: dict[str, Any]) -> Iterator[Write]:
    if event["verb"] not in _CHANGES or event["stage"] != "ResponseComplete":
        return
    found = event.get("responseObject", {})
    desired = (found.get("spec") or {}).get("desired") or {}
    yield Write(
        device=about["name"],
        step=int((desired.get("step") or {}).get("number", BEFORE_ANY_STEP)),
        to_status=about.get("subresource") == "status",
        taken=event["responseStatus"]["code"] < _REFUSED,
        by=event["user"]["username"],
    )
