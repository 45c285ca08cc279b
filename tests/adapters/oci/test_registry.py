"""The reader on bad lines and before bad registries; what it reads well is in tests/contracts."""

import asyncio
from uuid import uuid4

import aiohttp
import pytest

from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import MANIFEST_LIMIT_BYTES, Transport
from backstay.ports.registry import (
    ArtifactAltered,
    ArtifactMalformed,
    Blob,
    RegistryForbidden,
    RegistryUnavailable,
    Repository,
)
from tests.adapters.oci.bad_lines import line_to, server_that_says
from tests.contracts.artifacts import blob_of
from tests.contracts.docker_registry import DockerRegistry, docker_registry_in, put_blob

REFERENCE = f"test@sha256:{'0' * 64}"
LARGE = uuid4().bytes * 128 * 1024


async def read(registry: OciRegistry, repository: Repository, blob: Blob, offset: int = 0) -> bytes:
    return b"".join([chunk async for chunk in registry.open_blob(repository, blob, offset)])


@pytest.fixture
async def large(docker_registry: DockerRegistry, session: aiohttp.ClientSession) -> Blob:
    """A blob of 2 MiB, held as `test` by the real registry."""
    await put_blob(session, docker_registry.repository("test"), LARGE)
    return blob_of(LARGE)


async def test_open_blob_resumes_where_it_stopped_when_the_connection_drops(
    docker_registry: DockerRegistry, registry: OciRegistry, large: Blob
) -> None:
    async with line_to(docker_registry.host, 500_000, 700_000, 1000) as line:
        data = await read(registry, Repository(line.host, "test"), large)
    assert data == LARGE
    assert line.connections >= 4
    # Buffers on the way may be lost with a connection, but nothing is fetched again from its beginning.
    assert line.carried_bytes < 1.5 * len(LARGE)
    ranges = [request for request in line.requests if b"Range: bytes=" in request]
    assert len(ranges) == line.connections - 1


async def test_open_blob_gives_up_when_no_try_brings_a_byte(
    docker_registry: DockerRegistry, registry: OciRegistry, large: Blob
) -> None:
    async with line_to(docker_registry.host, *[100] * 100) as line:
        with pytest.raises(RegistryUnavailable, match="after byte 0 of 2097152, in 4 tries"):
            await read(registry, Repository(line.host, "test"), large)
    # The HTTP client itself tries a dropped request once more.
    assert line.connections <= 8


async def test_open_blob_refuses_when_the_blob_is_above_the_limit(transport: Transport) -> None:
    with pytest.raises(ArtifactMalformed, match="above the limit of 10"):
        await read(OciRegistry(transport, blob_limit_bytes=10), Repository("127.0.0.1:1", "test"), blob_of(b"x" * 11))


async def test_open_blob_skips_what_it_has_when_the_registry_ignores_range(registry: OciRegistry) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"
    async with server_that_says(whole) as host:
        assert await read(registry, Repository(host, "test"), blob_of(b"0123456789"), 7) == b"789"


async def test_open_blob_refuses_when_the_registry_answers_another_range(registry: OciRegistry) -> None:
    wrong = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes 6-9/10\r\n\r\n6789"
    async with server_that_says(wrong) as host:
        with pytest.raises(ArtifactAltered, match="bytes 6-9/10 from byte 7"):
            await read(registry, Repository(host, "test"), blob_of(b"0123456789"), 7)


async def test_open_blob_stops_when_the_registry_sends_without_end(registry: OciRegistry) -> None:
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 5000
    async with server_that_says(endless) as host:
        with pytest.raises(ArtifactAltered, match="longer than its manifest says"):
            await read(registry, Repository(host, "test"), blob_of(b"x" * 10))


async def test_open_blob_frees_the_connection_when_the_reader_stops_early(
    docker_registry: DockerRegistry, registry: OciRegistry, session: aiohttp.ClientSession, large: Blob
) -> None:
    chunks = registry.open_blob(docker_registry.repository("test"), large)
    assert await anext(chunks)
    await chunks.aclose()
    assert session.connector is not None
    assert not session.connector._acquired


async def test_resolve_says_unavailable_when_the_registry_is_silent(session: aiohttp.ClientSession) -> None:
    registry = OciRegistry(Transport(session, answer_timeout_seconds=0.2))
    async with server_that_says(None) as host:
        with pytest.raises(RegistryUnavailable, match=f"the registry {host} did not give"):
            await registry.resolve(f"{host}/{REFERENCE}", "esp32")


async def test_open_blob_says_unavailable_when_the_bytes_stop_coming(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstay.adapters.oci.registry.FIRST_PAUSE_SECONDS", 0.0)
    registry = OciRegistry(Transport(session, answer_timeout_seconds=1, silence_timeout_seconds=0.1))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(RegistryUnavailable, match="after byte 0 of 10"):
        await read(registry, Repository(host, "test"), blob_of(b"0123456789"))
    server.close()


@pytest.mark.parametrize("status", [b"500 Oops", b"429 Slow", b"418 Teapot"])
async def test_resolve_says_unavailable_when_the_registry_answers_an_error(
    registry: OciRegistry, status: bytes
) -> None:
    async with server_that_says(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") as host:
        with pytest.raises(RegistryUnavailable, match=f"answers {status[:3].decode()}"):
            await registry.resolve(f"{host}/{REFERENCE}", "esp32")


async def test_resolve_refuses_when_the_manifest_is_huge(registry: OciRegistry) -> None:
    body = b"x" * (MANIFEST_LIMIT_BYTES + 1)
    async with server_that_says(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body) as host:
        with pytest.raises(ArtifactMalformed, match="larger than"):
            await registry.resolve(f"{host}/{REFERENCE}", "esp32")


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/secret", "ftp://x/", "http://[::1"])
async def test_resolve_follows_no_redirect_to_plain_text_elsewhere(registry: OciRegistry, place: str) -> None:
    answer = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
    async with server_that_says(answer) as host:
        with pytest.raises(RegistryUnavailable, match="redirects"):
            await registry.resolve(f"{host}/{REFERENCE}", "esp32")


async def test_resolve_names_the_credentials_when_the_registry_wants_some(
    tmp_path_factory: pytest.TempPathFactory, registry: OciRegistry
) -> None:
    closed = {"silly": {"realm": "http://127.0.0.1:1/token", "service": "test"}}
    with (
        docker_registry_in(tmp_path_factory.mktemp("closed"), auth=closed) as docker,
        pytest.raises(RegistryForbidden, match="check the pull credentials"),
    ):
        await registry.resolve(f"{docker.host}/{REFERENCE}", "esp32")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("localhost", "http://localhost"),
        ("registry:5000", "https://registry:5000"),
        ("10.0.0.1", "https://10.0.0.1"),
        ("127.0.0.1.example.org", "https://127.0.0.1.example.org"),
    ],
)
def test_repository_is_spoken_to_in_plain_text_only_when_it_is_on_this_machine(host: str, origin: str) -> None:
    assert Repository.parse(f"{host}/vision/model").origin == origin
