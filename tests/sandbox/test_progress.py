from pathlib import Path

import pytest

from backstay.sandbox import progress
from backstay.sandbox.command import CommandFailed, run_watched
from backstay.sandbox.progress import Progress, elapsed


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (61, "1:01"), (3600, "60:00")])
def test_elapsed_reads_like_a_stopwatch(seconds: float, text: str):
    assert elapsed(seconds) == text


def test_progress_says_what_and_how_far_and_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    said: list[str] = []
    counting = Progress(said.append, "counting", 3, "numbers")

    run_watched(("sh", "-c", "echo 1; echo 2; sleep 0.5"), tmp_path / "log", counting, is_step=lambda _: True)

    assert said[0] == "counting: 3 numbers"
    assert "counting: 2 of 3 numbers, 0:00 so far" in said
    assert said[-1].startswith("counting: done in 0:0")


def test_failure_shows_command_and_last_lines(tmp_path: Path):
    with pytest.raises(CommandFailed) as failure:
        run_watched(("sh", "-c", "echo broken; exit 7"), tmp_path / "log", Progress(print, "trying"))

    assert str(failure.value) == (
        f"`sh -c echo broken; exit 7` failed with status 7; its output is {tmp_path}/log and ends:\n    broken"
    )
