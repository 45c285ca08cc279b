"""The cache keeps what is right, once, and never serves what is not."""

import asyncio
import os
from pathlib import Path

import pytest

from backstay.adapters.oci.cache import BlobCache, CacheUnwritable
from backstay.core.planes import ContentDigest
from backstay.ports.registry import ArtifactAltered, BadReference, Blob, RegistryUnavailable
from tests.contracts.artifacts import blob_of
from tests.contracts.fake_registry import FakeRegistry

DATA = bytes(range(256)) * 40


@pytest.fixture
def registry() -> FakeRegistry:
    registry = FakeRegistry()
    registry.put(DATA)
    return registry


@pytest.fixture
def blob() -> Blob:
    return blob_of(DATA)


async def fetched(cache: BlobCache, registry: FakeRegistry, blob: Blob) -> Path:
    return await cache.path(registry.repository, blob.digest, blob.size_bytes)


async def test_cache_fetches_a_blob_once_when_many_ask_at_once(
    tmp_path: Path, registry: FakeRegistry, blob: Blob
) -> None:
    cache = BlobCache(tmp_path, registry)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(fetched(cache, registry, blob)) for _ in range(50)]
    assert {task.result().read_bytes() for task in asked} == {DATA}
    assert registry.opened == [(blob.digest, 0)]


async def test_cache_serves_without_a_registry_when_it_has_the_blob(
    tmp_path: Path, registry: FakeRegistry, blob: Blob
) -> None:
    await fetched(BlobCache(tmp_path, registry), registry, blob)
    registry.online = False
    path = await fetched(BlobCache(tmp_path, registry), registry, blob)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("wrong", [b"", DATA[:-1], DATA[:-1] + b"\0", DATA + b"x"])
async def test_cache_fetches_again_when_its_file_was_altered(
    tmp_path: Path, registry: FakeRegistry, blob: Blob, wrong: bytes
) -> None:
    (await fetched(BlobCache(tmp_path, registry), registry, blob)).write_bytes(wrong)
    path = await fetched(BlobCache(tmp_path, registry), registry, blob)
    assert path.read_bytes() == DATA


async def test_cache_fetches_again_when_its_file_changes_while_it_runs(
    tmp_path: Path, registry: FakeRegistry, blob: Blob
) -> None:
    cache = BlobCache(tmp_path, registry)
    (await fetched(cache, registry, blob)).write_bytes(DATA[:-1] + b"\0")
    assert (await fetched(cache, registry, blob)).read_bytes() == DATA
    (await fetched(cache, registry, blob)).unlink()
    assert (await fetched(cache, registry, blob)).read_bytes() == DATA


async def test_cache_resumes_when_an_earlier_process_left_a_part(
    tmp_path: Path, registry: FakeRegistry, blob: Blob
) -> None:
    left_part(tmp_path, blob, DATA[:5000])
    path = await fetched(BlobCache(tmp_path, registry), registry, blob)
    assert path.read_bytes() == DATA
    assert registry.opened == [(blob.digest, 5000)]


@pytest.mark.parametrize("part", [b"\0" * 5000, b"\0" * len(DATA), DATA + DATA])
async def test_cache_starts_again_when_the_part_that_was_left_is_wrong(
    tmp_path: Path, registry: FakeRegistry, blob: Blob, part: bytes
) -> None:
    left_part(tmp_path, blob, part)
    path = await fetched(BlobCache(tmp_path, registry), registry, blob)
    assert path.read_bytes() == DATA
    assert registry.opened[-1] == (blob.digest, 0)


async def test_cache_keeps_nothing_when_the_registry_altered_the_blob(
    tmp_path: Path, registry: FakeRegistry, blob: Blob
) -> None:
    registry.alter(blob.digest, DATA[:-1] + b"\0")
    cache = BlobCache(tmp_path, registry)
    with pytest.raises(ArtifactAltered):
        await fetched(cache, registry, blob)
    assert not whole_files(tmp_path)
    registry.put(DATA)
    assert (await fetched(cache, registry, blob)).read_bytes() == DATA


