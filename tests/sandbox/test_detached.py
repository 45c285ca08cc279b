"""A sandbox that outlives its command: what is said when it does not come up."""

from pathlib import Path

import pytest

from backstay.errors import Refused
from backstay.sandbox import detached
from backstay.sandbox.process import ComponentFailed
from backstay.sandbox.state import State


async def test_begin_names_the_logs_and_leaves_nothing_when_the_sandbox_takes_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(detached, "START_SECONDS", 0.05)

    with pytest.raises(ComponentFailed, match=rf"not ready after 0.05 s; {tmp_path}/up/logs"):
        await detached.begin(tmp_path / "up")

    state = State.load(tmp_path / "up")
    assert state is None or not state.alive()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (":9465", "the host is missing"),
        ("::1:9465", "stands in brackets"),
        ("127.0.0.1:99999", "from 0 to 65535"),
        ("http://127.0.0.1:9465", "neither an address nor the name"),
        ("127.0.0.1:0", "nobody answers at port 0"),
    ],
)
def test_scrape_refuses_what_nobody_can_answer_at(tmp_path: Path, address: str, why: str):
    with pytest.raises(Refused, match=why):
        detached.scrape(tmp_path, "agent", address)


def test_scrape_takes_an_ipv6_address_as_people_write_it(tmp_path: Path):
    with pytest.raises(Refused, match="no sandbox is up"):
        detached.scrape(tmp_path, "agent", "[::1]:9465")
