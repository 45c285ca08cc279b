"""The journal on a real disk: what was kept is there again, whatever happened to the process, and nothing else is."""

import asyncio
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backstay.api.device_status import Status
from backstay.bridge.journal import FILE, Journal, JournalUnusable, JournalUnwritable, KeptAnswer
from backstay.bridge.reports import Answer
from backstay.core.devices import DeviceName, PlaneState, PlaneStatus
from backstay.core.planes import Plane
from tests.laws.release_rules import examples

AT = datetime(2026, 1, 5, 12, 0, 0, 123456, tzinfo=UTC)
CONFIRMED = Answer(PlaneState.CONFIRMED)
BACK = Answer(PlaneState.ROLLED_BACK, "ProbeFailed: camera")


def kept(name: str = "cam-1", number: int = 3, answer: Answer = CONFIRMED, plane: Plane = Plane.MODEL) -> KeptAnswer:
    return KeptAnswer(DeviceName(name), f"uid-{name}", plane, number, answer, AT)


async def test_answers_are_there_again_when_the_journal_is_opened_anew(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    answers = [kept(), kept("cam-2", answer=BACK), kept("cam-2", plane=Plane.CONFIG)]
    for answer in answers:
        await journal.keep(answer)
    journal.close()
    again = Journal.open(tmp_path)
    assert sorted(again.all(), key=lambda one: one.key) == sorted(answers, key=lambda one: one.key)
    again.forget([answers[0]])
    assert again.of(DeviceName("cam-1")) == {}
    again.close()
    last = Journal.open(tmp_path)
    assert {one.key for one in last.all()} == {one.key for one in answers[1:]}
    last.close()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from backstay.bridge.journal import Journal
from tests.bridge.test_journal import kept
async def main():
    journal = Journal.open(Path(sys.argv[1]))
    await asyncio.gather(*(journal.keep(kept(f"cam-{number}")) for number in range(200)))
    print("promised", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


def test_answers_are_there_again_when_the_process_was_killed_right_after_its_promise(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.stdout == "promised\n", done.stderr
    journal = Journal.open(tmp_path)
    assert {one.device for one in journal.all()} == {f"cam-{number}" for number in range(200)}
    journal.close()


async def test_first_answer_stays_when_a_step_is_answered_twice(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    await journal.keep(kept())
    await journal.keep(kept(answer=BACK))
    assert [one.answer for one in journal.all()] == [CONFIRMED]
    journal.close()
    again = Journal.open(tmp_path)
    assert [one.answer for one in again.all()] == [CONFIRMED]
    again.close()


async def test_many_at_once_share_a_few_commits(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    statements: list[str] = []
    journal._connection.set_trace_callback(statements.append)
    await asyncio.gather(*(journal.keep(kept(f"cam-{number}")) for number in range(500)))
    assert len(journal.all()) == 500
    assert statements.count("COMMIT") <= 3
    journal.close()


async def test_forgotten_answers_cost_no_commit_of_their_own(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    answers = [kept(f"cam-{number}") for number in range(50)]
    await asyncio.gather(*map(journal.keep, answers))
    statements: list[str] = []
    journal._connection.set_trace_callback(statements.append)
    for answer in answers:
        journal.forget([answer])
    assert statements == []
    await journal.keep(kept("cam-late"))
    assert statements.count("COMMIT") == 1
    rows = journal._connection.execute("SELECT device FROM answers").fetchall()
    assert rows == [("cam-late",)]
    journal.close()


async def test_forgotten_answers_leave_the_file_when_nothing_is_kept_any_more(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    await journal.keep(kept())
    journal.forget([kept()])
    await journal.tidy()
    assert journal._connection.execute("SELECT count(*) FROM answers").fetchone() == (0,)
    journal.close()


async def test_forgotten_answers_are_tried_again_when_the_disk_did_not_let_them_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal.open(tmp_path)
    await journal.keep(kept())
    journal.forget([kept()])
    journal._connection.execute("PRAGMA query_only = ON")
    await journal.tidy()
    assert "stay in the journal" in caplog.text
    journal._connection.execute("PRAGMA query_only = OFF")
    await journal.tidy()
    journal.close()
    again = Journal.open(tmp_path)
    assert again.all() == []
    again.close()


async def test_answer_is_kept_when_a_device_goes_away_while_others_wait_for_the_same_commit(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    first, second = (asyncio.create_task(journal.keep(kept(f"cam-{number}"))) for number in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert {one.device for one in journal.all()} == {"cam-0", "cam-1"}
    journal.close()


async def test_nothing_is_promised_when_the_disk_is_full(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal._connection.execute("PRAGMA max_page_count = 3")
    with pytest.raises(JournalUnwritable, match=r"full; free or mend the disk of --state"):
        await _keep_many(journal)
    promised = {one.device for one in journal.all()}
    journal._connection.execute("PRAGMA max_page_count = 1000")
    await journal.keep(kept("cam-late"))
    journal.close()
    again = Journal.open(tmp_path)
    assert {one.device for one in again.all()} >= promised | {"cam-late"}
    again.close()


async def _keep_many(journal: Journal) -> None:
    for number in range(10_000):
        await journal.keep(kept(f"cam-{number}"))


async def test_all_who_shared_a_failed_commit_are_told_so(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.close()
    results = await asyncio.gather(*(journal.keep(kept(f"cam-{n}")) for n in range(5)), return_exceptions=True)
    assert all(isinstance(result, JournalUnwritable) for result in results)
    assert journal.all() == []


def test_damaged_file_is_put_aside_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all, but long enough to be taken for one" * 40)
    journal = Journal.open(tmp_path)
    assert journal.all() == []
    assert (tmp_path / "answers.damaged").exists()
    assert "is damaged" in caplog.text
    journal.close()


def test_row_that_makes_no_sense_is_left_out_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Journal.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("INSERT INTO answers VALUES ('cam-1', 'u', 'model', 1, 'Confirmed', '', 'yesterday')")
        connection.execute("INSERT INTO answers VALUES ('cam-2', 'u', 'wheels', 1, 'Confirmed', '', ?)", (str(AT),))
        connection.execute("INSERT INTO answers VALUES ('cam-3', 'u', 'model', 1, 'Confirmed', '', ?)", (str(AT),))
    connection.close()
    journal = Journal.open(tmp_path)
    assert [one.device for one in journal.all()] == ["cam-3"]
    assert "cam-1" in caplog.text
    assert "cam-2" in caplog.text
    journal.close()


def test_directory_that_cannot_be_used_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnusable, match=r"cannot keep answers of devices in .*/file.*choose another --state"):
        Journal.open(tmp_path / "file")


@pytest.mark.parametrize(
    ("written", "uid", "is_news"),
    [
        (PlaneStatus(state=PlaneState.DOWNLOADING, step=3), "uid-cam-1", True),
        (PlaneStatus(state=PlaneState.CONFIRMED, step=2), "uid-cam-1", True),
        (PlaneStatus(), "uid-cam-1", True),
        (PlaneStatus(state=PlaneState.FAILED, step=3), "uid-cam-1", False),
        (PlaneStatus(state=PlaneState.DOWNLOADING, step=4), "uid-cam-1", False),
        (PlaneStatus(state=PlaneState.DOWNLOADING, step=3), "another", False),
    ],
    ids=["open", "an earlier step", "nothing", "answered", "a later step", "another object"],
)
def test_answer_is_news_only_to_a_status_that_lacks_it(written: PlaneStatus, uid: str, is_news: bool) -> None:
    assert kept().is_news_to(uid, Status(planes={Plane.MODEL: written})) is is_news


names = st.sampled_from(["cam-1", "cam-2"])


class AnyHistory(RuleBasedStateMachine):
    """Answers are kept, forgotten and kept again, and the file is opened anew at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self._temporary = TemporaryDirectory(prefix="backstay-journal-")
        self.directory = Path(self._temporary.name)
        self.journal = Journal.open(self.directory)
        self.expected: dict[tuple[str, str, str, int], KeptAnswer] = {}

    @rule(name=names, number=st.integers(1, 3), plane=st.sampled_from(Plane), answer=st.sampled_from([CONFIRMED, BACK]))
    def device_answers(self, name: str, number: int, plane: Plane, answer: Answer) -> None:
        one = kept(name, number, answer, plane)
        asyncio.run(self.journal.keep(one))
        self.expected.setdefault(one.key, one)

    @rule(name=names, number=st.integers(1, 3), plane=st.sampled_from(Plane))
    def answer_is_forgotten(self, name: str, number: int, plane: Plane) -> None:
        one = kept(name, number, plane=plane)
        self.journal.forget([one])
        self.expected.pop(one.key, None)

    @rule()
    def file_is_tidied(self) -> None:
        asyncio.run(self.journal.tidy())

    @rule()
    def bridge_starts_anew(self) -> None:
        self.journal.close()
        self.journal = Journal.open(self.directory)

    @invariant()
    def exactly_what_was_promised_is_kept(self) -> None:
        assert {one.key: one for one in self.journal.all()} == self.expected

    def teardown(self) -> None:
        self.journal.close()
        self._temporary.cleanup()


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = examples(15, 20)
