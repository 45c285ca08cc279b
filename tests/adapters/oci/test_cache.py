"""The cache keeps what is right, once, and never serves what is not."""

import asyncio
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
