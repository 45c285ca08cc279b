"""An independent recount of a rollout, from the API server's own record of every write.

It shares no code with what it judges: it knows the form of the objects and of the audit log, and nothing of how the
operator decides. What the plan allows is told to it by the test that wrote the plan.

Source: https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/ (audit.k8s.io/v1, one JSON event a line).
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

Json = dict[str, Any]

OPERATOR = "system:serviceaccount:backstay-system:backstay-operator"
ANSWERS = {"Confirmed", "RolledBack", "Failed", "InstalledUnverified"}
FORWARD = {"Rolling", "Stabilizing", "Succeeded"}
BACK = {"RollingBack", "Verifying", "RolledBack", "Unresolved"}


@dataclass(frozen=True, slots=True)
class Ring:
    """What the plan of the test says of a ring, worked out by the test."""

    name: str
    budget: int
    """So many of its devices may be in flight."""
    needed: int
    """So many of its devices must be confirmed before the next ring is touched."""
    soak: timedelta


class Kind(StrEnum):
    """What can be wrong."""

    LOG_HAS_GAPS = "the log misses a write"
    STRANGER = "somebody else gave an order"
    NUMBER_SKIPPED = "a number did not grow by one"
    MEANING_CHANGED = "a number or a revision means two things"
    ORDERED_TWICE = "the same install was ordered twice"
    ORDERED_OVER = "an install was ordered over a step that was still open"
    BUDGET_EXCEEDED = "more devices in flight than the ring's budget"
    RING_SKIPPED = "a ring was touched before an earlier one had confirmed"
    SOAK_SKIPPED = "a ring was touched before the one before it had soaked"
    UNEXPLAINED = "an order that the phase on record does not explain"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong, and where in the history."""

    kind: Kind
    version: int
    words: str

    def __str__(self) -> str:
        return f"{self.kind} (at resourceVersion {self.version}): {self.words}"


@dataclass(frozen=True, slots=True)
class Write:
    """One successful write: the whole object as the server answered it."""

    version: int
    by: str
    received: datetime
    answered: datetime
    resource: str
    subresource: str
    name: str
    body: Json

    @property
    def desired(self) -> Json:
        found: Json = self.body["spec"].get("desired") or {}
        return found


@dataclass(frozen=True, slots=True)
class Order:
    """One step that a device was ordered."""

    version: int
    answered: datetime
    device: str
    number: int
    type: str
    plane: str
    content: str
    plan: str
    revision: str
    ring: str
    issued: str

    @property
    def meaning(self) -> tuple[str, ...]:
        return (self.type, self.plane, self.content, self.plan, self.revision, self.ring, self.issued)


@dataclass(slots=True)
class Seen:
    """A device as far as the history has come."""

    generation: int = 0
    desired: Json = field(default_factory=dict)
    order: Order | None = None
    planes: Json = field(default_factory=dict)

    @property
    def number(self) -> int:
        return self.order.number if self.order else 0

    @property
    def withdrawn(self) -> bool:
        return bool(self.desired.get("step", {}).get("withdrawn"))

    @property
    def begun(self) -> bool:
        return self.order is not None and self._status().get("step") == self.order.number

    @property
    def answered(self) -> bool:
        return self.begun and self._status().get("state") in ANSWERS

    @property
    def is_open(self) -> bool:
        if self.order is None or self.answered:
            return False
        return self.begun or not self.withdrawn

    def runs(self, target: Mapping[str, str]) -> bool:
        """Whether it has confirmed all of this, by its own word."""
        ends_well = not self.is_open and self._status().get("state") == "Confirmed"
        return ends_well and all(self.planes.get(p, {}).get("running") == content for p, content in target.items())

    def _status(self) -> Json:
        found: Json = self.planes.get(self.order.plane, {}) if self.order else {}
        return found


@dataclass(frozen=True, slots=True)
class Recount:
    """What was counted."""

    orders: tuple[Order, ...]
    violations: tuple[Violation, ...]
    most_in_flight: Mapping[str, int]
    """For each ring, the most of its devices that were in flight just after an order to it."""

    @property
    def kinds(self) -> set[Kind]:
        return {violation.kind for violation in self.violations}

    def holds(self) -> None:
        """Fail with everything that is wrong."""
        assert not self.violations, "\n".join(map(str, self.violations))


def recount(audit_log: Path, namespace: str, plan: str, rings: Iterable[Ring]) -> Recount:
    """Recount everything that was ever written to the devices of a namespace."""
    return recount_writes(writes_in(events_of(audit_log, namespace)), plan, rings)


