"""Sessions begin with a token, and end with it."""

import base64
import json
from datetime import timedelta

import pytest

from backstay.web.sessions import LONGEST, MOST_SESSIONS, REVIEW_SECONDS, Sessions, expiry_of
from tests.web.stage import Stage


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.access.let_in("token", "ada", {})
    return stage


def jwt(claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{body}.c2ln"


async def test_session_is_its_persons(stage: Stage) -> None:
    sessions = Sessions(stage.access, stage.clock)
    opened = await sessions.open("token")
    assert opened is not None
    person = await sessions.person_in(opened[0])
    assert person is not None
    assert person.name == "ada"
    assert await sessions.person_in("another") is None


async def test_no_session_opens_with_a_token_of_nobody(stage: Stage) -> None:
    assert await Sessions(stage.access, stage.clock).open("wrong") is None


@pytest.mark.parametrize("token", ["", "x" * 20_000, "tok\nen", "tok\0en", "tökén"])
async def test_token_that_can_be_none_is_not_even_asked_about(stage: Stage, token: str) -> None:
    stage.access.people[token] = stage.access.people["token"]
    assert await Sessions(stage.access, stage.clock).person_of(token) is None


async def test_session_ends_with_its_token_and_after_half_a_day_at_the_latest(stage: Stage) -> None:
    sessions, now = Sessions(stage.access, stage.clock), stage.clock.now()
    for seconds, lasts in ((600, timedelta(minutes=10)), (10**6, LONGEST)):
        token = jwt({"exp": int(now.timestamp()) + seconds})
        stage.access.let_in(token, "ada", {})
        opened = await sessions.open(token)
        assert opened is not None
        assert abs(opened[1] - lasts) < timedelta(seconds=5)
        stage.clock.pass_by(seconds=lasts.total_seconds() + 5)
        assert await sessions.person_in(opened[0]) is None


async def test_session_ends_soon_after_its_token_was_taken_back(stage: Stage) -> None:
    sessions = Sessions(stage.access, stage.clock)
    opened = await sessions.open("token")
    assert opened is not None
    del stage.access.people["token"]
    stage.clock.pass_by(seconds=REVIEW_SECONDS + 1)
    assert await sessions.person_in(opened[0]) is None
    stage.access.let_in("token", "ada", {})
    stage.clock.pass_by(seconds=REVIEW_SECONDS + 1)
    assert await sessions.person_in(opened[0]) is None, "it does not come back to life"


async def test_oldest_session_ends_when_there_are_too_many(stage: Stage) -> None:
    sessions = Sessions(stage.access, stage.clock)
    numbers = [opened[0] for _ in range(MOST_SESSIONS + 1) if (opened := await sessions.open("token"))]
    assert await sessions.person_in(numbers[0]) is None
    assert await sessions.person_in(numbers[1]) is not None


@pytest.mark.parametrize(
    "token", ["opaque", "a.b", "e30.!!!.x", jwt([]), jwt({}), jwt({"exp": "soon"}), jwt({"exp": 1e300})]
)
def test_token_that_does_not_say_when_it_expires_is_no_error(token: str) -> None:
    assert expiry_of(token) is None


async def test_token_is_nowhere_in_what_a_session_says_of_itself(stage: Stage) -> None:
    sessions = Sessions(stage.access, stage.clock)
    await sessions.open("token")
    assert "token=" not in repr(list(sessions._open.values()))
