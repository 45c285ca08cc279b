"""When a node is in safe mode, and what ends it."""

from datetime import timedelta

from backstay.core.safe_mode import MOST_STARTS, STEADY, Starts, reasons_for_safe_mode

CRASH = "crash"


def after(*ends: str) -> Starts:
    """What is remembered once an agent has started after others that ended so."""
    starts = Starts()
    for end in ends:
        starts = starts.started()
        match end:
            case "told":
                starts = starts.ended()
            case "steady":
                starts = starts.steady()
    return starts.started()


def test_node_gives_up_when_one_start_too_many_came_to_nothing() -> None:
    assert not after(*[CRASH] * (MOST_STARTS - 1)).gave_up
    assert after(*[CRASH] * MOST_STARTS).gave_up


def test_starts_in_a_row_are_counted_and_a_steady_one_ends_the_row() -> None:
    assert after(*[CRASH] * 4, "steady", *[CRASH] * 4) == Starts(5)
    assert timedelta(minutes=1) < STEADY < timedelta(hours=1)


def test_start_that_ended_as_it_was_told_to_does_not_count() -> None:
    assert after(*["told"] * 50) == Starts(1)
    assert after(CRASH, "told", CRASH, "told") == Starts(3)


def test_only_a_person_takes_it_back_that_a_node_gave_up() -> None:
    gave_up = after(*[CRASH] * MOST_STARTS)
    for later in (gave_up.steady(), gave_up.ended(), gave_up.steady().started()):
        assert later.gave_up


def test_reasons_say_what_ends_each_of_them() -> None:
    assert reasons_for_safe_mode(ordered=False, file=None, starts=Starts(MOST_STARTS)) == ()
    assert reasons_for_safe_mode(ordered=True, file="/etc/backstay/safe-mode", starts=Starts(0, gave_up=True)) == (
        "spec.mode is Safe",
        "the file /etc/backstay/safe-mode is there",
        "more than 5 starts in a row came to nothing; `backstay recover` ends it",
    )
    assert reasons_for_safe_mode(ordered=False, file=None, starts=Starts(), rescued=True) == (
        "the recovery system runs; `backstay recover` boots the one before",
    )
