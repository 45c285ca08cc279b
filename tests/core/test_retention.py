"""What is forgotten of earlier revisions, and what never is."""

from datetime import UTC, datetime, timedelta

import pytest

from backstay.core.devices import RevisionName
from backstay.core.planes import ContentDigest
from backstay.core.retention import Record, unneeded

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
OLD, NEW = RevisionName("aaaaaaaaaa-1"), RevisionName("bbbbbbbbbb-2")
FORMER, PRESENT = ContentDigest("sha256:former"), ContentDigest("sha256:present")
RECORDS = (Record(OLD, frozenset({FORMER})), Record(NEW, frozenset({PRESENT})))


def forgotten(**changes: object) -> tuple[RevisionName, ...]:
    found = {
        "current": NEW,
        "ended": {OLD: NOON - timedelta(hours=2)},
        "in_use": frozenset({PRESENT}),
        "retain": timedelta(hours=1),
        "now": NOON,
    }
    return unneeded(RECORDS, **{**found, **changes})


def test_record_is_forgotten_when_its_revision_ended_and_no_device_has_what_it_shipped() -> None:
    assert forgotten() == (OLD,)


def test_record_is_kept_while_a_device_has_what_it_shipped() -> None:
    assert forgotten(in_use=frozenset({FORMER, PRESENT})) == ()


@pytest.mark.parametrize(("retain", "gone"), [(2, (OLD,)), (3, ())])
def test_record_is_kept_as_long_as_the_plan_retains_versions(retain: int, gone: tuple[RevisionName, ...]) -> None:
    assert forgotten(retain=timedelta(hours=retain)) == gone


def test_record_of_the_running_revision_is_kept_when_no_device_has_it_yet() -> None:
    assert forgotten(current=OLD, in_use=frozenset({PRESENT})) == ()


def test_record_from_before_all_that_the_history_knows_is_forgotten() -> None:
    assert forgotten(ended={}) == (OLD,)
