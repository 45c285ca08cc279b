"""The recount finds nothing in a history that is right, and each kind of wrong in one that has it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults.recount import OPERATOR, Kind, Ring, recount, recount_writes, writes_in

Json = dict[str, Any]

RINGS = (
    Ring("canary", budget=1, needed=1, soak=timedelta(seconds=10)),
    Ring("everyone", budget=2, needed=3, soak=timedelta(seconds=10)),
)
BRIDGE = "system:serviceaccount:acme:bridge-gw"
GOOD, BAD = "sha256:good", "sha256:bad"


class Story:
    """An audit log in the making, one second between two writes."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self.now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        self._version = 100
        self._devices: dict[str, Json] = {}
        for name in ("a", "b", "c", "d"):
            self._devices[name] = {"generation": 1, "spec": {}, "status": {"planes": {}}}
            self._write(name, "create", BRIDGE)

    def plan(self, phase: str, ring: str, revision: str = "r-1") -> None:
        body = {"metadata": {"name": "vision"}, "status": {"revision": revision, "phase": phase, "ring": ring}}
        self._event("releaseplans", "status", "patch", OPERATOR, body)

    def order(
        self, name: str, ring: str, content: str = GOOD, *, by: str = OPERATOR, logged: bool = True, **step: Any
    ) -> None:
        device = self._devices[name]
        number = device["spec"].get("desired", {}).get("step", {}).get("number", 0) + 1
        given = {"number": number, "plane": "model", "type": "Install", "issued": self.now.isoformat()} | step
        revision = given.pop("revision", "r-1")
        assigned = {"content": content, "plan": "vision", "revision": revision, "ring": ring}
        device["spec"] = {"desired": {given["plane"]: assigned, "step": given}}
        device["generation"] += 1
        self._write(name, "patch", by, logged=logged)

    def withdraw(self, name: str) -> None:
        self._devices[name]["spec"]["desired"]["step"]["withdrawn"] = True
        self._devices[name]["generation"] += 1
        self._write(name, "patch", OPERATOR)

    def begin(self, name: str) -> None:
        self._answer(name, {"state": "Downloading"})

    def confirm(self, name: str) -> None:
        desired = self._devices[name]["spec"]["desired"]
        content = desired[desired["step"]["plane"]]["content"]
        self._answer(name, {"state": "Confirmed", "running": content})

    def fail(self, name: str) -> None:
        self._answer(name, {"state": "RolledBack", "reason": "ProbeFailed"})

    def carry_out(self, *names: str) -> None:
        for name in names:
            self.begin(name)
            self.confirm(name)

    def canary(self, content: str = GOOD) -> None:
        """The canary ring, as it should be, to the end of its soak."""
        self.plan("Rolling", "canary")
        self.order("a", "canary", content)
        self.carry_out("a")
        self.plan("Soaking", "canary")
        self.now += timedelta(seconds=10)
        self.plan("Rolling", "everyone")

    def _answer(self, name: str, said: Json) -> None:
        step = self._devices[name]["spec"]["desired"]["step"]
        planes = self._devices[name]["status"]["planes"]
        planes[step["plane"]] = planes.get(step["plane"], {}) | {"step": step["number"]} | said
        self._write(name, "patch", BRIDGE, subresource="status")

    def _write(self, name: str, verb: str, by: str, *, subresource: str = "", logged: bool = True) -> None:
        device = self._devices[name]
        metadata = {"name": name, "generation": device["generation"]}
        body = {"metadata": metadata, "spec": device["spec"], "status": device["status"]}
        self._event("edgedevices", subresource, verb, by, body, logged=logged)

    def _event(self, resource: str, subresource: str, verb: str, by: str, body: Json, *, logged: bool = True) -> None:
        self._version += 1
        self.now += timedelta(seconds=1)
        body["metadata"]["resourceVersion"] = str(self._version)
        event = {
            "stage": "ResponseComplete", "verb": verb, "user": {"username": by},
            "objectRef": {"resource": resource, "subresource": subresource, "namespace": "acme"},
            "responseStatus": {"code": 200}, "responseObject": body,
            "requestReceivedTimestamp": self.now.isoformat(), "stageTimestamp": self.now.isoformat(),
        }  # fmt: skip
        if logged:
            self.events.append(json.loads(json.dumps(event)))


def rollout() -> Story:
    """A rollout as it should be; one order is taken back and given again, and the answer to another was lost."""
    story = Story()
    story.canary()
    story.order("b", "everyone")
    story.order("c", "everyone")
    story.withdraw("c")
    story.order("d", "everyone", logged=False)
    story.carry_out("b", "d")
    story.order("c", "everyone")
    story.carry_out("c")
    story.plan("Stabilizing", "everyone")
    return story


def rollback() -> Story:
    story = Story()
    story.canary(BAD)
    story.order("b", "everyone", BAD)
    story.order("c", "everyone", BAD)
    story.begin("b")
    story.begin("c")
    story.fail("b")
    story.plan("RollingBack", "everyone")
    story.order("c", "everyone", "sha256:before", type="Return")
    story.order("a", "canary", "sha256:before", type="Return")
    story.confirm("c")
    story.confirm("a")
    story.plan("RolledBack", "everyone")
    return story


