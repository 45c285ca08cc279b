"""One layer of the image: a directory tree as a compressed archive that depends on nothing but what is in it."""

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from backstay.sandbox.golang import cache_home
from backstay.sandbox.progress import Progress, Report

KEPT: Final = 4
"""Layers of each kind: other checkouts and architectures have theirs."""
STICKY: Final = {"tmp": 0o1777}


@dataclass(frozen=True, slots=True)
class Component:
    """One thing that somebody else released, and that is inside."""

    source: Literal["deb", "pypi"]
    name: str
    version: str
    license: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in the cache."""

    name: str
    archive: Path
    content: str
    """The digest of the archive before it was compressed, as an image's config names it."""
    size_bytes: int
    """Before it was compressed."""
    components: tuple[Component, ...]


Fill = Callable[[Path], tuple[Component, ...]]
"""Puts a layer's files into a directory, and returns what they are."""


def layer(name: str, key: str, fill: Fill, report: Report, *, fresh: bool = False) -> Layer:
    """The layer of that key, from the cache or filled now.

    Raises whatever `fill` does.
    """
    home = cache_home() / "image"
    home.mkdir(parents=True, exist_ok=True)
    archive = home / f"{name}-{key}.tar.gz"
    told = archive.with_suffix(".json")  # beside it, as NAME.tar.json
    with (home / "lock").open("a") as lock:
        # Two that make the same layer at once would only make it twice.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if fresh or not (archive.exists() and told.exists()):
            _make(name, archive, told, fill, report)
        os.utime(archive)
        return _read(name, archive, told)


def _make(name: str, archive: Path, told: Path, fill: Fill, report: Report) -> None:
    making = Progress(report, f"making layer {name} of the image")
    home = archive.parent
    with tempfile.TemporaryDirectory(dir=home) as directory:
        root = Path(directory) / "root"
        root.mkdir()
        components = fill(root)
        half = Path(directory) / archive.name
        content, size = write_archive(root, half)
        record = {"content": content, "size_bytes": size, "components": [asdict(one) for one in components]}
        told.write_text(json.dumps(record, indent=1), encoding="utf-8")
        half.replace(archive)
    _forget_old(home, name)
    making.done()


def write_archive(root: Path, to: Path) -> tuple[str, int]:
    """Write a tree as an archive in which owners and times are nobody's.

    Returns its digest and its size before compression.
    """
    plain = to.with_suffix(".tar")
    with tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            _add(archive, path, str(path.relative_to(root)))
    with plain.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with plain.open("rb") as file, to.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        shutil.copyfileobj(file, packed, 1024**2)
    size = plain.stat().st_size
    plain.unlink()
    return f"sha256:{digest}", size


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    if path.is_symlink():
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        archive.addfile(entry)
    elif path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, STICKY.get(name, 0o755)
        archive.addfile(entry)
    elif path.is_file():
        # What only root may read in the package, nobody needs here; and no file gives more rights than its caller has.
        entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
        entry.size = path.stat().st_size
        with path.open("rb") as file:
            archive.addfile(entry, file)


def _read(name: str, archive: Path, told: Path) -> Layer:
    record = json.loads(told.read_text(encoding="utf-8"))
    components = tuple(Component(**one) for one in record["components"])
    return Layer(name, archive, record["content"], record["size_bytes"], components)


def _forget_old(home: Path, name: str) -> None:
    for old in sorted(home.glob(f"{name}-*.tar.gz"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink()
