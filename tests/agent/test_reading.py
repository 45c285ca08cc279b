"""What a person reads on the node when nothing else answers."""

from datetime import timedelta
from pathlib import Path

import pytest

from backstay.agent.journal import Journal
from backstay.agent.keeping import Keeping
from backstay.agent.reading import lines
from backstay.core.safe_mode import MOST_STARTS
from tests.agent.bench import Bench, digest, order

ONE, TWO, THREE, FOUR = b"one", b"two", b"three", b"four"
GAVE_UP = "more than 5 starts in a row came to nothing; `backstay recover` ends it"


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    """A node on which the fourth model failed after three good ones, and which then kept starting for nothing."""
    made = Bench(tmp_path)
    await made.started()
    for number, data in enumerate((ONE, TWO, THREE), 1):
        await made.carry_out(order(number, data), data)
    made.passes, made.detail = False, "85.0% of 20 samples agree"
    await made.carry_out(order(4, FOUR), FOUR)
    await Keeping(made.machine, made.time, lambda: (1, 1)).tidy(lambda _: timedelta(weeks=2))
    for _ in range(MOST_STARTS + 1):
        await made.started()
        await made.safety.begin()
    await made.safety.look(ordered=False)
    return made


async def test_history_is_told_in_order_and_each_thing_that_went_wrong_says_why(bench: Bench) -> None:
    told = list(lines(bench.journal, bench.safety.file))
    assert told[4] == "2026-01-05T12:01:40+00:00  model     step 1, Install 1.0.0: Confirmed"
    assert [line[27:] for line in told[19 : told.index("")]] == [
        "model     step 4, Install 4.0.0: RolledBack (ProbeFailed: inference: 85.0% of 20 samples agree)",
        f"model     {digest(FOUR)[:19]} was deleted: it failed here",
        f"node      safe mode: {GAVE_UP}",
    ]


async def test_standing_says_what_runs_is_frozen_and_is_kept(bench: Bench) -> None:
    told = list(lines(bench.journal, bench.safety.file))
    assert told[told.index("") + 1 :] == [
        f"node: safe mode: {GAVE_UP}",
        "node: 6 starts in a row, this one among them, have come to nothing so far",
        "config: Idle",
        "model: RolledBack, step 4 (Install 4.0.0): ProbeFailed: inference: 85.0% of 20 samples agree",
        f"frozen here: model 4.0.0 {digest(FOUR)[:19]}, ProbeFailed: inference: 85.0% of 20 samples agree",
        f"kept for a way back: {digest(ONE)[:19]}, left 2026-01-05T12:02:40+00:00",
    ]
    await bench.safety.recover(1)
    told = list(lines(bench.journal, bench.safety.file))
    assert told[told.index("") + 1 : told.index("") + 3] == [
        "node: normal operation",
        "node: recovered as a person asked (recover 1)",
    ]
    assert not [line for line in told if "frozen" in line[:6]]
    bench.safety.file.touch()
    assert f"node: safe mode: the file {bench.safety.file} is there" in list(lines(bench.journal, bench.safety.file))


def test_node_on_which_no_agent_has_run_says_so(tmp_path: Path) -> None:
    assert list(lines(Journal(tmp_path / "state"), tmp_path / "safe-mode")) == ["no agent has run here yet"]
