import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.core.devices import RevisionName
from backstay.core.requests import LONGEST, Request, Unreadable, Verb, parse_request

FORM = "it must read <verb>@<revision>/<ring>/<nonce>, such as approve@0ff0650b3c-3/canary/1"


@pytest.mark.parametrize("verb", list(Verb))
def test_request_is_read_and_keeps_its_text(verb: Verb) -> None:
    text = f"{verb}@0ff0650b3c-3/canary/2026-01-05T12:00"
    assert parse_request(text, "ada") == Request(
        text, verb, RevisionName("0ff0650b3c-3"), "canary", "2026-01-05T12:00", "ada"
    )


def test_request_is_nobodys_when_the_cluster_does_not_say_whose_it_is() -> None:
    found = parse_request("resume@0ff0650b3c-3/-/1")
    assert isinstance(found, Request)
    assert found.by == ""


def test_request_names_its_form_when_it_cannot_be_read() -> None:
    assert parse_request("please go on") == Unreadable("please go on", f"'please go on' is not a request; {FORM}")


def test_request_names_the_verbs_when_it_asks_for_another() -> None:
    text = "promote@0ff0650b3c-3/canary/1"
    assert parse_request(text) == Unreadable(text, f"'promote' is not one of approve, retry, rollback, resume; {FORM}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "approve",
        "Approve@0ff0650b3c-3/canary/1",
        "approve@0FF0650B3C-3/canary/1",
        "approve@0ff0650b3c/canary/1",
        "approve@0ff0650b3c-3/canary",
        "approve@0ff0650b3c-3/canary/",
        "approve@0ff0650b3c-3/canary/1 ",
        " approve@0ff0650b3c-3/canary/1",
        "approve@0ff0650b3c-3/canary/1\n",
        "approve@0ff0650b3c-3/canary/1/2",
    ],
)
def test_request_is_unreadable_when_it_is_not_of_the_form(text: str) -> None:
    found = parse_request(text)
    assert isinstance(found, Unreadable)
    assert found.text == text


def test_request_is_acknowledged_in_short_when_it_is_too_long_for_a_status() -> None:
    found = parse_request("x" * 5000)
    assert isinstance(found, Unreadable)
    assert found.text == "x" * LONGEST
    assert found.why == f"{'x' * 80!r} is not a request; {FORM}"


@given(st.text())
def test_request_of_any_text_is_answered_within_the_bounds_of_a_status(text: str) -> None:
    found = parse_request(text)
    assert len(found.text) <= LONGEST
    assert text.startswith(found.text)