def gap(story: Story) -> None:
    story.order("b", "everyone", logged=False)
    story.order("b", "everyone", logged=False)
    story.begin("b")


def stranger(story: Story) -> None:
    story.order("b", "everyone", by="system:serviceaccount:other:operator")


def skipped_number(story: Story) -> None:
    story.order("b", "everyone", number=2)


def reused_number(story: Story) -> None:
    story.order("b", "everyone")
    story.order("b", "everyone", BAD, number=1)


def two_contents_in_one_revision(story: Story) -> None:
    story.order("b", "everyone", BAD)


def twice(story: Story) -> None:
    story.order("b", "everyone")
    story.carry_out("b")
    story.order("b", "everyone")


def twice_after_begun_withdrawal(story: Story) -> None:
    story.order("b", "everyone")
    story.begin("b")
    story.withdraw("b")
    story.fail("b")
    story.order("b", "everyone")


def over_an_open_step(story: Story) -> None:
    story.order("b", "everyone")
    story.begin("b")
    story.order("b", "everyone", plane="config")


def over_budget(story: Story) -> None:
    story.order("b", "everyone")
    story.order("c", "everyone")
    story.order("d", "everyone")


def over_budget_while_one_is_silent(story: Story) -> None:
    story.order("b", "everyone")
    story.begin("b")
    story.order("c", "everyone")
    story.withdraw("c")
    story.begin("c")
    story.order("d", "everyone")


def order_of_another_revision(story: Story) -> None:
    story.plan("Rolling", "canary", "r-2")
    story.order("a", "canary", revision="r-1")


def install_during_rollback(story: Story) -> None:
    story.plan("RollingBack", "everyone")
    story.order("b", "everyone")


@pytest.mark.parametrize("history", [rollout, rollback])
def test_recount_finds_nothing_when_everything_is_right(history: Callable[[], Story]) -> None:
    story = history()
    found = recount_writes(writes_in(story.events), "vision", RINGS)
    found.holds()
    assert found.most_in_flight["everyone"] == 2
    assert len(found.orders) == 5


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (gap, Kind.LOG_HAS_GAPS),
        (stranger, Kind.STRANGER),
        (skipped_number, Kind.NUMBER_SKIPPED),
        (reused_number, Kind.MEANING_CHANGED),
        (two_contents_in_one_revision, Kind.MEANING_CHANGED),
        (twice, Kind.ORDERED_TWICE),
        (twice_after_begun_withdrawal, Kind.ORDERED_TWICE),
        (over_an_open_step, Kind.ORDERED_OVER),
        (over_budget, Kind.BUDGET_EXCEEDED),
        (over_budget_while_one_is_silent, Kind.BUDGET_EXCEEDED),
        (order_of_another_revision, Kind.UNEXPLAINED),
        (install_during_rollback, Kind.UNEXPLAINED),
    ],
)
def test_recount_names_what_is_wrong_when_one_thing_is(wrong: Callable[[Story], None], kind: Kind) -> None:
    story = Story()
    story.canary()
    wrong(story)
    found = recount_writes(writes_in(story.events), "vision", RINGS)
    assert kind in found.kinds
    with pytest.raises(AssertionError, match=kind):
        found.holds()


def test_recount_names_the_ring_when_a_later_one_begins_first() -> None:
    story = Story()
    story.plan("Rolling", "canary")
    story.order("a", "canary")
    story.begin("a")
    story.order("b", "everyone")
    found = recount_writes(writes_in(story.events), "vision", RINGS)
    assert found.kinds == {Kind.RING_SKIPPED, Kind.UNEXPLAINED}


def test_recount_names_the_ring_when_it_claims_success_and_runs_something_else() -> None:
    story = Story()
    story.plan("Rolling", "canary")
    story.order("a", "canary")
    story._answer("a", {"state": "Confirmed", "running": "sha256:other"})
    story.now += timedelta(seconds=10)
    story.plan("Rolling", "everyone")
    story.order("b", "everyone")
    found = recount_writes(writes_in(story.events), "vision", RINGS)
    assert found.kinds == {Kind.RING_SKIPPED}


def test_recount_measures_the_soak_when_it_is_cut_short() -> None:
    story = Story()
    story.plan("Rolling", "canary")
    story.order("a", "canary")
    story.carry_out("a")
    story.plan("Rolling", "everyone")
    story.order("b", "everyone")
    found = recount_writes(writes_in(story.events), "vision", RINGS)
    assert found.kinds == {Kind.SOAK_SKIPPED}


def test_recount_reads_one_namespace_in_the_order_of_the_writes_when_the_log_has_another(tmp_path: Path) -> None:
    events = list(reversed(rollout().events))
    refused = events[3] | {"responseStatus": {"code": 409}}
    other = json.loads(json.dumps(events[0]).replace('"namespace": "acme"', '"namespace": "other"'))
    log = tmp_path / "audit.log"
    lines = [json.dumps(event, separators=(",", ":")) for event in [refused, *events, other, events[0]]]
    log.write_text("\n".join(lines) + '\n{"half of a line "namespace":"acme"')
    found = recount(log, "acme", "vision", RINGS)
    found.holds()
    assert len(found.orders) == 5
