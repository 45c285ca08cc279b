"""Payloads are kept whole with what is known of them; a full disk and a damaged file have their names."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.adapters.node.releases import ReleaseStore
from backstay.core.device import Reason
from backstay.core.planes import Plane, Release
from backstay.errors import Unavailable
from backstay.ports.installer import CannotInstall
from tests.contracts.installers import NEEDS, digest_of

DATA = b"payload" * 10_000
RELEASE = Release(Plane.FIRMWARE, "2.0.0", digest_of(DATA), NEEDS, "registry.example/vision@sha256:0")


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "payload"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 KiB."""
    disk = tmp_path / "small"
    disk.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", disk), check=True)
    yield disk
    subprocess.run(("umount", disk), check=True)


def test_release_is_as_it_was_when_another_process_reads_it(tmp_path: Path, payload: Path) -> None:
    ReleaseStore(tmp_path / "store", Plane.FIRMWARE, mode=0o755).keep(RELEASE, payload)
    store = ReleaseStore(tmp_path / "store", Plane.FIRMWARE)
    assert store.contents() == {RELEASE.content}
    assert store.release(RELEASE.content) == RELEASE
    assert store.verified(RELEASE.content).read_bytes() == DATA
    assert store.path(RELEASE.content).stat().st_mode & 0o777 == 0o755


def test_nothing_is_kept_when_the_disk_is_full(small_disk: Path, payload: Path) -> None:
    store = ReleaseStore(small_disk / "store", Plane.FIRMWARE)
    with pytest.raises(CannotInstall) as refusal:
        store.keep(RELEASE, payload)
    assert refusal.value.cause.reason is Reason.NO_SPACE
    assert store.contents() == frozenset()
    store.trim(())
    assert list((small_disk / "store").iterdir()) == []


def test_disk_is_named_when_it_cannot_be_written(tmp_path: Path, payload: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file is in the way")
    with pytest.raises(Unavailable, match="mend the disk"):
        ReleaseStore(tmp_path / "store", Plane.FIRMWARE).keep(RELEASE, payload)


def test_payload_is_kept_anew_when_it_was_damaged(tmp_path: Path, payload: Path) -> None:
    store = ReleaseStore(tmp_path / "store", Plane.FIRMWARE)
    store.keep(RELEASE, payload)
    store.path(RELEASE.content).write_bytes(b"damaged")
    with pytest.raises(CannotInstall) as refusal:
        store.verified(RELEASE.content)
    assert refusal.value.cause.reason is Reason.DIGEST_MISMATCH
    store.keep(RELEASE, payload)
    assert store.verified(RELEASE.content).read_bytes() == DATA


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"version": "1", "requires": {"x": "y"}, "artifact": ""}'])
def test_only_the_digest_is_known_when_the_note_cannot_be_read(tmp_path: Path, payload: Path, note: bytes) -> None:
    store = ReleaseStore(tmp_path / "store", Plane.FIRMWARE)
    store.keep(RELEASE, payload)
    store.path(RELEASE.content).with_suffix(".json").write_bytes(note)
    assert store.release(RELEASE.content) == Release(Plane.FIRMWARE, "unknown", RELEASE.content)


def test_only_what_is_needed_stays_when_the_store_is_trimmed(tmp_path: Path, payload: Path) -> None:
    store, other = ReleaseStore(tmp_path / "store", Plane.FIRMWARE), tmp_path / "other"
    other.write_bytes(b"other")
    store.keep(RELEASE, payload)
    store.keep(replace(RELEASE, content=digest_of(b"other")), other)
    (tmp_path / "store" / f".{'0' * 64}.new").write_bytes(b"what a power cut left")
    store.trim({RELEASE.content})
    assert len(list((tmp_path / "store").iterdir())) == 2, "a payload and its note"
    assert store.contents() == {RELEASE.content}
