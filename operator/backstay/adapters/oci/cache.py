"""Blobs on disk, by their digest: fetched once, verified before they get their name, resumed after a crash.

One process owns a directory. A file without a suffix is whole; `.part` is a download that has not ended, and a
later one goes on from its end.
"""

import asyncio
import hashlib
import os
import re
import time
from collections.abc import Container, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from backstay.core.planes import ContentDigest
from backstay.errors import Unavailable
from backstay.ports.registry import ArtifactAltered, BadReference, Blob, Registry, Repository

READ_BYTES: Final = 1024 * 1024
ABANDONED_SECONDS: Final = 7 * 24 * 3600.0
"""A download that nobody has gone on with for so long is of a version that nobody wants any more."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class CacheUnwritable(Unavailable):
    """The cache's directory cannot be read or written, or its disk is full."""


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


@dataclass(frozen=True, slots=True)
class _Fingerprint:
    """What tells without reading that a file is still the one that was verified."""

    inode: int
    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> "_Fingerprint | None":
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


class BlobCache:
    """Keeps blobs of a registry in a directory, each read from there once."""

    def __init__(self, directory: Path, registry: Registry) -> None:
        """Use `directory`, which is made when the first blob is fetched."""
        self._directory = directory / "sha256"
        self._registry = registry
        self._verified: dict[ContentDigest, _Fingerprint] = {}
        self._filling: dict[ContentDigest, asyncio.Lock] = {}

    async def path(self, repository: Repository, digest: ContentDigest, size_bytes: int) -> Path:
        """The file that holds exactly the blob's bytes, fetched first if it is not there or no longer right.

        A blob that is asked for many times at once is fetched once. A file is read and hashed when it is first
        asked for in this process, and again when it has changed on disk.

        Raises:
            BadReference: the digest is none.
            CacheUnwritable: the directory cannot be used.
            ArtifactMissing, ArtifactAltered, ArtifactMalformed, RegistryForbidden, RegistryUnavailable
        """
        if not _DIGEST.fullmatch(digest):
            # It becomes a file's name.
            msg = f"{digest!r} is not sha256: and 64 hexadecimal digits, so nothing can be fetched by it"
            raise BadReference(msg)
        blob = Blob(digest, size_bytes)
        async with self._filling.setdefault(digest, asyncio.Lock()):
            try:
                path = self._directory / digest.removeprefix("sha256:")
                if not await asyncio.to_thread(self._holds, path, blob):
                    await self._fill(path, repository, blob)
            except OSError as error:
                msg = f"the cache {self._directory} cannot keep {digest}: {error}; free or mend its disk"
                raise CacheUnwritable(msg) from error
            return path

    async def trim(self, limit_bytes: int, needed: Container[ContentDigest]) -> list[ContentDigest]:
        """Delete the blobs that were asked for longest ago until the rest is within the limit; gives what went.

        What is needed stays, also where it alone is above the limit, and so does what is being fetched. Downloads that
        nobody has gone on with for a week go as well.

        Raises:
            CacheUnwritable: the directory cannot be read or written.
        """
        busy = {digest for digest, lock in self._filling.items() if lock.locked()}
        try:
            return await asyncio.to_thread(self._trimmed, limit_bytes, needed, busy)
        except OSError as error:
            msg = f"the cache {self._directory} cannot be trimmed: {error}; mend its disk"
            raise CacheUnwritable(msg) from error

    def _trimmed(
        self, limit_bytes: int, needed: Container[ContentDigest], busy: Container[ContentDigest]
    ) -> list[ContentDigest]:
        files = sorted(_files(self._directory), key=lambda file: file.used)
        total, gone = sum(file.size_bytes for file in files), []
        abandoned = time.time() - ABANDONED_SECONDS
        for file in files:
            is_old_part = file.is_part and file.used < abandoned
            is_free = not file.is_part and total > limit_bytes and file.digest not in needed
            if file.digest in busy or not (is_old_part or is_free):
                continue
            file.path.unlink(missing_ok=True)
            self._verified.pop(file.digest, None)
            total -= file.size_bytes
            gone.append(file.digest)
        return gone

    def _holds(self, path: Path, blob: Blob) -> bool:
        fingerprint = _Fingerprint.of(path)
        if fingerprint is None or fingerprint.size_bytes != blob.size_bytes:
            return False
        # When it was last asked for; the time of modification is left alone, because it is part of the fingerprint.
        os.utime(path, ns=(time.time_ns(), fingerprint.modified_ns))
        if self._verified.get(blob.digest) != fingerprint:
            with path.open("rb") as file:
                if f"sha256:{_hash_of(file).hexdigest()}" != blob.digest:
                    return False
            self._verified[blob.digest] = fingerprint
        return True

    async def _fill(self, path: Path, repository: Repository, blob: Blob) -> None:
        part = path.with_suffix(".part")
        await asyncio.to_thread(part.parent.mkdir, parents=True, exist_ok=True)
        resumed = await self._download(part, repository, blob)
        try:
            await asyncio.to_thread(self._finish, part, path, repository, blob)
        except ArtifactAltered:
            if not resumed:
                raise
            # What an earlier process left may be what is wrong: the registry gets the benefit of one whole download.
            await self._download(part, repository, blob)
            await asyncio.to_thread(self._finish, part, path, repository, blob)

    async def _download(self, part: Path, repository: Repository, blob: Blob) -> bool:
        """Bring `part` to the blob's length; tell whether some of it was there before."""
        with await asyncio.to_thread(part.open, "ab") as file:
            have = file.tell()
            if have >= blob.size_bytes:
                await asyncio.to_thread(file.truncate, 0)
                have = 0
            async with aclosing(self._registry.open_blob(repository, blob, have)) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(file.write, chunk)
            await asyncio.to_thread(_flush_to_disk, file)
            return have > 0

    def _finish(self, part: Path, path: Path, repository: Repository, blob: Blob) -> None:
        with part.open("rb") as file:
            found = f"sha256:{_hash_of(file).hexdigest()}"
        if found != blob.digest:
            part.unlink()
            msg = f"{repository}@{blob.digest} arrived with the digest {found}: push the artifact again"
            raise ArtifactAltered(msg)
        part.replace(path)
        if fingerprint := _Fingerprint.of(path):
            self._verified[blob.digest] = fingerprint


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the cache."""

    path: Path
    digest: ContentDigest
    size_bytes: int
    used: float
    """When it was last asked for, or for a part written to, in Unix time."""
    is_part: bool


def _files(directory: Path) -> Iterator[_File]:
    for path in directory.iterdir() if directory.is_dir() else ():
        digest = ContentDigest(f"sha256:{path.stem}")
        if _DIGEST.fullmatch(digest) and path.suffix in {"", ".part"}:
            found = path.stat()
            is_part = path.suffix == ".part"
            yield _File(path, digest, found.st_size, found.st_mtime if is_part else found.st_atime, is_part)


def _hash_of(file: BinaryIO) -> _Hash:
    content = hashlib.sha256()
    while data := file.read(READ_BYTES):
        content.update(data)
    return content


def _flush_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
