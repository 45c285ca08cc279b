"""What the agent has to remember through a crash, a reboot and a power cut: one small file, replaced as a whole.

    {"boot": "<boot id>", "planes": {"model": {"progress": {…}, "since": "…", "confirm_by": 123.4, "starts": 1}},
     "frozen": […], "starts": {"failed": 1, "gave_up": false}, "ordered_safe": false, "recovered": 0, "left": {…}}

It is written before everything that it decides, so that the decision and the reason for it survive. `confirm_by` is in
seconds of this boot; in another boot the window begins anew, but only so often (`starts`), because a node that keeps
rebooting must not keep on trying. Beside it `history.jsonl` tells people what happened, one line each.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.node.durable import remove, write_file
from backstay.core import probing
from backstay.core.device import Progress
from backstay.core.device_record import from_record, to_record
from backstay.core.freezing import Frozen
from backstay.core.planes import ContentDigest, Plane
from backstay.core.probing import OldFault
from backstay.core.safe_mode import Starts
from backstay.errors import Refused, Unavailable

Json = dict[str, Any]

STATE: Final = "journal.json"
HISTORY: Final = "history.jsonl"
REQUEST: Final = "recover"
NODE: Final = "node"
HISTORY_LIMIT_BYTES: Final = 256 * 1024
"""At twice this, the older half of the history goes."""

log = logging.getLogger(__name__)


class JournalUnusable(Refused):
    """The journal cannot be read or its directory cannot be written; without it, no step could be undone."""


class JournalUnwritable(Unavailable):
    """The disk did not take the journal; nothing that it should say may happen."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One plane, as it is remembered."""

    progress: Progress = field(default_factory=Progress)
    since: datetime | None = None
    """When its state was reached."""
    confirm_by: float | None = None
    """When its window ends, in seconds since the boot of the entry."""
    starts: int = 0
    """How often an agent has found this step on trial."""
    old: Mapping[str, OldFault] = field(default_factory=dict)
    """How probes failed before the change: it outlives the reboot that the change may need."""


@dataclass(frozen=True, slots=True)
class Memory:
    """All that is remembered."""

    boot: str = ""
    planes: Mapping[Plane, Entry] = field(default_factory=dict)
    frozen: tuple[Frozen, ...] = ()
    """What failed on this node and is not installed again."""
    starts: Starts = field(default_factory=Starts)
    ordered_safe: bool = False
    """Whether the node was last ordered into safe mode: a reboot without a network must not end it."""
    recovered: int = 0
    """The last `spec.recover` that was carried out."""
    left: Mapping[ContentDigest, datetime] = field(default_factory=dict)
    """When contents that are still kept were left: since then they neither run nor are anybody's fallback."""


