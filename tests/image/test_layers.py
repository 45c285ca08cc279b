import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from backstay.errors import Refused
from image import debian
from image.architectures import ARCHITECTURES, architecture
from image.layers import Component, layer, write_archive
from image.python import locked_for

LOCK = """\
# made by uv
alone==1.0 \\
    --hash=sha256:aa
    # via backstay
both==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
both==3.0 ; python_full_version >= '3.12' \\
    --hash=sha256:dd
only-arm==1.0 ; platform_machine == 'aarch64' \\
    --hash=sha256:ee
windows==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:ff
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "usr/bin/tool").write_text("#!/bin/sh\n")
    (root / "usr/bin/tool").chmod(0o4755)
    (root / "usr/bin/secret").write_text("for root alone")
    (root / "usr/bin/secret").chmod(0o600)
    (root / "usr/bin/link").symlink_to("tool")
    return root


def test_archive_is_the_same_when_only_times_owners_and_order_differ(tree: Path, tmp_path: Path):
    first = write_archive(tree, tmp_path / "first.tar.gz")
    os.utime(tree / "usr/bin/tool", (1, 1))
    (tree / "usr/bin/link").unlink()
    (tree / "usr/bin/link").symlink_to("tool")
    second = write_archive(tree, tmp_path / "second.tar.gz")

    assert first == second
    assert (tmp_path / "first.tar.gz").read_bytes() == (tmp_path / "second.tar.gz").read_bytes()


def test_archive_gives_no_rights_beyond_those_of_its_caller(tree: Path, tmp_path: Path):
    write_archive(tree, tmp_path / "layer.tar.gz")

    with tarfile.open(fileobj=io.BytesIO(gzip.decompress((tmp_path / "layer.tar.gz").read_bytes()))) as archive:
        entries = {entry.name: entry for entry in archive}
    assert {name: oct(entry.mode) for name, entry in entries.items() if entry.isfile()} == {
        "usr/bin/tool": "0o755",
        "usr/bin/secret": "0o644",
    }
    assert oct(entries["tmp"].mode) == "0o1777"
    assert {(entry.uid, entry.gid, entry.mtime) for entry in entries.values()} == {(0, 0, 0)}


def test_layer_is_filled_once_when_its_key_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    filled: list[str] = []

    def fill(root: Path) -> tuple[Component, ...]:
        filled.append(root.name)
        (root / "file").write_text(f"{len(filled)}")
        return (Component("deb", "libc6", "2.36"),)

    first, again = (layer("base", "1", fill, lambda _: None) for _ in range(2))
    other = layer("base", "2", fill, lambda _: None)
    fresh = layer("base", "1", fill, lambda _: None, fresh=True)

    assert first == again
    assert first.components == (Component("deb", "libc6", "2.36"),)
    assert len({first.content, other.content, fresh.content}) == 3
    assert len(filled) == 3


def test_layer_is_not_there_when_filling_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fail(root: Path) -> tuple[Component, ...]:
        (root / "half").write_text("")
        raise Refused("no network")

    with pytest.raises(Refused, match="no network"):
        layer("base", "1", fail, lambda _: None)
    assert [path.name for path in (tmp_path / "backstay/image").iterdir()] == ["lock"]


def test_lock_is_read_for_the_image_and_not_for_this_machine():
    amd64, arm64 = ("".join(locked_for(LOCK, ARCHITECTURES[name])) for name in ("amd64", "arm64"))

    assert amd64 == "alone==1.0 \\\n    --hash=sha256:aa\nboth==2.0 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
    assert arm64 == f"{amd64}only-arm==1.0 \\\n    --hash=sha256:ee\n"


def test_architecture_is_refused_when_no_image_is_made_for_it():
    with pytest.raises(Refused, match=r"no image is made for 'riscv64': there are amd64, arm64"):
        architecture("riscv64")


def test_base_is_refused_with_the_way_out_when_there_is_no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Refused, match="no apt-get; take image/Dockerfile"):
        debian.base(ARCHITECTURES["amd64"])(tmp_path)
