"""Conditions keep their time as long as their status stays."""

from datetime import UTC, datetime, timedelta

from backstay.controllers.conditions import Says, conditions

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_condition_keeps_its_time_when_only_its_words_change() -> None:
    before = conditions([Says("Ready", status=False, reason="Rolling", message="1 of 6")], (), 1, NOON)
    later = NOON + timedelta(minutes=1)
    (after,) = conditions([Says("Ready", status=False, reason="Soaking", message="2 of 6")], before, 2, later)
    assert after["lastTransitionTime"] == before[0]["lastTransitionTime"]
    assert (after["reason"], after["observedGeneration"]) == ("Soaking", 2)


def test_condition_gets_a_new_time_when_its_status_changes() -> None:
    before = conditions([Says("Ready", status=False, reason="Rolling")], (), 1, NOON)
    (after,) = conditions([Says("Ready", status=True, reason="Succeeded")], before, 1, NOON + timedelta(minutes=1))
    assert after["lastTransitionTime"] == "2026-01-05T12:01:00.000000Z"


def test_condition_is_unknown_when_nobody_knows() -> None:
    (found,) = conditions([Says("Verified", None, "NoPublicKeys")], (), 1, NOON)
    assert found["status"] == "Unknown"
