"""A small asynchronous client of the Kubernetes API: one HTTP session, orjson, plain objects.

The kubeconfig, its credentials and their renewal are the official client's; requests and JSON are
ours, because its generated models cost ten times what parsing does.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import aiohttp
import orjson

from backstay.errors import (
    BackstayError,
    Conflict,
    Forbidden,
    NotFound,
    Refused,
    Unavailable,
)

Json = dict[str, Any]

REQUEST_TIMEOUT_SECONDS: Final = 10.0
PAGE_SIZE: Final = 500
WATCH_SILENCE_SECONDS: Final = 75.0
EVENT_LIMIT_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Resource:
    """Where the API server keeps one kind; `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def path(
        self,
        namespace: str | None,
        name: str | None = None,
        subresource: str | None = None,
    ) -> str:
        """The URL path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about: a collection, an object in it, or a part of that."""

    resource: Resource
    namespace: str | None
    name: str | None = None
    subresource: str | None = None

    @property
    def path(self) -> str:
        """Its URL path."""
        return self.resource.path(self.namespace, self.name, self.subresource)

    @property
    def kind(self) -> str:
        """What it is, whichever object: `holds`, `releaseplans/status`."""
        return "/".join(part for part in (self.resource.plural, self.subresource) if part)


RELEASE_PLANS: Final = Resource("backstay.dev", "v1alpha1", "releaseplans")
DEVICE_GROUPS: Final = Resource("backstay.dev", "v1alpha1", "devicegroups")
HEALTH_RULES: Final = Resource("backstay.dev", "v1alpha1", "healthrules")
EDGE_DEVICES: Final = Resource("backstay.dev", "v1alpha1", "edgedevices")
AGENT_LEASES: Final = Resource("backstay.dev", "v1alpha1", "agentleases")
HOLDS: Final = Resource("backstay.dev", "v1alpha1", "holds")
CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases")
EVENTS: Final = Resource("events.k8s.io", "v1", "events")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices")
SECRETS: Final = Resource("", "v1", "secrets")
TOKEN_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "tokenreviews", namespaced=False)
SUBJECT_ACCESS_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", namespaced=False)
SELF_SUBJECT_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", namespaced=False)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: raw objects, and the version from which a watch continues."""

    items: tuple[Json, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch; a bookmark's object carries only its resourceVersion."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Json


@dataclass(frozen=True, slots=True)
class Credentials:
    """An identity at one API server; the files are the kubeconfig's own or temporary copies of its inline data."""

    host: str
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    token: str | None
    insecure: bool


class WatchExpired(Unavailable):
    """The server no longer has the version that the watch asked for (410 Gone): list again."""


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was tried: of what (`releaseplans/status`), how (`patch`), and what became of it."""

    resource: str
    verb: str
    problem: BackstayError | None


class Identity(Protocol):
    """Where the API server is, and as whom to speak to it: the official client's configuration, or a node's own."""

    @property
    def host(self) -> str:
        """URL of the server."""
        ...

    @property
    def ssl_ca_cert(self) -> str | None:
        """Whom to trust, as a file."""
        ...

    @property
    def cert_file(self) -> str | None:
        """The client's certificate."""
        ...

    @property
    def key_file(self) -> str | None:
        """The client's key."""
        ...

    @property
    def verify_ssl(self) -> bool:
        """Whether the server has to prove who it is."""
        ...

    async def auth_settings(self) -> Mapping[str, Any]:
        """The headers that authenticate, as `{name: {"key": header, "value": text}}`."""
        ...


class KubeClient:
    """Talks to one API server with one identity."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        identity: Identity,
        field_manager: str,
        heard_date: Callable[[str | None], None] = lambda _: None,
        *,
        wrote: Callable[[Write], None] = lambda _: None,
        dry_run: bool = False,
    ) -> None:
        """Ask in a session; `heard_date` is told the header Date of each answer, `wrote` every write that was tried.

        With `dry_run` the server checks every write, admission included, and keeps none.
        """
        self._session = session
        self._heard_date = heard_date
        self._wrote = wrote
        self._identity = identity
        self.host: Final[str] = str(identity.host).rstrip("/")
        self.field_manager: Final = field_manager
        self._dry_run: Final = {"dryRun": "All"} if dry_run else {}
        self._of_writes: Final = {"fieldManager": field_manager, **self._dry_run}

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        kubeconfig: Path | None,
        *,
        field_manager: str = "backstay",
        heard_date: Callable[[str | None], None] = lambda _: None,
        wrote: Callable[[Write], None] = lambda _: None,
        dry_run: bool = False,
    ) -> AsyncIterator["KubeClient"]:
        """Open a session with the identity in `kubeconfig`, or in the Pod's own service account when it is None.

        Raises:
            Refused: the kubeconfig cannot be read, or says nothing that can be used.
        """
        # The official client takes 55 MB; whoever has another identity does not need it.
        from backstay.adapters.kube.kubeconfig import configuration_from  # noqa: PLC0415

        identity = await configuration_from(kubeconfig)
        connected = cls.connect_as(
            identity,
            _tls(identity, kubeconfig),
            field_manager=field_manager,
            heard_date=heard_date,
            wrote=wrote,
            dry_run=dry_run,
        )
        async with connected as client:
            yield client

    @classmethod
    @asynccontextmanager
    async def connect_as(
        cls,
        identity: Identity,
        tls: ssl.SSLContext | None,
        *,
        field_manager: str = "backstay",
        heard_date: Callable[[str | None], None] = lambda _: None,
        wrote: Callable[[Write], None] = lambda _: None,
        dry_run: bool = False,
    ) -> AsyncIterator["KubeClient"]:
        """Open a session with an identity that is known already."""
        connector = aiohttp.TCPConnector(ssl=tls or True, limit=64)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT_SECONDS)
        # The API server sets no cookies; a jar is searched before every request all the same.
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, read_bufsize=2**20, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            yield cls(session, identity, field_manager, heard_date, wrote=wrote, dry_run=dry_run)

    async def credentials(self) -> Credentials:
        """What another library needs to speak to the same server as the same identity, with a token that is fresh."""
        # "Bearer" of a kubeconfig and "bearer" of a service account: the scheme's name has no case (RFC 9110, 11.1).
        _, _, token = (await self._headers()).get("authorization", "").partition(" ")
        identity = self._identity
        return Credentials(
            host=self.host,
            ca_file=identity.ssl_ca_cert or None,
            certificate_file=identity.cert_file or None,
            key_file=identity.key_file or None,
            token=token.strip() or None,
            insecure=not identity.verify_ssl,
        )

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Json:
        """Read one object; the read is a quorum read."""
        return await self._json("GET", resource.path(namespace, name))

    async def list_pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        field_selector: str | None = None,
        label_selector: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[Page]:
        """List with quorum, page by page; every page carries the resourceVersion of the whole list."""
        query = _query(
            fieldSelector=field_selector,
            labelSelector=label_selector,
            limit=str(page_size),
        )
        while True:
            body = await self._json("GET", resource.path(namespace), query)
            meta = body["metadata"]
            yield Page(tuple(body.get("items") or ()), meta["resourceVersion"])
            if not (token := meta.get("continue")):
                return
            query["continue"] = token

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        field_selector: str | None = None,
        label_selector: str | None = None,
    ) -> tuple[Json, ...]:
        """Every object of a kind that is known to be few."""
        pages = self.list_pages(resource, namespace, field_selector=field_selector, label_selector=label_selector)
        return tuple([item async for page in pages for item in page.items])

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        field_selector: str | None = None,
        timeout_seconds: int = 240,
    ) -> AsyncIterator[WatchEvent]:
        """Stream changes after `resource_version` until the server ends the watch.

        Raises:
            WatchExpired: the version is too old; list again.
            Unavailable: the connection was lost; watch again from the last version seen.
        """
        query = _query(
            watch="1",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            timeoutSeconds=str(timeout_seconds),
            fieldSelector=field_selector,
        )
        path = resource.path(namespace)
        # A server that hangs is told from a quiet one by the bookmarks, which come once a minute.
        silence = aiohttp.ClientTimeout(sock_connect=REQUEST_TIMEOUT_SECONDS, sock_read=WATCH_SILENCE_SECONDS)
        try:
            async with self._session.get(
                self.host + path, params=query, headers=await self._headers(), timeout=silence
            ) as response:
                if response.status != 200:  # noqa: PLR2004 - HTTP's own number
                    raise _problem("GET", path, response.status, await response.read())
                async for line in _lines(response.content):
                    yield _watch_event(orjson.loads(line), path)
        except (aiohttp.ClientError, OSError, TimeoutError, orjson.JSONDecodeError) as error:
            raise _unreachable(self.host, error) from error

    async def create(self, resource: Resource, body: Json, namespace: str | None = None) -> Json:
        """Create an object.

        Raises:
            Conflict: one of that name exists.
        """
        return await self._write("create", "POST", Target(resource, namespace), self._of_writes, body)

    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        body: Json,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
    ) -> Json:
        """Change the named fields only; with `metadata.resourceVersion` in the body, only if nobody was faster.

        Raises:
            Conflict: the object is no longer at that resourceVersion.
        """
        target = Target(resource, namespace, name, subresource)
        content_type = "application/merge-patch+json"
        return await self._write("patch", "PATCH", target, self._of_writes, body, content_type=content_type)

    async def apply(
        self,
        resource: Resource,
        name: str,
        body: Json,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
    ) -> Json:
        """Server-side apply as this client's field manager; it takes over the fields that it names."""
        target = Target(resource, namespace, name, subresource)
        query = {**self._of_writes, "force": "true"}
        return await self._write("apply", "PATCH", target, query, body, content_type="application/apply-patch+yaml")

    async def replace(self, resource: Resource, name: str, body: Json, namespace: str | None = None) -> Json:
        """Write the whole object at the resourceVersion it carries."""
        return await self._write("update", "PUT", Target(resource, namespace, name), self._of_writes, body)

    async def delete(self, resource: Resource, name: str, namespace: str | None = None) -> None:
        """Delete one object."""
        await self._write("delete", "DELETE", Target(resource, namespace, name), self._dry_run)

    async def delete_exactly(self, resource: Resource, name: str, namespace: str, *, uid: str, version: str) -> None:
        """Delete one object if it is still the one that was read, and as it was read.

        Raises:
            Conflict: it has changed since, or is another one of that name.
        """
        body = {"preconditions": {"uid": uid, "resourceVersion": version}}
        await self._write("delete", "DELETE", Target(resource, namespace, name), self._dry_run, body)

    async def _write(
        self,
        verb: str,
        method: str,
        target: Target,
        query: Mapping[str, str],
        body: Json | None = None,
        *,
        content_type: str = "application/json",
    ) -> Json:
        try:
            answer = await self._json(method, target.path, query, body, content_type=content_type)
        except BackstayError as error:
            self._wrote(Write(target.kind, verb, error))
            raise
        self._wrote(Write(target.kind, verb, None))
        return answer

    async def _headers(self) -> dict[str, str]:
        settings = await self._identity.auth_settings()
        return {str(auth["key"]): value for auth in settings.values() if (value := auth.get("value"))}

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        *,
        content_type: str = "application/json",
    ) -> Json:
        headers = {**await self._headers(), "Content-Type": content_type}
        data = None if body is None else orjson.dumps(body)
        try:
            async with (
                asyncio.timeout(REQUEST_TIMEOUT_SECONDS),
                self._session.request(method, self.host + path, params=query, data=data, headers=headers) as response,
            ):
                raw = await response.read()
                self._heard_date(response.headers.get("Date"))
                if response.status >= 400:  # noqa: PLR2004 - HTTP's own number
                    raise _problem(method, path, response.status, raw)
                answer: Json = orjson.loads(raw)
                return answer
        except (
            aiohttp.ClientError,
            OSError,
            TimeoutError,
            orjson.JSONDecodeError,
        ) as error:
            raise _unreachable(self.host, error) from error


def _query(**parameters: str | None) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value is not None}


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length up to the limit: an EdgeDevice can be longer than the reader's own line limit."""
    pending = bytearray()
    async for chunk in stream.iter_any():
        pending += chunk
        if len(pending) > EVENT_LIMIT_BYTES:
            message = f"a watch event is larger than {EVENT_LIMIT_BYTES} bytes"
            raise Refused(message)
        *complete, rest = pending.split(b"\n")
        for line in complete:
            if line:
                yield bytes(line)
        pending = bytearray(rest)


def _watch_event(event: Json, path: str) -> WatchEvent:
    if event["type"] == "ERROR":
        status = event["object"]
        if status.get("code") == 410:  # noqa: PLR2004 - HTTP's own number
            message = f"the watch of {path} is too old"
            raise WatchExpired(message)
        message = f"the watch of {path} failed: {status.get('message', status)}"
        raise Unavailable(message)
    return WatchEvent(event["type"], event["object"])


def _problem(method: str, path: str, status: int, raw: bytes) -> BackstayError:  # noqa: PLR0911 - one line a status
    try:
        message = orjson.loads(raw).get("message", "")
    except (orjson.JSONDecodeError, AttributeError):
        message = raw[:200].decode(errors="replace")
    text = f"{method} {path}: {status} {message}".strip()
    match status:
        case 401:
            return Forbidden(f"{text}; the API server does not know this identity: check the kubeconfig's credentials")
        case 403:
            return Forbidden(f"{text}; grant it with the roles in manifests/")
        case 404:
            return NotFound(text)
        case 409:
            return Conflict(text)
        case 410:
            return WatchExpired(text)
        case 408 | 429:
            return Unavailable(text)
        case _ if status >= 500:  # noqa: PLR2004 - HTTP's own number
            return Unavailable(text)
        case _:
            return Refused(text)


def _unreachable(host: str, error: BaseException) -> Unavailable:
    reason = str(error) or type(error).__name__
    return Unavailable(f"the API server at {host} does not answer ({reason}); check that it runs and is reachable")


def _tls(identity: Identity, kubeconfig: Path | None) -> ssl.SSLContext | None:
    if not identity.host.startswith("https"):
        return None
    try:
        context = ssl.create_default_context(cafile=identity.ssl_ca_cert)
        if identity.cert_file:
            context.load_cert_chain(identity.cert_file, keyfile=identity.key_file)
    except (OSError, ssl.SSLError) as error:
        message = f"the certificates in kubeconfig {kubeconfig} cannot be read: {error}"
        raise Refused(message) from error
    if not identity.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
