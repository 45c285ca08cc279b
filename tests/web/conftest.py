"""The page as a real server over the operator's own store, with a real Prometheus that remembers the scene."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import NoReturn

import aiohttp
import pytest
import pytest_asyncio

from backstay.adapters.prometheus import Prometheus
from backstay.errors import Unavailable
from backstay.ports.access import Kind
from backstay.web.outlook import Outlook
from backstay.web.rights import RIGHT_SECONDS
from backstay.web.server import Neighbours, application, serving
from backstay.web.sessions import REVIEW_SECONDS
from tests.contracts.real_prometheus import remembering
from tests.web.scene import past, whole_scene
from tests.web.stage import Stage

EVERYTHING = frozenset(Kind)
AWAY = "the API server does not answer; check that it runs"
TOKENS = {"admin": "admin-token", "ada": "ada-token", "viewer": "viewer-token", "stranger": "stranger-token"}


@dataclass
class Site:
    """A page that is served."""

    address: str
    stage: Stage
    outlook: Outlook


def nobody() -> str:
    return "Nobody leads yet."


@asynccontextmanager
async def served(stage: Stage, prometheus_url: str = "http://127.0.0.1:9") -> AsyncIterator[Site]:
    stage.access.let_in(TOKENS["admin"], "admin", {None: EVERYTHING})
    stage.access.let_in(TOKENS["ada"], "ada", {"acme": EVERYTHING})
    stage.access.let_in(TOKENS["viewer"], "viewer", {"acme": frozenset({Kind.PLANS})})
    stage.access.let_in(TOKENS["stranger"], "stranger", {})
    outlook = Outlook(nobody, stage.overview)
    async with aiohttp.ClientSession() as session:
        near = Neighbours(stage.access, stage.chronicle, Prometheus(session, prometheus_url), stage.clock)
        async with serving(application(near, outlook, is_secure=False), "127.0.0.1", 0) as address:
            yield Site(address, stage, outlook)


@contextmanager
def away(stage: Stage) -> Iterator[None]:
    """An API server that says nothing about anybody, so long."""
    known = stage.access.who, stage.access.may_list

    async def silence(*_: object) -> NoReturn:
        raise Unavailable(AWAY)

    stage.access.who = stage.access.may_list = silence  # type: ignore[method-assign, assignment]
    stage.clock.pass_by(seconds=max(RIGHT_SECONDS, REVIEW_SECONDS) + 1)
    try:
        yield
    finally:
        stage.access.who, stage.access.may_list = known  # type: ignore[method-assign]


@pytest.fixture(scope="session")
def scene() -> Stage:
    """The scene, for tests that only look at it."""
    return whole_scene()


@pytest.fixture(scope="session")
def prometheus_url(scene: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with remembering(tmp_path_factory.mktemp("prometheus"), past(scene)) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="function")
async def site(scene: Stage, prometheus_url: str) -> AsyncIterator[Site]:
    async with served(scene, prometheus_url) as found:
        yield found


class Visitor:
    """Somebody with an HTTP client that keeps cookies, and follows no redirect by itself."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self.session = session
        self.address = address

    async def signs_in(self, who: str, **headers: str) -> aiohttp.ClientResponse:
        return await self.session.post(
            f"{self.address}/-/sign-in",
            data={"token": TOKENS.get(who, who), "to": "/"},
            allow_redirects=False,
            headers=headers,
        )

    async def sees(self, path: str, **headers: str) -> tuple[int, str]:
        async with self.session.get(self.address + path, allow_redirects=False, headers=headers) as response:
            return response.status, await response.text()


@asynccontextmanager
async def visiting(site: Site, who: str = "") -> AsyncIterator[Visitor]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        visitor = Visitor(session, site.address)
        if who:
            assert (await visitor.signs_in(who)).status == 303
        yield visitor
