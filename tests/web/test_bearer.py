"""Only who has the token is let in, and a renewed one counts soon, whatever the disk does meanwhile."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backstay.errors import Refused
from backstay.web.bearer import TokenFile
from backstay.web.renewing import renewed

TOKEN = "0123456789abcdef0123456789abcdef"
NEW = "f" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


@pytest.mark.parametrize(
    ("headers", "is_admitted"),
    [
        ([f"Bearer {TOKEN}"], True),
        ([f"bearer {TOKEN}"], True),
        ([], False),
        ([f"Basic {TOKEN}"], False),
        ([TOKEN], False),
        (["Bearer "], False),
        ([f"Bearer {TOKEN}0"], False),
        ([f"Bearer {TOKEN[:-1]}"], False),
        (["Bearer \udcff"], False),
        ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], False),
    ],
)
def test_token_admits_just_who_carries_it(path, headers, is_admitted):
    assert TokenFile(path).admits(headers) is is_admitted


def replaced(path: Path, content: str) -> None:
    new = path.with_name("new")
    new.write_text(content)
    new.replace(path)


async def until_admitted(tokens: TokenFile, token: str) -> None:
    async with asyncio.timeout(30):
        while not tokens.admits([f"Bearer {token}"]):
            await asyncio.sleep(0.02)


async def test_token_counts_without_a_restart_when_its_file_changes(path):
    tokens = TokenFile(path)
    async with renewed(tokens):
        replaced(path, NEW)
        await until_admitted(tokens, NEW)
    assert not tokens.admits([f"Bearer {TOKEN}"])


@contextmanager
def hanging(path: Path) -> Iterator[None]:
    """A file that is there and whose content does not come: a pipe that nobody writes to."""
    path.unlink()
    os.mkfifo(path)
    try:
        yield
    finally:
        # Whoever waits for it is let go, and nobody comes after them.
        writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        path.unlink()
        os.close(writer)


async def test_request_does_not_wait_for_the_disk_when_the_file_cannot_be_read_now(path):
    tokens = TokenFile(path)
    async with renewed(tokens):
        with hanging(path):
            assert tokens.admits([f"Bearer {TOKEN}"])
            assert not tokens.admits(["Bearer of a stranger"])
        replaced(path, NEW)
        await until_admitted(tokens, NEW)


@pytest.mark.parametrize("content", ["", "short", None])
def test_last_token_stays_when_the_new_one_is_none(path, content, caplog):
    tokens = TokenFile(path)
    path.unlink() if content is None else path.write_text(content)
    tokens.take_up_changes()
    assert tokens.admits([f"Bearer {TOKEN}"])
    assert "the last one stays" in caplog.text


@pytest.mark.parametrize("content", ["", "too short", "x" * 5000, None])
def test_token_is_refused_at_the_start_when_it_is_no_secret(path, content):
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(Refused, match=str(path)):
        TokenFile(path)
