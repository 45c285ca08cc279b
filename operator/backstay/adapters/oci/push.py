"""Pushing an artifact, and reading it back with our own eyes before anybody is told that it is there.

oras uploads the blobs and finds the credentials that `docker login` stored. Its own `push` cannot set an artifact
type and names layers after local files, so the manifest is ours and goes up as the bytes that its digest names.
"""

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Final

import oras.container
import oras.provider
from oras.auth import AuthenticationException

from backstay.adapters.oci.manifest import digest_of
from backstay.adapters.oci.media_types import OCI_MANIFEST
from backstay.adapters.oci.new_artifact import NewArtifact, Packed, Part, check_input, pack
from backstay.errors import Refused
from backstay.ports.registry import (
    ArtifactDescription,
    ManifestDigest,
    Reference,
    Registry,
    RegistryForbidden,
    RegistryUnavailable,
    Repository,
)

CONNECT_TIMEOUT_SECONDS: Final = 10
ANSWER_TIMEOUT_SECONDS: Final = 60

Progress = Callable[[str], None]


class PushRefused(Refused):
    """The registry answered that it does not take the artifact."""


async def push_artifact(
    registry: Registry, repository: Repository, artifact: NewArtifact, progress: Progress = lambda _: None
) -> ArtifactDescription:
    """Check, push and read back one artifact; the same input pushed again changes nothing.

    Raises:
        InputWrong: before anything is sent.
        PushRefused, RegistryForbidden, RegistryUnavailable: the registry did not take it.
        ArtifactAltered: it took it, and gives other bytes back.
    """
    await asyncio.to_thread(check_input, artifact)
    packed = await asyncio.to_thread(pack, artifact)
    await asyncio.to_thread(push_packed, repository, _tag(artifact), packed, progress)
    progress("reading it back")
    reference = Reference(repository, ManifestDigest(digest_of(packed.manifest)))
    described = await registry.resolve(str(reference), artifact.device_class)
    async with aclosing(registry.fetch(described)) as chunks:
        async for _ in chunks:
            pass
    return described


def _tag(artifact: NewArtifact) -> str:
    # Only so that a registry's clean-up keeps it and a person finds it; nothing reads an artifact by its tag.
    return f"{artifact.version}-{artifact.device_class}".replace("+", "_")


def push_packed(repository: Repository, tag: str, packed: Packed, progress: Progress = lambda _: None) -> None:
    """Push what was packed, under a tag or its own digest; blocking.

    Raises `PushRefused`, `RegistryForbidden` or `RegistryUnavailable` if the registry did not take it.
    """
    manifest = Part.of(packed.manifest, OCI_MANIFEST)
    _push(repository, tag, (*packed.layers, packed.config), manifest, progress)


def push_manifest(repository: Repository, tag: str, manifest: Part) -> None:
    """Push a manifest or an index under a tag, where all that it names is there already; blocking.

    Raises as `push_packed` does.
    """
    _push(repository, tag, (), manifest, lambda _: None)


def _push(repository: Repository, tag: str, blobs: tuple[Part, ...], manifest: Part, progress: Progress) -> None:
    client = _client(repository)
    answers: list[int] = []
    client.session.hooks["response"].append(lambda response, **_: answers.append(response.status_code))
    where = f"the registry {repository.host}"
    try:
        _upload(client, repository, tag, blobs, manifest, progress)
    except (AuthenticationException, ValueError, OSError) as error:
        # What oras raises for wanted credentials differs by how they were wanted; the last answer does not.
        if answers and answers[-1] in {401, 403}:
            msg = f"{where} wants other credentials to push: give them with `docker login`"
            raise RegistryForbidden(msg) from error
        if isinstance(error, OSError):
            msg = f"{where} cannot be reached to push {repository}:{tag}: {error}; check that it runs"
            raise RegistryUnavailable(msg) from error
        raise PushRefused(f"{where} does not take {repository}:{tag}: {error}; its log says why") from error


def _upload(
    client: oras.provider.Registry,
    repository: Repository,
    tag: str,
    blobs: tuple[Part, ...],
    manifest: Part,
    progress: Progress,
) -> None:
    container = _container(repository)
    client.auth.load_configs(container)
    with tempfile.TemporaryDirectory(prefix="backstay-push-") as directory:
        for part in blobs:
            progress(f"pushing {part.media_type}, {part.size_bytes} bytes")
            file = _as_file(part, Path(directory))
            _require_success(client.upload_blob(str(file), container, part.descriptor()))
    url = f"{client.prefix}://{container.manifest_url(tag)}"
    _require_success(client.do_request(url, "PUT", data=manifest.data, headers={"Content-Type": manifest.media_type}))


def _client(repository: Repository) -> oras.provider.Registry:
    client = oras.provider.Registry(insecure=repository.loopback)
    # oras waits for ever for an answer, and tries an unreachable registry again for two minutes without a word.
    client.session.request = partial(client.session.request, timeout=(CONNECT_TIMEOUT_SECONDS, ANSWER_TIMEOUT_SECONDS))
    client.do_request = partial(oras.provider.Registry.do_request.__wrapped__, client)
    # A proxy that the environment names for the world outside is no way to this machine.
    client.session.trust_env = not repository.loopback
    return client


def _container(repository: Repository) -> oras.container.Container:
    # Its parser guesses where the host ends; we know.
    container = oras.container.Container(repository.path, registry=repository.host)
    container.registry, container.namespace, container.repository = repository.host, None, repository.path
    return container


def _as_file(part: Part, directory: Path) -> Path:
    if isinstance(part.data, Path):
        return part.data
    file = directory / part.digest.removeprefix("sha256:")
    file.write_bytes(part.data)
    return file


def _require_success(response: Any) -> None:  # noqa: ANN401  oras carries no types
    if response.status_code >= 500:  # noqa: PLR2004  what HTTP calls a server's error
        raise OSError(f"it answers {response.status_code} {response.reason}")
    if response.status_code not in {200, 201, 202}:
        raise ValueError(f"it answers {response.status_code} {response.reason} {response.text[:500]}".rstrip())
