"""A plan that is to look again knows since when, and asking again does not make it wait anew."""

import pytest

from backstay.controllers.wakes import Wakes

KEY = ("acme", "vision")
OTHER = ("acme", "audio")


class Hand:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def hand() -> Hand:
    return Hand()


def test_plan_waits_from_the_first_wake_until_it_looks(hand: Hand) -> None:
    wakes = Wakes(hand)
    flag = wakes.flag(KEY)
    assert wakes.waiting_seconds() == ()
    wakes.wake([KEY])
    hand.seconds = 5
    wakes.wake([KEY])
    assert wakes.waiting_seconds() == (5,)
    flag.clear()
    assert wakes.waiting_seconds() == ()


def test_plan_that_is_gone_waits_no_more(hand: Hand) -> None:
    wakes = Wakes(hand)
    for key in (KEY, OTHER):
        wakes.flag(key)
    wakes.wake_namespace("acme")
    assert len(wakes.waiting_seconds()) == 2
    wakes.forget(KEY)
    assert len(wakes.waiting_seconds()) == 1
