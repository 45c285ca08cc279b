"""Releases that a node keeps, each payload in a file named by its digest, with a note of what it is.

<64 hex>         the payload, whole: it gets this name once its bytes are on the disk
<64 hex>.json    the note: version, requirements, where it came from; written before the payload, deleted after it
"""

import errno
import json
import re
import shutil
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from backstay.adapters.node.durable import copy_file, digest_of, remove, write_file
from backstay.core.device import Cause, Reason
from backstay.core.device_record import requirements
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.errors import Unavailable
from backstay.ports.installer import CannotInstall
from backstay.ports.registry import ArtifactDescription

_HEX: Final = re.compile(r"[0-9a-f]{64}")
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ReleaseStore:
    """Keeps payloads of one plane in a directory that is its own."""

    def __init__(self, directory: Path, plane: Plane, *, mode: int = 0o600) -> None:
        """Use `directory`, which is made when it is first needed; payloads get `mode`."""
        self._directory = directory
        self._plane = plane
        self._mode = mode

    def keep(self, release: Release, payload: Path) -> None:
        """Keep a copy of the payload; once this returns it survives a power cut.

        Raises:
            CannotInstall: there is no room, or the bytes are not those that the release names.
            Unavailable: the disk cannot be used.
        """
        with disk_errors(f"{release} cannot be kept in {self._directory}"):
            write_file(self._note(release.content), json.dumps(to_note(release)).encode())
            if self.holds(release.content) and digest_of(self.path(release.content)) == release.content:
                return
            if (found := copy_file(payload, self.path(release.content), mode=self._mode)) != release.content:
                remove(self.path(release.content))
                raise CannotInstall(Cause(Reason.DIGEST_MISMATCH, f"the bytes of {release} are {found}"))

    def path(self, content: ContentDigest) -> Path:
        """The file of a payload, which exists if it is kept."""
        return self._directory / content.removeprefix("sha256:")

    def holds(self, content: ContentDigest) -> bool:
        """Tell whether the payload is kept."""
        return self.path(content).is_file()

    def contents(self) -> frozenset[ContentDigest]:
        """Everything that is kept."""
        names = [path.name for path in self._directory.iterdir()] if self._directory.is_dir() else []
        return frozenset(ContentDigest(f"sha256:{name}") for name in names if _HEX.fullmatch(name))

    def release(self, content: ContentDigest) -> Release:
        """What the note says of a payload; where there is none that can be read, only its digest is known."""
        try:
            return from_note(json.loads(self._note(content).read_bytes()), self._plane, content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return Release(self._plane, "unknown", content)

    def verified(self, content: ContentDigest) -> Path:
        """The file of a payload, whose bytes were read and hashed just now.

        Raises:
            CannotInstall: it is not kept, or no longer what it was.
        """
        path = self.path(content)
        try:
            found = digest_of(path)
        except OSError as error:
            detail = f"{content} is not held in {self._directory} ({error.strerror}): stage it first"
            raise CannotInstall(Cause(Reason.REJECTED, detail)) from error
        if found != content:
            raise CannotInstall(Cause(Reason.DIGEST_MISMATCH, f"{path} now holds {found}: stage it again"))
        return path

    def trim(self, needed: Container[ContentDigest]) -> None:
        """Delete what is not needed, and what a power cut left of payloads that never became whole.

        Raises:
            Unavailable: the disk cannot be used.
        """
        with disk_errors(f"{self._directory} cannot be trimmed"):
            for content in self.contents():
                if content not in needed:
                    remove(self.path(content))
            for unfinished in self._directory.glob(".*.new"):
                remove(unfinished)
            for note in self._directory.glob("*.json"):
                if not note.with_suffix("").exists():
                    remove(note)

    def _note(self, content: ContentDigest) -> Path:
        return self.path(content).with_suffix(".json")


def to_note(release: Release) -> dict[str, Any]:
    """A release as JSON values, without what its name says."""
    needs = {str(need.plane): need.range.text for need in release.requires}
    return {"version": release.version, "requires": needs, "artifact": release.artifact}


def from_note(note: Mapping[str, Any], plane: Plane, content: ContentDigest) -> Release:
    """Read a release back.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it was not written by `to_note`.
    """
    return Release(plane, str(note["version"]), content, requirements(note["requires"]), str(note["artifact"]))


def no_room_for(artifact: ArtifactDescription, directory: Path) -> Cause | None:
    """Say that a directory's disk has no room for a payload, if so; the directory need not be there yet."""
    there = next(path for path in (directory, *directory.parents) if path.is_dir())
    free_bytes = shutil.disk_usage(there).free
    if artifact.size_bytes <= free_bytes:
        return None
    return Cause(Reason.NO_SPACE, f"{artifact.size_bytes} bytes do not fit into the {free_bytes} free of {there}")


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Give errors of the disk their names.

    Raises:
        CannotInstall: it is full.
        Unavailable: anything else is wrong with it.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise CannotInstall(Cause(Reason.NO_SPACE, f"{what}: {error.strerror}")) from error
        raise Unavailable(f"{what}: {error}; mend the disk") from error
