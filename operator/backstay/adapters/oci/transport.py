"""HTTP with a registry: where to ask, how long to wait, and what an answer means.

Source: https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from backstay.adapters.oci.media_types import OCI_INDEX, OCI_MANIFEST
from backstay.ports.registry import (
    ArtifactAltered,
    ArtifactMalformed,
    ArtifactMissing,
    RegistryForbidden,
    RegistryUnavailable,
    Repository,
)

ANSWER_TIMEOUT_SECONDS: Final = 10.0
SILENCE_TIMEOUT_SECONDS: Final = 30.0
MANIFEST_LIMIT_BYTES: Final = 4 * 1024 * 1024
REDIRECTS_LIMIT: Final = 5

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MANIFEST_TYPES: Final = {"Accept": f"{OCI_MANIFEST}, {OCI_INDEX}"}
# By the specification a registry without the referrers API answers 404; some refuse the path or the method instead.
_NO_REFERRERS: Final = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_ACCEPTABLE}
)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a long answer, and where the next one is."""

    data: bytes
    following: URL | None


class Transport:
    """Asks registries over one HTTP session that whoever starts the process owns."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        answer_timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
        silence_timeout_seconds: float = SILENCE_TIMEOUT_SECONDS,
    ) -> None:
        """Wait `answer_timeout_seconds` for an answer to begin, `silence_timeout_seconds` for its next bytes."""
        self._session = session
        self._answer_timeout_seconds = answer_timeout_seconds
        # No total: a large blob over a slow line takes as long as it takes, as long as bytes arrive.
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=answer_timeout_seconds, sock_read=silence_timeout_seconds
        )

    async def manifest(self, repository: Repository, name: str) -> bytes:
        """The bytes of the manifest or index that has this digest or tag, not verified.

        Raises:
            ArtifactMissing, ArtifactMalformed, RegistryForbidden, RegistryUnavailable
        """
        what = f"{repository}@{name}" if ":" in name else f"{repository}:{name}"
        url = URL(f"{repository.origin}/v2/{repository.path}/manifests/{name}")
        try:
            async with (
                asyncio.timeout(self._answer_timeout_seconds),
                self.get(url, _MANIFEST_TYPES, what) as response,
            ):
                return await _read_at_most(response, MANIFEST_LIMIT_BYTES, what)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise unavailable(repository.host, what, error) from error

    async def referrers(self, repository: Repository, digest: str, page: URL | None = None) -> Page | None:
        """A page of the index of what refers to a manifest, or None from a registry that has no such index.

        Raises:
            ArtifactMalformed, RegistryForbidden, RegistryUnavailable
        """
        what = f"what refers to {repository}@{digest}"
        url = page or URL(f"{repository.origin}/v2/{repository.path}/referrers/{digest}")
        try:
            async with (
                asyncio.timeout(self._answer_timeout_seconds),
                self._answer(url, {"Accept": OCI_INDEX}, what) as response,
            ):
                if response.status in _NO_REFERRERS:
                    return None
                _require_success(response, what)
                # What answers every path, such as a page for people, is no such index either.
                if response.content_type != OCI_INDEX:
                    return None
                return Page(await _read_at_most(response, MANIFEST_LIMIT_BYTES, what), _following(response, what))
        except (TimeoutError, aiohttp.ClientError) as error:
            raise unavailable(repository.host, what, error) from error

    @asynccontextmanager
    async def get(self, url: URL, headers: Mapping[str, str], what: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open an answer with a body, following redirects that do not leave TLS.

        Raises:
            ArtifactMissing, ArtifactAltered, RegistryForbidden, RegistryUnavailable: by the answer's status
            TimeoutError, aiohttp.ClientError: there was no answer
        """
        async with self._answer(url, headers, what) as response:
            _require_success(response, what)
            yield response

    @asynccontextmanager
    async def _answer(self, url: URL, headers: Mapping[str, str], what: str) -> AsyncIterator[aiohttp.ClientResponse]:
        for _ in range(REDIRECTS_LIMIT):
            async with asyncio.timeout(self._answer_timeout_seconds):
                response = await self._session.get(url, headers=headers, timeout=self._timeout, allow_redirects=False)
            async with response:
                if response.status not in _REDIRECTS:
                    yield response
                    return
                url = _redirected(url, response, what)
        msg = f"{url.host} redirects {what} more than {REDIRECTS_LIMIT} times; ask who runs the registry"
        raise RegistryUnavailable(msg)


def unavailable(host: str, what: str, error: Exception) -> RegistryUnavailable:
    """The error for a registry that gave no answer."""
    why = str(error) or type(error).__name__
    return RegistryUnavailable(f"the registry {host} did not give {what}: {why}; check that it runs and is reachable")


async def _read_at_most(response: aiohttp.ClientResponse, limit_bytes: int, what: str) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > limit_bytes:
            msg = f"the manifest of {what} is larger than {limit_bytes} bytes; it is not one that Backstay made"
            raise ArtifactMalformed(msg)
    return bytes(data)


def _require_success(response: aiohttp.ClientResponse, what: str) -> None:
    host, status = response.url.authority, response.status
    match status:
        case HTTPStatus.OK | HTTPStatus.PARTIAL_CONTENT:
            return
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            msg = f"the registry {host} answers {status} for {what}: check the pull credentials"
            raise RegistryForbidden(msg)
        case HTTPStatus.NOT_FOUND | HTTPStatus.GONE:
            msg = f"the registry {host} does not hold {what}; push it, or correct the reference"
            raise ArtifactMissing(msg)
        case HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            msg = f"the registry {host} holds less of {what} than its manifest says: push the artifact again"
            raise ArtifactAltered(msg)
        case _:
            msg = f"the registry {host} answers {status} for {what}; its log says why"
            raise RegistryUnavailable(msg)


def _following(response: aiohttp.ClientResponse, what: str) -> URL | None:
    host = response.url.authority
    try:
        if "next" not in (links := response.links):
            return None
        following = response.url.join(URL(links["next"]["url"]))
    except ValueError as error:
        msg = f"the registry {host} continues {what} nowhere; ask who runs it"
        raise RegistryUnavailable(msg) from error
    # As with redirects: a registry must not choose what else its reader asks.
    if following.origin() != response.url.origin():
        msg = f"the registry {host} continues {what} at {following.origin()}, another server; refused"
        raise RegistryUnavailable(msg)
    return following


def _redirected(url: URL, response: aiohttp.ClientResponse, what: str) -> URL:
    try:
        target = url.join(URL(response.headers["Location"]))
    except (KeyError, ValueError) as error:
        msg = f"the registry {url.authority} redirects {what} to nowhere; ask who runs it"
        raise RegistryUnavailable(msg) from error
    # A registry must not be able to point its reader at plain-text services inside the reader's own network.
    if target.scheme != "https" and target.origin() != url.origin():
        msg = f"the registry {url.authority} redirects {what} to {target.origin()}, which is not https; refused"
        raise RegistryUnavailable(msg)
    return target