class Journal:
    """The files of one agent; no other process writes them, but for a person's request to recover."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._text = b""

    def read(self) -> Memory:
        """What an earlier agent left; blocking, for the start. A node that never had one remembers nothing.

        Raises:
            JournalUnusable: there is a journal that cannot be read. It is not put aside by itself: what is on trial
                would stay for ever.
        """
        path = self._directory / STATE
        try:
            self._text = path.read_bytes()
        except FileNotFoundError:
            return Memory()
        except OSError as error:
            raise JournalUnusable(
                f"{path} cannot be read: {error}; mend the disk, or choose another --state"
            ) from error
        try:
            found = json.loads(self._text)
            return _memory(found)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise JournalUnusable(
                f"{path} is damaged ({error!r}); move it away, then the agent takes what it finds running as it is"
            ) from error

    def keep(self, memory: Memory) -> None:
        """Replace what is remembered; blocking, and durable when it returns.

        Raises:
            JournalUnwritable: the disk did not take it; what was remembered before still is.
        """
        text = json.dumps(_memory_record(memory), sort_keys=True).encode() + b"\n"
        if text == self._text:
            return
        try:
            write_file(self._directory / STATE, text)
        except OSError as error:
            raise JournalUnwritable(f"{self._directory} does not take the journal: {error}; free its disk") from error
        self._text = text

    def tell(self, at: datetime, plane: Plane | None, words: str) -> None:
        """Add a line for people, of a plane or of the node; one that cannot be written is only said in the log."""
        path = self._directory / HISTORY
        about = NODE if plane is None else str(plane)
        line = json.dumps({"at": at.isoformat(timespec="seconds"), "plane": about, "what": words}) + "\n"
        try:
            self._shorten(path)
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            log.warning("%s cannot be written: %s", path, error)

    def ask_to_recover(self) -> None:
        """Let the agent of this node, or the next one, recover it; blocking.

        Raises:
            JournalUnwritable
        """
        try:
            write_file(self._directory / REQUEST, b"")
        except OSError as error:
            raise JournalUnwritable(f"{self._directory} does not take the request: {error}; be root") from error

    def is_asked_to_recover(self) -> bool:
        """Tell whether somebody on the node asks for it; blocking."""
        return (self._directory / REQUEST).exists()

    def has_recovered(self) -> None:
        """Take the request away; blocking.

        Raises:
            JournalUnwritable: it is there still.
        """
        try:
            remove(self._directory / REQUEST)
        except OSError as error:
            raise JournalUnwritable(f"{self._directory} keeps the request to recover: {error}; mend it") from error

    def history(self) -> list[Json]:
        """What was told, the oldest first; lines that were torn by a power cut are left out."""
        try:
            lines = (self._directory / HISTORY).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return [entry for entry in found if isinstance(entry, dict)]

    def _shorten(self, path: Path) -> None:
        if path.exists() and path.stat().st_size > 2 * HISTORY_LIMIT_BYTES:
            kept = path.read_bytes()[-HISTORY_LIMIT_BYTES:].partition(b"\n")[2]
            write_file(path, kept)


class Notebook:
    """What the agent remembers, always as the journal has it; each change is written as a whole."""

    def __init__(self, journal: Journal, boot: str, failpoints: Failpoints) -> None:
        """Remember nothing until it is read; everything is written as of this `boot`."""
        self.journal: Final = journal
        self._failpoints = failpoints
        self._boot = boot
        self.memory = Memory()

    async def read(self) -> Memory:
        """What an earlier agent left.

        Raises:
            JournalUnusable
        """
        self.memory = await asyncio.to_thread(self.journal.read)
        return self.memory

    async def keep(self, memory: Memory) -> None:
        """Remember this instead.

        Raises:
            JournalUnwritable: what was remembered before still is.
        """
        memory = replace(memory, boot=self._boot)
        self._failpoints.passing("before-keep")
        await asyncio.to_thread(self.journal.keep, memory)
        self._failpoints.passing("after-keep")
        self.memory = memory

    def keep_now(self, memory: Memory) -> None:
        """Remember this instead; blocking, for an agent that ends."""
        self.journal.keep(replace(memory, boot=self._boot))

    def tell(self, at: datetime, plane: Plane | None, words: str) -> None:
        """Say it to people, in the log and in the history."""
        log.info("%s: %s", NODE if plane is None else plane, words)
        self.journal.tell(at, plane, words)


def _memory_record(memory: Memory) -> Json:
    return {
        "boot": memory.boot,
        "planes": {str(plane): _record(entry) for plane, entry in sorted(memory.planes.items())},
        "frozen": [[str(one.plane), one.content, one.version, one.why] for one in memory.frozen],
        "starts": {"failed": memory.starts.failed, "gave_up": memory.starts.gave_up},
        "ordered_safe": memory.ordered_safe,
        "recovered": memory.recovered,
        "left": {content: when.isoformat() for content, when in memory.left.items()},
    }


def _memory(record: Json) -> Memory:
    """Read it back; an agent of before may have left less."""
    starts = record.get("starts") or {}
    return Memory(
        boot=str(record["boot"]),
        planes={Plane(plane): _entry(entry) for plane, entry in record["planes"].items()},
        frozen=tuple(
            Frozen(Plane(plane), ContentDigest(str(content)), str(version), str(why))
            for plane, content, version, why in record.get("frozen") or ()
        ),
        starts=Starts(int(starts.get("failed", 0)), bool(starts.get("gave_up"))),
        ordered_safe=bool(record.get("ordered_safe")),
        recovered=int(record.get("recovered", 0)),
        left={
            ContentDigest(str(content)): datetime.fromisoformat(when)
            for content, when in (record.get("left") or {}).items()
        },
    )


def _record(entry: Entry) -> Json:
    return {
        "progress": to_record(entry.progress),
        "since": entry.since.isoformat() if entry.since else None,
        "confirm_by": entry.confirm_by,
        "starts": entry.starts,
        "old": probing.to_record(entry.old),
    }


def _entry(record: Json) -> Entry:
    since, confirm_by = record["since"], record["confirm_by"]
    return Entry(
        progress=from_record(record["progress"]),
        since=datetime.fromisoformat(since) if since else None,
        confirm_by=None if confirm_by is None else float(confirm_by),
        starts=int(record["starts"]),
        old=probing.from_record(record["old"]),
    )
