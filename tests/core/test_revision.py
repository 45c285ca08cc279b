"""Which plan rules a revision that runs: its snapshot, and what is written now where that counts at once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from backstay.core.plan import Count
from backstay.core.revision import Phase, RevisionState, revision_named, ruling_plan
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