def events_of(audit_log: Path, namespace: str) -> Iterator[Json]:
    """The events of one namespace, in the order of the log, which is not that of the writes."""
    mark = f'"namespace":"{namespace}"'
    with audit_log.open(encoding="utf-8") as lines:
        for line in lines:
            if mark in line and line.endswith("\n"):
                yield json.loads(line)


def writes_in(events: Iterable[Json]) -> list[Write]:
    """The successful writes on devices and plans, in the order in which they took effect."""
    found: dict[tuple[str, int], Write] = {}
    for event in events:
        reference, body = event["objectRef"], event.get("responseObject") or {}
        if event["stage"] != "ResponseComplete" or event["responseStatus"].get("code", 500) >= 300:
            continue
        if reference["resource"] not in {"edgedevices", "releaseplans"} or event["verb"].startswith("delete"):
            continue
        write = Write(
            int(body["metadata"]["resourceVersion"]),
            event["user"]["username"],
            datetime.fromisoformat(event["requestReceivedTimestamp"]),
            datetime.fromisoformat(event["stageTimestamp"]),
            reference["resource"],
            reference.get("subresource", ""),
            body["metadata"]["name"],
            body,
        )
        # A write that changes nothing is answered with the version that is there already.
        found.setdefault((write.name, write.version), write)
    return sorted(found.values(), key=lambda write: write.version)


def recount_writes(writes: Iterable[Write], plan: str, rings: Iterable[Ring]) -> Recount:
    """Replay the writes, and say of each order whether it was allowed at that moment."""
    history = list(writes)
    replay = _Replay(plan, tuple(rings), _orders_in(history))
    for write in history:
        replay.take(write)
    return Recount(tuple(replay.given), tuple(replay.violations), dict(replay.most_in_flight))


def _orders_in(writes: list[Write]) -> list[Order]:
    return [order for write in writes if write.resource == "edgedevices" and (order := _order(write))]


def _order(write: Write) -> Order | None:
    if not (step := write.desired.get("step")):
        return None
    assigned = write.desired[step["plane"]]
    return Order(
        write.version, write.answered, write.name, step["number"], step["type"], step["plane"], assigned["content"],
        assigned["plan"], assigned["revision"], assigned["ring"], step["issued"],
    )  # fmt: skip


