"""What an operator says of itself: whether it could work now, as what, and why not."""

from collections.abc import Iterator

import pytest

from backstay.controllers.store import Store
from backstay.controllers.vitals import STALE_SECONDS, Vitals


def states() -> Iterator[tuple[Vitals, bool, bool, str]]:
    """How it is, whether it is ready and leads, and what it says."""
    yield Vitals(), False, False, "starting: the Lease has not been read"
    for holder, is_ready, words in (
        ("other-1", True, "standby: ready to take over from other-1"),
        ("", True, "standby: ready to take over from nobody"),
        (None, False, "standby: the Lease cannot be read, so it could not take over"),
    ):
        waiting = Vitals()
        waiting.waits(lambda holder=holder: holder)
        yield waiting, is_ready, False, words
    syncing = Vitals()
    syncing.syncs()
    yield syncing, False, True, "syncing: the first complete list is not there yet"
    for age, is_ready in ((3.0, True), (STALE_SECONDS, False)):
        leading = Vitals()
        leading.leads(Store(), lambda age=age: age)
        yield leading, is_ready, True, f"leading: 0 plans, 0 devices, view {age:.0f} s old"
    ending = Vitals()
    ending.ends()
    yield ending, False, False, "ending: told to stop"


@pytest.mark.parametrize(("vitals", "is_ready", "is_leading", "words"), tuple(states()))
def test_operator_says_what_it_could_do_now(vitals: Vitals, is_ready: bool, is_leading: bool, words: str) -> None:
    assert vitals.readiness() == (is_ready, words)
    assert vitals.is_leading is is_leading


@pytest.mark.parametrize(
    ("holder", "words"),
    [("other-1", "other-1 leads."), ("", "Nobody leads yet."), (None, "Who leads is not known")],
)
def test_operator_that_waits_says_who_leads_by_what_it_has_read(holder: str | None, words: str) -> None:
    vitals = Vitals()
    assert vitals.who_leads().startswith("Who leads is not known")
    vitals.waits(lambda: holder)
    assert vitals.who_leads().startswith(words)
    vitals.syncs()
    assert vitals.who_leads() == "This replica leads, and has not seen everything yet."
