"""What is forgotten of earlier revisions, and what never is."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.core.devices import RevisionName
from backstay.core.planes import ContentDigest
from backstay.core.retention import Record, succeeded_after, unneeded
from backstay.core.revision import Outcome, Phase, RevisionState, counter_of

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOTHING: frozenset[ContentDigest] = frozenset()


def named(counter: int) -> RevisionName:
    return RevisionName(f"abcdef0123-{counter}")


def content(counter: int) -> ContentDigest:
    return ContentDigest(f"sha256:{counter}")


def forgotten(
    *counters: int,
    state: RevisionState,
    history: list[Outcome],
    in_use: frozenset[ContentDigest] = NOTHING,
    retain: timedelta = timedelta(0),
    now: datetime = NOON,
) -> list[int]:
    records = [Record(named(counter), frozenset({content(counter)})) for counter in counters]
    gone = unneeded(records, state=state, history=history, in_use=in_use, retain=retain, now=now)
    return [counter_of(revision) for revision in gone]


def running(counter: int, phase: Phase = Phase.SUCCEEDED) -> RevisionState:
    return RevisionState(named(counter), counter, "abcdef0123", phase, NOON)


def ended(counter: int, phase: Phase = Phase.SUCCEEDED, at: datetime = NOON - DAY) -> Outcome:
    return Outcome(named(counter), phase, at)


def test_record_is_forgotten_when_the_next_revision_succeeded_and_no_device_has_what_it_shipped() -> None:
    assert forgotten(1, 2, state=running(2), history=[ended(1)], in_use=frozenset({content(2)})) == [1]


def test_record_is_kept_when_its_revision_runs() -> None:
    assert forgotten(1, state=running(1), history=[]) == []


def test_record_is_kept_when_a_device_has_what_it_shipped() -> None:
    assert forgotten(1, 2, state=running(2), history=[ended(1)], in_use=frozenset({content(1)})) == []


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.SUCCEEDED])
def test_record_is_kept_when_nothing_after_it_has_succeeded(phase: Phase) -> None:
    assert forgotten(1, 2, state=running(2, phase), history=[ended(1)], now=NOON + DAY) == []


def test_record_is_kept_as_long_as_the_plan_retains_versions_after_the_success_of_the_next() -> None:
    times = (NOON, NOON + HOUR - timedelta(seconds=1), NOON + HOUR)
    found = [forgotten(1, 2, state=running(2), history=[ended(1)], retain=HOUR, now=at) for at in times]
    assert found == [[], [], [1]]


def test_time_counts_from_the_first_success_when_several_followed() -> None:
    history = [ended(3, at=NOON), ended(2, at=NOON - DAY), ended(1, at=NOON - 2 * DAY)]
    state = running(4, Phase.ROLLING)
    assert succeeded_after(1, state, history) == NOON - DAY
    assert forgotten(1, 2, 3, 4, state=state, history=history, retain=DAY) == [1]


def test_record_is_kept_when_the_revision_after_it_was_rolled_back() -> None:
    history = [ended(2, Phase.ROLLED_BACK), ended(1)]
    assert forgotten(1, 2, 3, state=running(3, Phase.ROLLING), history=history) == []


def test_record_is_forgotten_when_the_history_no_longer_knows_it_and_no_device_has_what_it_shipped() -> None:
    assert forgotten(1, 2, 3, state=running(3, Phase.ROLLING), history=[ended(2)], retain=DAY) == [1]


def test_record_is_kept_when_it_is_newer_than_the_state_knows() -> None:
    assert forgotten(5, state=running(2), history=[]) == []


COUNTERS = st.integers(1, 6)


@given(
    present=COUNTERS,
    phase=st.sampled_from(Phase),
    outcomes=st.lists(st.tuples(COUNTERS, st.sampled_from(Phase), st.integers(0, 48)), max_size=6),
    used=st.frozensets(COUNTERS),
    retain=st.integers(0, 24),
    later=st.integers(0, 48),
)
def test_what_is_forgotten_ran_earlier_and_is_nowhere_and_stays_forgotten(
    present: int, phase: Phase, outcomes: list[tuple[int, Phase, int]], used: frozenset[int], retain: int, later: int
) -> None:
    history = [ended(counter, how, NOON - hours * HOUR) for counter, how, hours in outcomes]
    state, in_use = running(present, phase), frozenset(map(content, used))
    now = forgotten(*range(1, 7), state=state, history=history, in_use=in_use, retain=retain * HOUR)
    at = NOON + later * HOUR
    then = forgotten(*range(1, 7), state=state, history=history, in_use=in_use, retain=retain * HOUR, now=at)
    assert set(now) <= set(then)
    assert all(counter < present and counter not in used for counter in then)


def test_revision_is_never_its_own_successor() -> None:
    assert succeeded_after(2, running(2), []) is None
    assert succeeded_after(1, running(2), []) == NOON
    assert succeeded_after(2, running(3, Phase.ROLLING), [ended(2)]) is None