class _Replay:
    def __init__(self, plan: str, rings: tuple[Ring, ...], orders: list[Order]) -> None:
        self._plan = plan
        self._rings = rings
        self._index = {ring.name: index for index, ring in enumerate(rings)}
        # Who belongs where is read off the whole history: a device of the ring may still be busy with an earlier step.
        self._members: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self._target: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for order in orders:
            self._members[order.revision, order.ring].add(order.device)
            if order.type == "Install":
                self._target[order.revision].setdefault(order.plane, order.content)
        self._devices: defaultdict[str, Seen] = defaultdict(Seen)
        self._meaning: dict[tuple[str, int], tuple[str, ...]] = {}
        self._installs: set[tuple[str, str, str]] = set()
        self._confirmed_at: dict[tuple[str, str], datetime] = {}
        self._begun: set[tuple[str, str]] = set()
        self._revision, self._phase, self._ring = "", "", ""
        self.given: list[Order] = []
        self.violations: list[Violation] = []
        self.most_in_flight: defaultdict[str, int] = defaultdict(int)

    def take(self, write: Write) -> None:
        if write.resource == "edgedevices":
            self._take_device(write)
        elif write.name == self._plan:
            status = write.body.get("status") or {}
            self._revision, self._phase = status.get("revision", ""), status.get("phase", "")
            self._ring = status.get("ring", "")

    def _take_device(self, write: Write) -> None:
        seen, order = self._devices[write.name], _order(write)
        self._check_writer(write, seen)
        if order is not None:
            self._check_meaning(order)
            if order.number != seen.number:
                self._check_order(order, seen)
        is_new = order is not None and order.number != seen.number
        if seen.withdrawn and is_new and seen.order and not seen.begun:
            self._installs.discard((seen.order.device, seen.order.revision, seen.order.plane))
        seen.generation = write.body["metadata"]["generation"]
        seen.desired, seen.order = write.desired, order
        seen.planes = (write.body.get("status") or {}).get("planes") or {}
        if order is not None and is_new:
            self._check_install_is_single(order)
            self._check_budget(order)
            self.given.append(order)
        if order is not None:
            self._note_confirmed(order.revision, write.received)

    def _check_writer(self, write: Write, seen: Seen) -> None:
        """Orders are the operator's; one whose answer was lost is first seen in what somebody else wrote later."""
        generation = write.body["metadata"]["generation"]
        if seen.generation and generation > seen.generation + 1:
            self._wrong(Kind.LOG_HAS_GAPS, write, f"{write.name}: generation {seen.generation}, then {generation}")
        is_spec_write = seen.generation > 0 and not write.subresource
        if is_spec_write and write.desired != seen.desired and write.by != OPERATOR:
            self._wrong(Kind.STRANGER, write, f"{write.by} changed what {write.name} shall do")

    def _check_meaning(self, order: Order) -> None:
        known = self._meaning.setdefault((order.device, order.number), order.meaning)
        if known != order.meaning:
            self._wrong(Kind.MEANING_CHANGED, order, f"{order.device} {order.number}: {known}, then {order.meaning}")

    def _check_order(self, order: Order, seen: Seen) -> None:
        if order.number != seen.number + 1:
            self._wrong(Kind.NUMBER_SKIPPED, order, f"{order.device}: {seen.number}, then {order.number}")
        if order.type == "Install" and seen.is_open:
            self._wrong(
                Kind.ORDERED_OVER, order, f"{order.device}: {seen.number} is open, and {order.number} is ordered"
            )
        if order.revision != self._revision or self._phase not in self._phases_for(order):
            record = f"revision {self._revision or 'none'} is {self._phase or 'nowhere'} in ring {self._ring}"
            self._wrong(
                Kind.UNEXPLAINED, order, f"{order.type} of {order.revision} in ring {order.ring}, while {record}"
            )
        if order.type == "Install" and order.content != self._target[order.revision][order.plane]:
            self._wrong(
                Kind.MEANING_CHANGED, order, f"{order.revision} installs two contents in the {order.plane} plane"
            )
        if self._is_forward(order):
            self._check_rings(order)

    def _phases_for(self, order: Order) -> set[str]:
        is_early = self._phase == "Rolling" and self._index.get(order.ring, 0) > self._index.get(self._ring, 0)
        forward = FORWARD - {"Rolling"} if is_early else FORWARD
        return forward if order.type == "Install" else forward | BACK

    def _is_forward(self, order: Order) -> bool:
        """Towards the plan's target: a device that leaves a bad version before it installs goes forward too."""
        return order.type == "Install" or self._phase not in BACK

    def _check_rings(self, order: Order) -> None:
        """Each earlier ring must have confirmed, and the one before this must have been watched long enough."""
        earlier = self._rings[: self._index[order.ring]]
        missing = [ring.name for ring in earlier if (order.revision, ring.name) not in self._confirmed_at]
        if missing:
            words = f"{order.device} of ring {order.ring}, while ring {missing[0]} of {order.revision} is not done"
            self._wrong(Kind.RING_SKIPPED, order, words)
        elif earlier and (order.revision, order.ring) not in self._begun:
            waited = order.answered - self._confirmed_at[order.revision, earlier[-1].name]
            if waited < earlier[-1].soak:
                words = (
                    f"ring {order.ring} of {order.revision} began {waited} after ring {earlier[-1].name} had confirmed"
                )
                self._wrong(Kind.SOAK_SKIPPED, order, words)
        self._begun.add((order.revision, order.ring))

    def _check_install_is_single(self, order: Order) -> None:
        key = (order.device, order.revision, order.plane)
        if order.type == "Install" and key in self._installs:
            self._wrong(
                Kind.ORDERED_TWICE, order, f"{order.device} was ordered the {order.plane} of {order.revision} before"
            )
        if order.type == "Install":
            self._installs.add(key)

    def _check_budget(self, order: Order) -> None:
        if not self._is_forward(order):
            return
        budget = self._rings[self._index[order.ring]].budget
        busy = {name for name in self._members[order.revision, order.ring] if self._devices[name].is_open}
        self.most_in_flight[order.ring] = max(self.most_in_flight[order.ring], len(busy))
        if len(busy) > budget:
            words = f"{len(busy)} devices of ring {order.ring} in flight, {budget} allowed: {', '.join(sorted(busy))}"
            self._wrong(Kind.BUDGET_EXCEEDED, order, words)

    def _confirmed(self, revision: str, ring: str) -> int:
        target = self._target[revision]
        return sum(self._devices[name].runs(target) for name in self._members[revision, ring])

    def _note_confirmed(self, revision: str, at: datetime) -> None:
        for ring in self._rings:
            if self._confirmed(revision, ring.name) >= ring.needed:
                self._confirmed_at.setdefault((revision, ring.name), at)

    def _wrong(self, kind: Kind, where: Write | Order, words: str) -> None:
        self.violations.append(Violation(kind, where.version, words))
