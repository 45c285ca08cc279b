"""The API server's own record of every write: who was ordered what, what devices answered, how a plan stood.

Source: https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/ (audit.k8s.io/v1, one JSON event a line).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

Json = dict[str, Any]
POD = "authentication.kubernetes.io/pod-name"
"""What the API server adds to the name of whoever has a token that is bound to a Pod.

Source: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""


@dataclass(frozen=True, slots=True)
class Order:
    """A device was ordered a change: its `desired.step` grew."""

    at: str
    by: str
    device: str
    number: int
    plane: str
    type: str
    version: str
    content: str
    ring: str
    revision: str
    rehearsal: str = ""
    """What the order rehearses: RoundTrip, Break, or nothing."""
    pod: str = ""
    """The Pod whose token it was written with, by the API server; empty where it was no Pod's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A device's status was written: what it reported of one plane, where that changed."""

    at: str
    by: str
    device: str
    plane: str
    step: int
    state: str
    reason: str
    running: str
    version: str


@dataclass(frozen=True, slots=True)
class Silence:
    """A device was reported unreachable."""

    at: str
    device: str


@dataclass(frozen=True, slots=True)
class PlanStatus:
    """A plan's status as it was written."""

    at: str
    phase: str
    revision: str
    ring: str
    verdicts: list[Json]


@dataclass(frozen=True, slots=True)
class HoldWrite:
    """A hold was made or deleted."""

    at: str
    by: str
    verb: str
    name: str


@dataclass(frozen=True, slots=True)
class History:
    """What was written in a stretch of time, in that order."""

    orders: list[Order]
    answers: list[Answer]
    silences: list[Silence]
    plan: list[PlanStatus]
    holds: list[HoldWrite]


def read_history(audit_log: Path, namespace: str, plan: str, since: str, until: str) -> History:
    """Read what was written to the namespace after `since` and up to `until`.

    Everything before `since` is read too, because an order shows only against the one before it.
    """
    reader = _Reader(plan)
    for event in _events(audit_log, namespace):
        at = str(event["stageTimestamp"])
        if moment(at) <= moment(until):
            reader.take(event, at, is_counted=moment(at) > moment(since))
    return reader.history


def moment(text: str) -> datetime:
    """A time as Kubernetes writes it."""
    return datetime.fromisoformat(text)


def _events(audit_log: Path, namespace: str) -> Iterator[Json]:
    with audit_log.open(encoding="utf-8") as lines:
        for line in lines:
            # The last line may still be on its way to the disk.
            if not line.endswith("\n"):
                return
            event = json.loads(line)
            reference = event.get("objectRef", {})
            is_done = event.get("stage") == "ResponseComplete" and event["responseStatus"]["code"] < 300  # noqa: PLR2004
            if is_done and reference.get("apiGroup") == "backstay.dev" and reference.get("namespace") == namespace:
                yield event


class _Reader:
    def __init__(self, plan: str) -> None:
        self._plan = plan
        self._steps: dict[str, int] = {}
        self._planes: dict[tuple[str, str], tuple[object, ...]] = {}
        self._reachable: dict[str, str] = {}
        self.history = History([], [], [], [], [])

    def take(self, event: Json, at: str, *, is_counted: bool) -> None:
        """Take in one event."""
        reference, found = event["objectRef"], event.get("responseObject") or {}
        name = str(reference.get("name") or found.get("metadata", {}).get("name", ""))
        by = str(event["user"]["username"])
        match reference["resource"], reference.get("subresource", ""):
            case "edgedevices", "status":
                self._status(at, by, name, found.get("status", {}), is_counted=is_counted)
            case "edgedevices", "":
                (pod,) = event["user"].get("extra", {}).get(POD, [""])
                self._spec(at, by, name, found.get("spec", {}), pod, is_counted=is_counted)
            case "releaseplans", "status" if name == self._plan and is_counted:
                self._plan_status(at, found.get("status", {}))
            case "holds", "" if is_counted:
                self.history.holds.append(HoldWrite(at, by, str(event["verb"]), name))
            case _:
                pass

    def _spec(self, at: str, by: str, device: str, spec: Json, pod: str, *, is_counted: bool) -> None:
        desired = spec.get("desired") or {}
        step = desired.get("step")
        if step is None or step["number"] <= self._steps.get(device, 0):
            return
        self._steps[device] = step["number"]
        wanted = desired[step["plane"]]
        order = Order(
            at, by, device, step["number"], step["plane"], step["type"],
            wanted["version"], wanted["content"], wanted.get("ring", ""), wanted["revision"],
            step.get("rehearsal", ""), pod,
        )  # fmt: skip
        if is_counted:
            self.history.orders.append(order)

    def _status(self, at: str, by: str, device: str, status: Json, *, is_counted: bool) -> None:
        for plane, said in (status.get("planes") or {}).items():
            report = (
                said.get("step", 0), said.get("state", ""), said.get("reason", ""),
                said.get("running", ""), said.get("version", ""),
            )  # fmt: skip
            if self._planes.get((device, plane)) != report:
                self._planes[device, plane] = report
                if is_counted:
                    self.history.answers.append(Answer(at, by, device, plane, *report))
        reachable = next((c["status"] for c in status.get("conditions", ()) if c["type"] == "Reachable"), "")
        if is_counted and reachable == "False" and self._reachable.get(device) != "False":
            self.history.silences.append(Silence(at, device))
        self._reachable[device] = reachable

    def _plan_status(self, at: str, status: Json) -> None:
        verdicts = (status.get("progress") or {}).get("verdicts") or []
        self.history.plan.append(
            PlanStatus(at, status.get("phase", ""), status.get("revision", ""), status.get("ring", ""), verdicts)
        )
