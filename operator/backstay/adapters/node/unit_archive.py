"""Reads the release of a systemd unit: a plain tar of the unit's file and of the programs and files that it uses.

    vision.service      the unit; `@RELEASE@` in it stands for the directory that the archive is unpacked to
    server, labels.txt  whatever else there is

Only regular files and directories are taken, so nothing that is unpacked leads out of its directory, and nothing
becomes larger than the archive.

Source: POSIX.1-2017, pax (ustar); systemd.unit(5)
"""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Self

from backstay.adapters.node.process import HEADER_BYTES, not_startable
from backstay.adapters.node.unit_syntax import Setting, settings
from backstay.core.device import Cause, Reason
from backstay.ports.installer import CannotInstall

RELEASE: Final = "@RELEASE@"
LONGEST_UNIT_BYTES: Final = 64 * 1024
MOST_ENTRIES: Final = 10_000
LONGEST_NAME_BYTES: Final = 1024
LONGEST_PART_BYTES: Final = 240
"""A disk takes 255: that leaves room for what a file is called until it is whole."""
LONGEST_HEADER_BYTES: Final = 64 * 1024
READ_BYTES: Final = 1024 * 1024

_OF_UNIT: Final = re.compile(
    "Description|Documentation|After|Wants|Requires|StartLimitIntervalSec|StartLimitBurst|(Condition|Assert)[A-Za-z]+"
)
"""Anything else of `[Unit]` may stop another unit, such as the agent, or the node itself."""
_OF_HEADERS: Final = frozenset(
    {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
)
"""What Python reads into memory as a whole, because it is about another member."""
_PROGRAM: Final = re.compile(rf"[-@:+!]*{RELEASE}/(\S+)")


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive."""

    path: PurePosixPath
    is_program: bool
    starts_at: int
    """Where its bytes begin in the archive, which is not compressed."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class UnitArchive:
    """What a release holds; the files are read when they are needed."""

    payload: Path
    unit: str
    text: str
    members: tuple[Member, ...]

    @classmethod
    def read(cls, payload: Path, unit: str) -> "UnitArchive":
        """Read and check a release of the unit of this name.

        Raises:
            CannotInstall: it is not one, and why.
            OSError: the disk cannot be read.
        """
        try:
            with tarfile.open(payload, "r:", tarinfo=_Entry) as archive:
                members = tuple(_members(archive))
        # A header that lies about a size, or a chain of headers, ends the reader in ways of Python's own.
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            raise _rejected(f"the payload is no uncompressed tar archive: {error}") from error
        found = cls(payload, unit, _text(payload, unit, members), members)
        _check(found)
        return found

    def contents(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Each file with its bytes in pieces, to be read before the next; the unit's own as it is in the archive.

        Raises:
            OSError: the disk cannot be read.
        """
        with self.payload.open("rb") as archive:
            for member in self.members:
                yield member, _pieces(archive, member)

    def text_in(self, directory: Path, content: str) -> str:
        """The unit's file for a release that is unpacked to `directory`; what runs by it is marked with `content`."""
        return f"{self.text.replace(RELEASE, str(directory))}\n[Service]\nEnvironment={mark(content)}\n"


class _Entry(tarfile.TarInfo):
    """A header, refused where its size is none, or where it is of a long name and longer than any could be."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.size < 0 or (found.type in _OF_HEADERS and found.size > LONGEST_HEADER_BYTES):
            message = f"a header says that {found.size} bytes follow"
            raise tarfile.HeaderError(message)
        return found


def mark(content: str) -> str:
    """The variable that a release's processes have, by which they are known."""
    return f"BACKSTAY_RELEASE={content}"


def _members(archive: tarfile.TarFile) -> Iterator[Member]:
    seen: set[PurePosixPath] = set()
    above: set[PurePosixPath] = set()
    for number, entry in enumerate(archive, 1):
        if number > MOST_ENTRIES:
            raise _rejected(f"the archive has more than {MOST_ENTRIES} files and directories")
        path = _path(entry.name)
        if entry.isdir():
            continue
        if entry.size < 0:
            raise _rejected(f"{entry.name!r} in the archive has {entry.size} bytes")
        if not entry.isreg() or entry.issparse():
            raise _rejected(f"{entry.name} in the archive is no regular file: links and devices are not taken")
        if path in seen or path in above or not seen.isdisjoint(path.parents):
            raise _rejected(f"{entry.name} stands in the archive twice, or as a file that others lie in")
        seen.add(path)
        above.update(path.parents)
        yield Member(path, bool(entry.mode & 0o111), entry.offset_data, entry.size)


def _path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise _rejected(f"{name!r} in the archive leads out of it")
    try:
        data = name.encode()
    except UnicodeEncodeError as error:
        raise _rejected(f"{name!r} in the archive is no name in UTF-8") from error
    if not name.isprintable():
        raise _rejected(f"{name!r} in the archive has a character that no name should")
    if any(part.startswith(".") and part.endswith(".new") for part in path.parts):
        raise _rejected(f"{name!r} in the archive is called as files are that are not whole yet")
    if len(data) > LONGEST_NAME_BYTES or any(len(part.encode()) > LONGEST_PART_BYTES for part in path.parts):
        raise _rejected(f"{name[:80]!r}… in the archive is longer than a disk takes names")
    return path


def _text(payload: Path, unit: str, members: tuple[Member, ...]) -> str:
    found = next((member for member in members if str(member.path) == unit), None)
    if found is None:
        raise _rejected(f"the archive has no {unit}, which is the unit of this node")
    if found.size_bytes > LONGEST_UNIT_BYTES:
        raise _rejected(f"{unit} has {found.size_bytes} bytes, and {LONGEST_UNIT_BYTES} are the most")
    try:
        return _begin(payload, found, LONGEST_UNIT_BYTES).decode()
    except UnicodeDecodeError as error:
        raise _rejected(f"{unit} is no text in UTF-8: {error}") from error


def _begin(payload: Path, member: Member, most: int) -> bytes:
    """The first bytes of a member."""
    with payload.open("rb") as archive:
        archive.seek(member.starts_at)
        return archive.read(min(most, member.size_bytes))


def _pieces(archive: BinaryIO, member: Member) -> Iterator[bytes]:
    archive.seek(member.starts_at)
    left = member.size_bytes
    while left and (data := archive.read(min(READ_BYTES, left))):
        left -= len(data)
        yield data


def _check(found: UnitArchive) -> None:
    starts = False
    for setting in settings(found.text):
        match setting.section:
            case "Unit" if not _OF_UNIT.fullmatch(setting.key):
                raise _rejected(
                    f"{found.unit}: {setting.key}= in [Unit] is not taken: it may stop other units or the node"
                )
            case "Unit" | "Service":
                starts = starts or (setting.section == "Service" and setting.key == "ExecStart")
                _check_programs(found, setting)
            case "Install" if setting.key == "WantedBy" and setting.value == "multi-user.target":
                pass
            case "Install":
                raise _rejected(
                    f"{found.unit}: of [Install] only WantedBy=multi-user.target is taken, which is so anyway"
                )
            case other:
                raise _rejected(f"{found.unit}: [{other}] is not taken: a unit has [Unit], [Service] and [Install]")
    if not starts:
        raise _rejected(f"{found.unit} has no ExecStart= in [Service]")


def _check_programs(found: UnitArchive, setting: Setting) -> None:
    program = _PROGRAM.match(setting.value) if setting.key.startswith("Exec") else None
    if program is None:
        return
    member = next((one for one in found.members if str(one.path) == program.group(1)), None)
    if member is None or not member.is_program:
        raise _rejected(f"{found.unit}: {setting.key}={setting.value}: the archive has no such executable file")
    if cause := not_startable(_begin(found.payload, member, HEADER_BYTES), str(member.path)):
        raise CannotInstall(cause)


def _rejected(detail: str) -> CannotInstall:
    return CannotInstall(Cause(Reason.REJECTED, detail))
