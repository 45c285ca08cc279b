"""Reads the release of a systemd unit: a plain tar of the unit's file and of the programs and files that it uses.

    vision.service      the unit; `@RELEASE@` in it stands for the directory that the archive is unpacked to
    server, labels.txt  whatever else there is

Only regular files and directories are taken, so nothing that is unpacked leads out of its directory, and nothing
becomes larger than the archive.

Source: https://www.freedesktop.org/software/systemd/man/252/systemd.syntax.html, systemd.unit(5)
"""

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from backstay.adapters.node.process import HEADER_BYTES, not_startable
from backstay.core.device import Cause, Reason
from backstay.ports.installer import CannotInstall

RELEASE: Final = "@RELEASE@"
LONGEST_UNIT_BYTES: Final = 64 * 1024
MOST_FILES: Final = 10_000

_OF_UNIT: Final = re.compile(
    "Description|Documentation|After|Wants|Requires|StartLimitIntervalSec|StartLimitBurst|(Condition|Assert)[A-Za-z]+"
)
"""Anything else of `[Unit]` may stop another unit, such as the agent, or the node itself."""
_SECTION: Final = re.compile(r"\[([^\]]+)\]")
_PROGRAM: Final = re.compile(rf"[-@:+!]*{RELEASE}/(\S+)")


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a unit's file."""

    section: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the archive."""

    name: str
    """As the archive spells it, such as `./server`."""
    path: PurePosixPath
    is_program: bool
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
            with tarfile.open(payload, "r:") as archive:
                members = tuple(_members(archive))
                found = cls(payload, unit, _text(archive, unit, members), members)
                _check(found, archive)
        except tarfile.TarError as error:
            raise _rejected(f"the payload is no uncompressed tar archive: {error}") from error
        return found

    def contents(self) -> Iterator[tuple[Member, bytes]]:
        """Each file with its bytes, the unit's own as it is in the archive.

        Raises:
            OSError: the disk cannot be read.
        """
        with tarfile.open(self.payload, "r:") as archive:
            for member in self.members:
                yield member, _bytes(archive, member)

    def text_in(self, directory: Path, content: str) -> str:
        """The unit's file for a release that is unpacked to `directory`; what runs by it is marked with `content`."""
        return f"{self.text.replace(RELEASE, str(directory))}\n[Service]\nEnvironment={mark(content)}\n"


def mark(content: str) -> str:
    """The variable that a release's processes have, by which they are known."""
    return f"BACKSTAY_RELEASE={content}"


def settings(text: str) -> Iterator[Setting]:
    """The lines of a unit's file.

    Raises:
        CannotInstall: a line is none.
    """
    section = ""
    for line in _whole_lines(text):
        if found := _SECTION.fullmatch(line):
            section = found.group(1)
        elif "=" in line and section:
            key, _, value = line.partition("=")
            yield Setting(section, key.strip(), value.strip())
        else:
            raise _rejected(f"the unit's line {line[:80]!r} is neither a [Section] nor a Key=Value in one")


def _whole_lines(text: str) -> Iterator[str]:
    begun = ""
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            begun += f"{line[:-1]} "
        else:
            yield begun + line
            begun = ""
    if begun:
        yield begun.strip()


def _members(archive: tarfile.TarFile) -> Iterator[Member]:
    seen: set[PurePosixPath] = set()
    for entry in archive:
        path = PurePosixPath(entry.name)
        if entry.isdir():
            continue
        if not entry.isreg() or entry.issparse():
            raise _rejected(f"{entry.name} in the archive is no regular file: links and devices are not taken")
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise _rejected(f"{entry.name!r} in the archive leads out of it")
        if path in seen or not seen.isdisjoint(path.parents):
            raise _rejected(f"{entry.name} stands in the archive twice, or below a file")
        seen.add(path)
        if len(seen) > MOST_FILES:
            raise _rejected(f"the archive has more than {MOST_FILES} files")
        yield Member(entry.name, path, bool(entry.mode & 0o111), entry.size)


def _text(archive: tarfile.TarFile, unit: str, members: tuple[Member, ...]) -> str:
    found = next((member for member in members if str(member.path) == unit), None)
    if found is None:
        raise _rejected(f"the archive has no {unit}, which is the unit of this node")
    if found.size_bytes > LONGEST_UNIT_BYTES:
        raise _rejected(f"{unit} has {found.size_bytes} bytes, and {LONGEST_UNIT_BYTES} are the most")
    try:
        return _bytes(archive, found).decode()
    except UnicodeDecodeError as error:
        raise _rejected(f"{unit} is no text in UTF-8: {error}") from error


def _bytes(archive: tarfile.TarFile, member: Member) -> bytes:
    file = archive.extractfile(member.name)
    return b"" if file is None else file.read()


def _check(found: UnitArchive, archive: tarfile.TarFile) -> None:
    starts = False
    for setting in settings(found.text):
        match setting.section:
            case "Unit" if not _OF_UNIT.fullmatch(setting.key):
                raise _rejected(
                    f"{found.unit}: {setting.key}= in [Unit] is not taken: it may stop other units or the node"
                )
            case "Unit" | "Service":
                starts = starts or (setting.section == "Service" and setting.key == "ExecStart")
                _check_programs(found, archive, setting)
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


def _check_programs(found: UnitArchive, archive: tarfile.TarFile, setting: Setting) -> None:
    program = _PROGRAM.match(setting.value) if setting.key.startswith("Exec") else None
    if program is None:
        return
    member = next((one for one in found.members if str(one.path) == program.group(1)), None)
    if member is None or not member.is_program:
        raise _rejected(f"{found.unit}: {setting.key}={setting.value}: the archive has no such executable file")
    if cause := not_startable(_bytes(archive, member)[:HEADER_BYTES], str(member.path)):
        raise CannotInstall(cause)


def _rejected(detail: str) -> CannotInstall:
    return CannotInstall(Cause(Reason.REJECTED, detail))
