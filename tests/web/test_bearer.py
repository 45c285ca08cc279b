"""Only who has the token is let in, and a renewed one counts at once."""

from pathlib import Path

import pytest

from backstay.errors import Refused
from backstay.web.bearer import TokenFile

TOKEN = "0123456789abcdef0123456789abcdef"


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


def test_token_counts_at_once_when_its_file_changes(path):
    tokens = TokenFile(path)
    new = path.with_name("new")
    new.write_text("f" * 32)
    new.replace(path)
    assert tokens.admits([f"Bearer {'f' * 32}"])
    assert not tokens.admits([f"Bearer {TOKEN}"])


@pytest.mark.parametrize("content", ["", "short", None])
def test_last_token_stays_when_the_new_one_is_none(path, content, caplog):
    tokens = TokenFile(path)
    path.unlink() if content is None else path.write_text(content)
    assert tokens.admits([f"Bearer {TOKEN}"])
    assert "the last one stays" in caplog.text


@pytest.mark.parametrize("content", ["", "too short", "x" * 5000, None])
def test_token_is_refused_at_the_start_when_it_is_no_secret(path, content):
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(Refused, match=str(path)):
        TokenFile(path)