async def test_cache_goes_on_when_the_one_who_fetched_was_cancelled(
    tmp_path: Path, registry: FakeRegistry, blob: Blob
) -> None:
    cache = BlobCache(tmp_path, registry)
    first = asyncio.create_task(fetched(cache, registry, blob))
    second = asyncio.create_task(fetched(cache, registry, blob))
    await registry.begun.wait()
    first.cancel()
    assert (await second).read_bytes() == DATA
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_cache_says_unavailable_when_the_registry_is_off(
    tmp_path: Path, registry: FakeRegistry, blob: Blob
) -> None:
    registry.online = False
    with pytest.raises(RegistryUnavailable):
        await fetched(BlobCache(tmp_path, registry), registry, blob)


async def test_cache_names_its_directory_when_it_cannot_write(
    tmp_path: Path, registry: FakeRegistry, blob: Blob
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(CacheUnwritable, match=str(in_the_way)):
        await fetched(BlobCache(in_the_way, registry), registry, blob)


async def test_cache_refuses_when_the_digest_is_a_path(tmp_path: Path, registry: FakeRegistry) -> None:
    with pytest.raises(BadReference):
        await BlobCache(tmp_path, registry).path(registry.repository, ContentDigest("sha256:../../etc/passwd"), 1)


def whole_files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and path.suffix != ".part"]


def left_part(directory: Path, blob: Blob, data: bytes) -> None:
    file = directory / "sha256" / f"{blob.digest.removeprefix('sha256:')}.part"
    file.parent.mkdir(parents=True)
    file.write_bytes(data)


async def filled(cache: BlobCache, registry: FakeRegistry, *contents: bytes) -> list[Path]:
    """The files of some contents, asked for in this order and a second apart."""
    paths = []
    for index, content in enumerate(contents):
        registry.put(content)
        path = await fetched(cache, registry, blob_of(content))
        os.utime(path, (1_000_000 + index, path.stat().st_mtime))
        paths.append(path)
    return paths


async def test_cache_gives_up_what_was_asked_for_longest_ago_when_it_is_above_its_limit(
    tmp_path: Path, registry: FakeRegistry
) -> None:
    cache = BlobCache(tmp_path, registry)
    paths = await filled(cache, registry, b"a" * 100, b"b" * 100, b"c" * 100)
    assert await cache.trim(300, frozenset()) == []
    assert await cache.trim(299, frozenset()) == [blob_of(b"a" * 100).digest]
    assert [path.exists() for path in paths] == [False, True, True]
    assert (await fetched(cache, registry, blob_of(b"b" * 100))).exists()
    assert await cache.trim(150, frozenset()) == [blob_of(b"c" * 100).digest], "the other was asked for since"
    assert (await fetched(cache, registry, blob_of(b"a" * 100))).read_bytes() == b"a" * 100, "it is fetched again"


async def test_cache_keeps_what_is_needed_also_above_its_limit(tmp_path: Path, registry: FakeRegistry) -> None:
    cache = BlobCache(tmp_path, registry)
    needed = frozenset({blob_of(b"a" * 100).digest, blob_of(b"c" * 100).digest})
    paths = await filled(cache, registry, b"a" * 100, b"b" * 100, b"c" * 100)
    assert await cache.trim(0, needed) == [blob_of(b"b" * 100).digest]
    assert [path.exists() for path in paths] == [True, False, True]


async def test_cache_gives_up_a_download_only_when_nobody_has_gone_on_with_it_for_long(
    tmp_path: Path, registry: FakeRegistry
) -> None:
    cache = BlobCache(tmp_path, registry)
    left_part(tmp_path, blob_of(b"old"), b"o")
    directory = tmp_path / "sha256"
    old, new = (directory / f"{blob_of(one).digest.removeprefix('sha256:')}.part" for one in (b"old", b"new"))
    new.write_bytes(b"n")
    os.utime(old, (1_000_000, 1_000_000))
    (directory / "README").write_text("not ours")
    assert await cache.trim(0, frozenset()) == [blob_of(b"old").digest]
    assert {path.name for path in directory.iterdir()} == {"README", new.name}


async def test_cache_that_has_no_directory_yet_has_nothing_to_give_up(tmp_path: Path, registry: FakeRegistry) -> None:
    assert await BlobCache(tmp_path / "none", registry).trim(0, frozenset()) == []
