"""A real registry on a free loopback port, with its store in a directory that tests may damage."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from backstay.adapters.oci.media_types import OCI_INDEX, OCI_MANIFEST
from backstay.ports.registry import Repository
from backstay.sandbox.ports import free_ports
from backstay.sandbox.process import Child
from tests.contracts.artifacts import Sample, digest_of

READY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class DockerRegistry:
    """Where the registry listens, and where it keeps its bytes."""

    host: str
    data: Path
    child: Child

    def repository(self, path: str) -> Repository:
        return Repository.parse(f"{self.host}/{path}")

    def blob_file(self, digest: str) -> Path:
        """The file that holds the bytes of a blob or a manifest."""
        name = digest.removeprefix("sha256:")
        return self.data / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"


@contextmanager
def docker_registry_in(directory: Path, **more: Any) -> Iterator[DockerRegistry]:
    """Run a registry with its configuration, log and store in a directory."""
    port = free_ports().registry
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "only for tests"},
    } | more
    file = directory / "registry.yaml"
    file.write_text(json.dumps(configuration))
    child = Child("registry", ("docker-registry", "serve", str(file)), directory / "log", environment=os.environ)
    child.start()
    try:
        wait_for(f"http://127.0.0.1:{port}/v2/", child)
        yield DockerRegistry(f"127.0.0.1:{port}", directory / "data", child)
    finally:
        child.kill()


async def put_blob(session: aiohttp.ClientSession, repository: Repository, data: bytes) -> None:
    """Upload a blob as it is."""
    async with session.post(f"{repository.origin}/v2/{repository.path}/blobs/uploads/") as response:
        response.raise_for_status()
        place = response.url.join(URL(response.headers["Location"]))
    async with session.put(place.update_query(digest=digest_of(data)), data=BytesIO(data)) as response:
        response.raise_for_status()


async def put_manifest(
    session: aiohttp.ClientSession, repository: Repository, data: bytes, tag: str | None = None
) -> str:
    """Upload a manifest or an index as it is, and return its digest."""
    media_type = json.loads(data).get("mediaType", OCI_MANIFEST)
    url = f"{repository.origin}/v2/{repository.path}/manifests/{tag or digest_of(data)}"
    async with session.put(url, data=data, headers={"Content-Type": media_type}) as response:
        response.raise_for_status()
    return digest_of(data)


async def put_sample(session: aiohttp.ClientSession, repository: Repository, sample: Sample) -> str:
    """Upload a whole artifact, and return its reference."""
    for data in sample.blobs:
        await put_blob(session, repository, data)
    return f"{repository}@{await put_manifest(session, repository, sample.manifest)}"


async def get(
    session: aiohttp.ClientSession, repository: Repository, path: str, *, missing: bytes | None = None
) -> bytes:
    """What a repository has below a path, or `missing` where it has nothing."""
    headers = {"Accept": f"{OCI_MANIFEST}, {OCI_INDEX}"}
    async with session.get(f"{repository.origin}/v2/{repository.path}/{path}", headers=headers) as response:
        if response.status == HTTPStatus.NOT_FOUND and missing is not None:
            return missing
        response.raise_for_status()
        return await response.read()


def wait_for(url: str, child: Child) -> None:
    """Wait until a server answers, whatever it answers."""
    end = time.monotonic() + READY_SECONDS
    while True:
        child.check()
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError as error:
            # It wants credentials: it is there.
            error.close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return
