"""Answers of devices that the API server does not have yet, on disk before the device hears that they stand.

One row for each, in SQLite with a write-ahead log. Whoever comes while a commit is under way shares the next one: a
thousand devices at once cost a few flushes of the disk, not a thousand. What is forgotten leaves the file with a commit
that is made anyway, or a little later: a row that a crash leaves behind is found to be old news by the next process.

Source: https://www.sqlite.org/wal.html and https://www.sqlite.org/pragma.html#pragma_synchronous (FULL: a commit that
returned survives a power cut)
"""

import asyncio
import logging
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Final, Self

from backstay.api.device_status import Status
from backstay.bridge.reports import Answer, with_answer
from backstay.core.devices import DeviceName, PlaneState
from backstay.core.planes import Plane
from backstay.errors import Refused, Unavailable

FILE: Final = "answers.sqlite3"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS answers (
    device TEXT NOT NULL, uid TEXT NOT NULL, plane TEXT NOT NULL, number INTEGER NOT NULL,
    state TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (device, uid, plane, number)
) WITHOUT ROWID
"""
_KEEP: Final = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)"
_FORGET: Final = "DELETE FROM answers WHERE device = ? AND uid = ? AND plane = ? AND number = ?"
_READ: Final = "SELECT device, uid, plane, number, state, reason, at FROM answers"

log = logging.getLogger(__name__)


class JournalUnusable(Refused):
    """The bridge's own directory cannot be used; without it, no answer of a device could be promised to stand."""


class JournalUnwritable(Unavailable):
    """The disk did not take an answer; the device has to say it again."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """How one step of one device ended, when the bridge heard of it."""

    device: DeviceName
    uid: str
    plane: Plane
    number: int
    answer: Answer
    at: datetime

    @property
    def key(self) -> "Key":
        """What no two answers share."""
        return self.device, self.uid, str(self.plane), self.number

    def is_news_to(self, uid: str, status: Status) -> bool:
        """Tell whether a device's written status lacks this answer, and nothing newer stands in its place."""
        written = status.plane(self.plane)
        is_behind = written.step < self.number or (written.step == self.number and not written.state.is_answer)
        return uid == self.uid and is_behind

    def added_to(self, status: Status) -> Status:
        """The status with this answer."""
        return with_answer(status, self.plane, self.number, self.answer, self.at)


Key = tuple[str, str, str, int]


@dataclass(slots=True)
class _Batch:
    """Answers that one commit makes durable, and that commit once somebody has asked for it."""

    answers: list[KeptAnswer] = field(default_factory=list)
    commit: asyncio.Task[None] | None = None


class Journal:
    """Keeps answers until they are written; one process owns the file."""

    def __init__(self, connection: sqlite3.Connection, answers: Iterable[KeptAnswer] = ()) -> None:
        self._connection = connection
        # A statement runs in a thread of its own; SQLite's own lock would let two of them mix their transactions.
        self._statements = Lock()
        self._pending: defaultdict[DeviceName, dict[Key, KeptAnswer]] = defaultdict(dict)
        self._forgotten: list[Key] = []
        """What is still in the file."""
        self._next = _Batch()
        self._committing = asyncio.Lock()
        for answer in answers:
            self._pending[answer.device][answer.key] = answer

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the journal of a directory, with what an earlier process left there; blocking, for the start.

        A file that is no database any more is put aside: devices whose answers were in it are asked again, because
        their steps stand unanswered in the API server.

        Raises:
            JournalUnusable: the directory cannot be written.
        """
        path = directory / FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            try:
                return cls(*_opened(path))
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                aside = path.with_suffix(".damaged")
                path.replace(aside)
                log.error("%s is damaged (%s) and is put aside as %s", path, error, aside.name)  # noqa: TRY400
                return cls(*_opened(path))
        except (OSError, sqlite3.Error) as error:
            msg = (
                f"the bridge cannot keep answers of devices in {directory}: {error}; mend it, or choose another --state"
            )
            raise JournalUnusable(msg) from error

    def of(self, device: DeviceName) -> Mapping[Key, KeptAnswer]:
        """What a device has answered and the API server does not have yet."""
        return self._pending.get(device, {})

    def all(self) -> list[KeptAnswer]:
        """Every answer that is kept."""
        return [kept for answers in self._pending.values() for kept in answers.values()]

    async def keep(self, answer: KeptAnswer) -> None:
        """Make an answer durable; to keep it twice changes nothing.

        Raises:
            JournalUnwritable: the disk is full or broken; nothing was promised.
        """
        batch = self._next
        batch.answers.append(answer)
        if batch.commit is None:
            batch.commit = asyncio.create_task(self._commit(batch), name="commit answers")
        # One device that goes away takes the commit from nobody else.
        await asyncio.shield(batch.commit)

    async def _commit(self, batch: _Batch) -> None:
        async with self._committing:
            # Whoever came until now is in it; whoever comes from now on shares the next one.
            self._next = _Batch()
            await self._write_off_loop(batch.answers)
        for answer in batch.answers:
            self._pending[answer.device].setdefault(answer.key, answer)

    def forget(self, answers: Iterable[KeptAnswer]) -> None:
        """Drop answers that stand in the API server, or that nobody waits for any more."""
        for answer in answers:
            self._pending[answer.device].pop(answer.key, None)
            if not self._pending[answer.device]:
                del self._pending[answer.device]
            self._forgotten.append(answer.key)

    async def tidy(self) -> None:
        """Take out of the file what was forgotten; where the disk does not let it, later."""
        if not self._forgotten:
            return
        async with self._committing:
            try:
                await self._write_off_loop([])
            except JournalUnwritable as error:
                log.warning("answers that are written stay in the journal: %s", error)

    def close(self) -> None:
        """Close the file, without what was forgotten."""
        with suppress(JournalUnwritable):
            self._write([], self._forgotten)
        self._connection.close()

    async def _write_off_loop(self, answers: list[KeptAnswer]) -> None:
        gone, self._forgotten = self._forgotten, []
        try:
            await asyncio.to_thread(self._write, [_row(one) for one in answers], gone)
        except BaseException:
            self._forgotten += gone
            raise

    def _write(self, rows: list[tuple[object, ...]], gone: list[Key]) -> None:
        with self._statements, _as_unwritable(), self._connection:
            # First what was forgotten: an answer that is kept again after that has to stay.
            self._connection.executemany(_FORGET, gone)
            self._connection.executemany(_KEEP, rows)


def _opened(path: Path) -> tuple[sqlite3.Connection, list[KeptAnswer]]:
    connection = sqlite3.connect(path, timeout=5.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with connection:
            connection.execute(_SCHEMA)
        return connection, [answer for row in connection.execute(_READ) for answer in _answer(row)]
    except sqlite3.Error:
        connection.close()
        raise


@contextmanager
def _as_unwritable() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise JournalUnwritable(f"an answer could not be kept: {error}; free or mend the disk of --state") from error


def _row(kept: KeptAnswer) -> tuple[object, ...]:
    return *kept.key, str(kept.answer.state), kept.answer.reason, kept.at.isoformat()


def _answer(row: tuple[str, str, str, int, str, str, str]) -> Iterator[KeptAnswer]:
    device, uid, plane, number, state, reason, at = row
    try:
        answer = Answer(PlaneState(state), reason)
        yield KeptAnswer(DeviceName(device), uid, Plane(plane), int(number), answer, datetime.fromisoformat(at))
    except ValueError as error:
        log.error("an answer of %s in the journal cannot be read and is left out: %s", device, error)  # noqa: TRY400
