"""Which plan rules a revision that runs: its snapshot, and what is written now where that counts at once."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest

from backstay.core.devices import RevisionName
from backstay.core.plan import Count, Plan, Ring
from backstay.core.reasons import Because, Reason
from backstay.core.revision import (
    Outcome,
    Phase,
    RevisionState,
    counter_of,
    ending_of,
    next_revision,
    revision_named,
    ruling_plan,
)
from backstay.core.windows import Window
from tests.laws.release_world import plan_of

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
PLAN = plan_of()
NAME = revision_named(None, PLAN)
STATE = RevisionState(NAME, 1, NAME.partition("-")[0], Phase.ROLLING, NOON)


@pytest.mark.parametrize("retain", [timedelta(0), timedelta(days=14)])
def test_ruling_plan_keeps_versions_as_long_as_is_written_now_when_that_was_edited(retain: timedelta) -> None:
    snapshot = replace(PLAN, retain=timedelta(hours=1))
    ruling = ruling_plan(STATE, replace(PLAN, retain=retain), snapshot)
    assert ruling is not None
    assert ruling.retain == retain


@pytest.mark.parametrize(("written", "rules"), [(1, 1), (9, 3)], ids=["stricter", "laxer"])
def test_ruling_plan_takes_an_edit_of_a_running_revision_only_when_it_is_stricter(written: int, rules: int) -> None:
    def with_budget(devices: int) -> object:
        return replace(PLAN, rings=tuple(replace(ring, in_flight=Count(devices)) for ring in PLAN.rings))

    ruling = ruling_plan(STATE, with_budget(written), with_budget(3))  # type: ignore[arg-type]
    assert ruling is not None
    assert {ring.in_flight.of(100) for ring in ruling.rings} == {rules}


def test_ruling_plan_is_the_snapshot_when_the_versions_of_the_plan_cannot_be_resolved() -> None:
    assert ruling_plan(STATE, None, PLAN) is PLAN


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("after", [True, False])
def test_ruling_plan_rolls_back_by_itself_only_while_both_say_so(before: bool, after: bool) -> None:
    def automatic(is_automatic: bool) -> Plan:
        return replace(PLAN, rollback=replace(PLAN.rollback, automatic=is_automatic))

    ruling = ruling_plan(STATE, automatic(after), automatic(before))
    assert ruling is not None
    assert ruling.rollback.automatic is (before and after)


MONDAYS = Window(frozenset({0}), time(9), time(16), UTC)
TUESDAYS = replace(MONDAYS, days=frozenset({1}))
LAX = Ring("canary", max_failed=Count(5), soak=timedelta(minutes=1), windows=(MONDAYS,))
STRICT = Ring(
    "canary", max_failed=Count(2), soak=timedelta(minutes=2), windows=(MONDAYS, TUESDAYS), needs_approval=True
)


@pytest.mark.parametrize("written", [LAX, STRICT])
@pytest.mark.parametrize("recorded", [LAX, STRICT])
def test_ruling_plan_takes_of_each_rule_of_a_ring_the_stricter_one(written: Ring, recorded: Ring) -> None:
    ruling = ruling_plan(STATE, replace(PLAN, rings=(written,)), replace(PLAN, rings=(recorded,)))
    assert ruling is not None
    (ring,) = ruling.rings
    is_strict = STRICT in {written, recorded}
    assert ring.needs_approval is is_strict
    assert ring.max_failed.of(100) == (2 if is_strict else 5)
    assert ring.soak == timedelta(minutes=2 if is_strict else 1)
    assert set(ring.windows) == ({MONDAYS, TUESDAYS} if is_strict else {MONDAYS})


def test_ruling_plan_keeps_a_ring_that_is_no_longer_written() -> None:
    ruling = ruling_plan(STATE, replace(PLAN, rings=()), replace(PLAN, rings=(STRICT,)))
    assert ruling is not None
    assert ruling.rings == (STRICT,)


def test_next_revision_takes_a_counter_that_neither_the_plan_nor_a_device_has_used() -> None:
    assert counter_of(revision_named(None, PLAN)) == 1
    assert counter_of(next_revision(None, PLAN)) == 1
    assert counter_of(revision_named(None, PLAN, used=4)) == 5
    assert counter_of(next_revision(replace(STATE, counter=6), PLAN, used=4)) == 7
    other = replace(STATE, hash="0000000000", counter=2)
    assert counter_of(revision_named(other, PLAN, used=4)) == 5


@pytest.mark.parametrize(
    ("name", "counter"), [("abcdef0123-12", 12), ("a-b-3", 3), ("abcdef0123", 0), ("", 0), ("a-x", 0)]
)
def test_counter_is_what_stands_behind_the_last_dash(name: str, counter: int) -> None:
    assert counter_of(RevisionName(name)) == counter


@pytest.mark.parametrize(
    ("phase", "as_what"),
    [
        (Phase.ROLLING, Phase.SUPERSEDED),
        (Phase.PENDING, Phase.SUPERSEDED),
        (Phase.SUCCEEDED, Phase.SUCCEEDED),
        (Phase.HALTED, Phase.HALTED),
    ],
)
def test_revision_ends_as_it_stood_or_as_superseded(phase: Phase, as_what: Phase) -> None:
    cause = Because(Reason.STEP_FAILED, "cam-1 fell back")
    assert ending_of(replace(STATE, phase=phase), NOON) == Outcome(NAME, as_what, NOON)
    assert ending_of(replace(STATE, phase=phase, cause=cause), NOON) == Outcome(NAME, as_what, NOON, "cam-1 fell back")


def test_revision_that_never_was_has_no_ending() -> None:
    assert ending_of(None, NOON) is None
    assert ending_of(replace(STATE, counter=0), NOON) is None
    assert ending_of(replace(STATE, revision=RevisionName("")), NOON) is None
