"""The page as a server: every address, every answer, and where it listens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from backstay.adapters.listening import Door, listening
from backstay.adapters.prometheus import Prometheus
from backstay.adapters.tls import Certificate
from backstay.errors import BackstayError, Refused
from backstay.ports.access import Access
from backstay.ports.chronicle import Chronicle
from backstay.ports.clock import Clock
from backstay.web import entrance as doors
from backstay.web.entrance import Entrance, theme_of, to_sign_in
from backstay.web.graphs import Graphs
from backstay.web.headers import protect
from backstay.web.live import Live, Streams
from backstay.web.outlook import Outlook
from backstay.web.pages.devices import BadFilter
from backstay.web.pages.page import NotThere, Sources
from backstay.web.rendering import ASSETS, Frame, Renderer
from backstay.web.renewing import renewed
from backstay.web.rights import Reader, Rights
from backstay.web.routes import page_at
from backstay.web.sessions import Sessions
from backstay.web.told import Told

CONNECTIONS: Final = 512
"""Whoever floods the page must not use up what the operator itself needs to connect."""
RETRY_SECONDS: Final = 5
LIVE: Final = "/-/live"
READY: Final = "/-/ready"
STATIC: Final = "/-/static"
_PERSON: Final = web.RequestKey("person", str)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Whom the page asks."""

    access: Access
    chronicle: Chronicle
    prometheus: Prometheus
    clock: Clock


def application(near: Neighbours, outlook: Outlook, *, is_secure: bool) -> web.Application:
    """Every address of the page."""
    site = _Site(near, outlook, is_secure=is_secure)
    app = web.Application(middlewares=[site.guard], client_max_size=doors.BODY_LIMIT_BYTES)
    app.on_response_prepare.append(protect)
    app.router.add_get(READY, site.ready)
    app.router.add_get(doors.SIGN_IN, site.where_shown(site.entrance.ask))
    app.router.add_post(doors.SIGN_IN, site.where_shown(site.entrance.sign_in))
    app.router.add_post(doors.SIGN_OUT, site.where_shown(site.entrance.sign_out))
    app.router.add_post(doors.THEME, site.entrance.theme)
    app.router.add_get(f"{STATIC}/{{mark}}/{{name}}", _static)
    app.router.add_get(LIVE, site.live, allow_head=False)
    app.router.add_get("/{path:.*}", site.page)
    return app


class _Site:
    """What answers."""

    def __init__(self, near: Neighbours, outlook: Outlook, *, is_secure: bool) -> None:
        self._near = near
        self._outlook = outlook
        self._told = Told(near.chronicle, near.clock)
        self._graphs = Graphs(near.prometheus, near.clock)
        self._rights = Rights(near.access, near.clock)
        self._renderer = Renderer()
        self.entrance = Entrance(Sessions(near.access, near.clock), self._renderer, is_secure)
        self._live = Live(self.entrance, self._rights, self._renderer, Streams())

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn what went wrong into a page that says so; nothing that went wrong inside is told outside."""
        try:
            return await handler(request)
        except NotThere as error:
            return self._notice(request, HTTPStatus.NOT_FOUND, "Nothing here", str(error))
        except BadFilter as error:
            return self._notice(request, HTTPStatus.BAD_REQUEST, "That cannot be asked", str(error))
        except BackstayError as error:
            return self._notice(request, HTTPStatus.SERVICE_UNAVAILABLE, "Not now", str(error))

    def where_shown(self, handler: Handler) -> Handler:
        """Let sessions begin and end on the replica that knows them: those of a standby would be lost."""

        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._standing_by(request) if self._outlook.overview is None else await handler(request)

        return answer

    async def ready(self, request: web.Request) -> web.Response:
        """200 where there is something to show, for whoever chooses among replicas."""
        del request
        if self._outlook.overview is None:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text="standing by\n")
        return web.Response(text="ok\n")

    async def page(self, request: web.Request) -> web.StreamResponse:
        """A page, for whoever may see it."""
        if (sources := self._sources()) is None:
            return await self._standing_by(request)
        if (person := await self.entrance.person(request)) is None:
            return self._stranger(request)
        request[_PERSON] = person.name
        content = await page_at(request.rel_url).read(Reader(person, self._rights), sources)
        text = self._renderer.page(content, self._frame(request))
        return web.Response(text=text, content_type="text/html", charset="utf-8")

    async def live(self, request: web.Request) -> web.StreamResponse:
        """The stream of a page."""
        if (sources := self._sources()) is None:
            return await self._standing_by(request)
        if (person := await self.entrance.person(request)) is None:
            raise web.HTTPUnauthorized(text="sign in first")
        return await self._live.serve(request, person, sources)

    def _sources(self) -> Sources | None:
        overview = self._outlook.overview
        return None if overview is None else Sources(overview, self._told, self._graphs, self._near.clock)

    async def _standing_by(self, request: web.Request) -> web.Response:
        words = self._outlook.why_nothing(is_known=await self._knows(request))
        answer = self._notice(request, HTTPStatus.SERVICE_UNAVAILABLE, "Standing by", words)
        answer.headers["Retry-After"] = str(RETRY_SECONDS)
        return answer

    async def _knows(self, request: web.Request) -> bool:
        try:
            return await self.entrance.person(request) is not None
        except BackstayError:
            return False

    def _stranger(self, request: web.Request) -> web.Response:
        if "Authorization" in request.headers:
            return web.Response(
                status=HTTPStatus.UNAUTHORIZED,
                headers={"WWW-Authenticate": 'Bearer realm="backstay", error="invalid_token"'},
                text="the API server does not know this token\n",
            )
        return to_sign_in(request)

    def _notice(self, request: web.Request, status: HTTPStatus, title: str, words: str) -> web.Response:
        text = self._renderer.notice(title, words, self._frame(request))
        return web.Response(status=status, text=text, content_type="text/html", charset="utf-8")

    def _frame(self, request: web.Request) -> Frame:
        return Frame(theme_of(request), request.path_qs, request.get(_PERSON, ""))


async def _static(request: web.Request) -> web.Response:
    asset = next((one for one in ASSETS if one.address == request.path), None)
    if asset is None:
        raise NotThere
    kept = {"Cache-Control": "public, max-age=31536000, immutable", "Content-Type": asset.type}
    return web.Response(body=asset.body, headers=kept)


def assert_may_listen(host: str, *, is_secure: bool) -> None:
    """Tokens travel to the page, so they do so in TLS or not beyond this machine.

    Raises:
        Refused: the address is reached from elsewhere, and in plain HTTP.
    """
    if is_secure or host == "localhost":
        return
    try:
        is_loopback = ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise Refused(
            f"the page would be served on {host} in plain HTTP, and tokens travel to it: give "
            "--page-tls-certificate and --page-tls-key, or listen on 127.0.0.1"
        )


@asynccontextmanager
async def serving(
    app: web.Application, host: str, port: int, certificate: Certificate | None = None
) -> AsyncIterator[str]:
    """Serve the page; port 0 takes a free one. Yields its address.

    Raises:
        Refused: the address cannot be listened on, or must not be.
    """
    assert_may_listen(host, is_secure=certificate is not None)
    tls = None if certificate is None else certificate.context
    door = Door(tls, CONNECTIONS, whose="the page", option="--page-listen")
    async with listening(app, host, port, door) as address, renewed(certificate):
        yield address
