"""Changes to files that have happened whole or not at all, and once they have, stay through a power cut.

A file is written beside its place under a name with a dot in front, flushed to the disk, renamed into its place, and
then its directory is flushed, because a name is part of the directory and not of the file. What a power cut leaves
beside a place is overwritten by the next change of the same place, so one process at a time changes a directory.

All of it blocks: coroutines call it in a thread.

Source: POSIX.1-2017, rename() (atomic) and fsync(); Linux man page fsync(2) (the directory needs its own)
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from backstay.core.planes import ContentDigest

READ_BYTES: Final = 1024 * 1024
_PRIVATE: Final = 0o600


def write_file(path: Path, data: bytes, *, mode: int = _PRIVATE) -> None:
    """Let `path` hold exactly these bytes; missing directories are made.

    Raises:
        OSError: the disk did not take it; what was there before is there still.
    """
    write_pieces(path, (data,), mode=mode)


def write_pieces(path: Path, pieces: Iterable[bytes], *, mode: int = _PRIVATE) -> None:
    """Let `path` hold exactly these bytes, one piece after the other; missing directories are made.

    Raises:
        OSError: the disk did not take it; what was there before is there still.
    """
    with _replacing(path, mode) as file:
        for data in pieces:
            file.write(data)


def copy_file(source: Path, path: Path, *, mode: int = _PRIVATE) -> ContentDigest:
    """Let `path` hold the bytes of another file, and give the digest of what was written.

    Raises:
        OSError: the disk did not take it; what was there before is there still.
    """
    content = hashlib.sha256()
    with source.open("rb") as original, _replacing(path, mode) as file:
        while data := original.read(READ_BYTES):
            content.update(data)
            file.write(data)
    return ContentDigest(f"sha256:{content.hexdigest()}")


def replace_link(link: Path, target: Path) -> None:
    """Let the symbolic link point to `target`, which is written into it as it is; nobody ever sees it missing.

    Raises:
        OSError: the disk did not take it, or a directory is in the way; what was there before is there still.
    """
    make_directory(link.parent)
    beside = _beside(link)
    beside.unlink(missing_ok=True)
    beside.symlink_to(target)
    beside.replace(link)
    sync_directory(link.parent)


def rename(path: Path, new: Path) -> None:
    """Move a file to another name on the same disk, over what has that name now.

    Raises:
        OSError: it could not be moved; both names are as before.
    """
    path.replace(new)
    sync_directory(new.parent)
    if path.parent != new.parent:
        sync_directory(path.parent)


def remove(path: Path) -> None:
    """Let there be nothing at `path`: neither a file, a link, nor a directory with all that is in it.

    A directory first gets a name with a dot in front, so that it is there whole or not at all.

    Raises:
        OSError: it could not be removed.
    """
    if path.is_dir() and not path.is_symlink():
        doomed = _beside(path)
        shutil.rmtree(doomed, ignore_errors=True)
        path.replace(doomed)
        sync_directory(path.parent)
        shutil.rmtree(doomed)
    elif path.is_symlink() or path.exists():
        path.unlink()
        sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Let there be a directory, and those that it lies in.

    Raises:
        OSError: it could not be made, or a file has its name.
    """
    missing = [parent for parent in (path, *path.parents) if not parent.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_directory(made.parent)


def sync_directory(path: Path) -> None:
    """Flush a directory's names to the disk.

    Raises:
        OSError: it could not be flushed.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def digest_of(path: Path) -> ContentDigest:
    """The digest of a file's bytes, read from the disk now.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    with path.open("rb") as file:
        return ContentDigest(f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")


@contextmanager
def _replacing(path: Path, mode: int) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of `path` when the block ends without an error."""
    make_directory(path.parent)
    beside = _beside(path)
    # What lies there may be a link that somebody else made, or have another mode.
    beside.unlink(missing_ok=True)
    try:
        with beside.open("xb") as file:
            os.fchmod(file.fileno(), mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")
