"""A sandbox that outlives its command: what is said when it does not come up."""

from pathlib import Path

import pytest

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
