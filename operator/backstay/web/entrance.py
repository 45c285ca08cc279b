"""Who may come in: sign-in and sign-out, and who a request comes from.

Nothing behind this changes the cluster. What a page of another origin could abuse, opening or ending a session and
choosing the theme, is answered only where the browser says that our own page asked.
"""

from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode, urlsplit

from aiohttp import web

from backstay.ports.access import Person
from backstay.web.rendering import THEMES, Frame, Renderer
from backstay.web.sessions import LONGEST_TOKEN, Sessions

SIGN_IN: Final = "/-/sign-in"
SIGN_OUT: Final = "/-/sign-out"
THEME: Final = "/-/theme"
BODY_LIMIT_BYTES: Final = 4 * LONGEST_TOKEN
_THEME_SECONDS: Final = 365 * 24 * 3600
_BEARER: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Entrance:
    """The door, which knows all sessions."""

    sessions: Sessions
    renderer: Renderer
    is_secure: bool
    """Whether browsers reach this server in TLS."""

    @property
    def cookie(self) -> str:
        """The session's cookie; under TLS no other host and no plain page can have set it."""
        return "__Host-backstay" if self.is_secure else "backstay"

    async def person(self, request: web.Request) -> Person | None:
        """Who a request comes from: by the token in its header, or else by its session.

        Raises:
            Unavailable: the API server does not say.
        """
        authorization = request.headers.get("Authorization", "")
        if authorization.lower().startswith(_BEARER):
            return await self.sessions.person_of(authorization[len(_BEARER) :].strip())
        return await self.sessions.person_in(request.cookies.get(self.cookie, ""))

    async def ask(self, request: web.Request) -> web.Response:
        """Show the form."""
        return _html(self.renderer.sign_in(Frame(theme_of(request), _back(request.query.get("to")))))

    async def sign_in(self, request: web.Request) -> web.Response:
        """Open a session, and go on to where the reader wanted to be."""
        assert_own(request)
        form = await request.post()
        to = _back(str(form.get("to", "/")))
        opened = await self.sessions.open(str(form.get("token", "")).strip())
        if opened is None:
            problem = "The API server does not know this token. It may have expired: make another one."
            return _html(self.renderer.sign_in(Frame(theme_of(request), to), problem), HTTPStatus.FORBIDDEN)
        answer = _see_other(to)
        number, lasts = opened
        self._set(answer, self.cookie, number, lasts)
        return answer

    async def sign_out(self, request: web.Request) -> web.Response:
        """End the session."""
        assert_own(request)
        self.sessions.close(request.cookies.get(self.cookie, ""))
        answer = _see_other(SIGN_IN)
        answer.del_cookie(self.cookie, path="/", secure=self.is_secure, httponly=True, samesite="Strict")
        return answer

    async def theme(self, request: web.Request) -> web.Response:
        """Remember light, dark, or the system's own in the browser."""
        assert_own(request)
        form = await request.post()
        if (theme := str(form.get("theme"))) not in THEMES:
            raise web.HTTPBadRequest(text=f"theme {theme!r} is none of {', '.join(THEMES)}")
        answer = _see_other(_back(str(form.get("to", "/"))))
        self._set(answer, "theme", theme, timedelta(seconds=_THEME_SECONDS))
        return answer

    def _set(self, answer: web.Response, name: str, value: str, lasts: timedelta) -> None:
        answer.set_cookie(
            name,
            value,
            max_age=max(1, int(lasts.total_seconds())),
            path="/",
            httponly=True,
            secure=self.is_secure,
            samesite="Strict",
        )


def assert_own(request: web.Request) -> None:
    """Refuse a request that the browser says another site has made.

    Source: https://www.w3.org/TR/fetch-metadata/, https://www.rfc-editor.org/rfc/rfc6454#section-7
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        # Our own pages send no referrer, and so the origin `null`.
        if site not in {"same-origin", "none"}:
            raise web.HTTPForbidden(text=f"this was asked by another site (Sec-Fetch-Site: {site})")
    elif origin is not None and urlsplit(origin).netloc != request.host:
        raise web.HTTPForbidden(text=f"this was asked by a page of {origin}, and not by one of {request.host}")


def to_sign_in(request: web.Request) -> web.Response:
    """Send somebody whom we do not know to the form, and back here afterwards."""
    return _see_other(f"{SIGN_IN}?{urlencode({'to': request.path_qs})}")


def theme_of(request: web.Request) -> str:
    """What the reader chose."""
    theme = request.cookies.get("theme", "auto")
    return theme if theme in THEMES else "auto"


def _back(path: str | None) -> str:
    """An address of ours; anything else would send a reader who trusts us elsewhere."""
    is_ours = path is not None and path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if path is not None and is_ours else "/"


def _see_other(where: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": where})


def _html(text: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")
