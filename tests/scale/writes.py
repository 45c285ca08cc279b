"""How often the API server was written to for each device and step, counted from its own audit log.

The operator's orders divide a device's life: its n-th spec write begins step n, and the status writes until the next
one count for it. What comes before the first, a device's first reports, is step 0. An order that is written twice so
looks like one step more; whoever counts knows how many steps there were.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

BEFORE_ANY_STEP: Final = 0
STATUS_MOST: Final = 2
_CHANGES: Final = frozenset({"update", "patch"})
_REFUSED: Final = 300


@dataclass(frozen=True, slots=True)
class Write:
    """One write of one EdgeDevice."""

    device: str
    to_status: bool
    taken: bool = True
    """Whether the API server took it."""
    received: str = ""
    """When it came in, as the API server writes it."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Writes that were taken, and how many were not."""

    spec: Counter[str] = field(default_factory=Counter)
    """By device: one for each step is what there should be."""
    status: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By device and step."""
    refused: int = 0

    def in_step(self, step: int) -> list[int]:
        """The status writes of each device that had any in this step."""
        return [count for (_, found), count in self.status.items() if found == step]

    def excess(self, steps: int) -> list[str]:
        """What was written more often than so many steps allow, in words; empty if nothing was."""
        orders = [
            f"{device}: {count} spec writes in {steps} steps, at most one each is allowed"
            for device, count in sorted(self.spec.items())
            if count > steps
        ]
        answers = [
            f"{device}: {count} status writes in step {step}, at most {STATUS_MOST} are allowed"
            for (device, step), count in sorted(self.status.items())
            if step != BEFORE_ANY_STEP and count > STATUS_MOST
        ]
        return orders + answers


def writes_in(audit_log: Path, namespace: str) -> list[Write]:
    """Read the writes of the EdgeDevices of a namespace, in the order in which they came in."""
    found = []
    with audit_log.open("rb") as lines:
        for line in lines:
            event = orjson.loads(line)
            about = event.get("objectRef", {})
            if about.get("resource") == "edgedevices" and about.get("namespace") == namespace and _changes(event):
                taken = event["responseStatus"]["code"] < _REFUSED
                to_status = about.get("subresource") == "status"
                found.append(Write(about["name"], to_status, taken, event["requestReceivedTimestamp"]))
    return sorted(found, key=lambda write: write.received)


def counted(writes: Iterable[Write]) -> Counts:
    """Count them."""
    spec: Counter[str] = Counter()
    status: Counter[tuple[str, int]] = Counter()
    refused = 0
    for write in writes:
        if not write.taken:
            refused += 1
        elif write.to_status:
            status[write.device, spec[write.device]] += 1
        else:
            spec[write.device] += 1
    return Counts(spec, status, refused)


def _changes(event: dict[str, Any]) -> bool:
    return event["verb"] in _CHANGES and event["stage"] == "ResponseComplete"
