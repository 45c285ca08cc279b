"""A real Alertmanager, and people who write down what it tells them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstay.sandbox.ports import free_ports
from backstay.sandbox.process import Child

Json = dict[str, Any]


@dataclass
class Told:
    """One notification."""

    receiver: str
    body: Json

    def alerts(self, status: str) -> list[Json]:
        return [alert for alert in self.body["alerts"] if alert["status"] == status]


@dataclass
class People:
    """A webhook for each receiver, at its path, that writes down every notification."""

    url: str = ""
    told: list[Told] = field(default_factory=list)

    async def hear(self, request: web.Request) -> web.Response:
        self.told.append(Told(request.match_info["receiver"], await request.json()))
        return web.Response()

    def names(self, receiver: str, status: str = "firing") -> list[str]:
        """The alerts that a receiver heard of, in order, once for each notification."""
        notifications = [told for told in self.told if told.receiver == receiver]
        return [alert["labels"]["alertname"] for told in notifications for alert in told.alerts(status)]


@asynccontextmanager
async def people() -> AsyncIterator[People]:
    found = People()
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_post("/{receiver}", found.hear)
    async with TestServer(application) as server:
        found.url = str(server.make_url("")).rstrip("/")
        yield found


@asynccontextmanager
async def alertmanager(directory: Path, configuration: Json) -> AsyncIterator[str]:
    """Its URL."""
    (directory / "alertmanager.yaml").write_text(yaml.safe_dump(configuration))
    url = f"http://127.0.0.1:{free_ports().alertmanager}"
    command = (
        "prometheus-alertmanager",
        f"--config.file={directory / 'alertmanager.yaml'}",
        f"--storage.path={directory / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )
    child = Child("alertmanager", command, directory / "log", environment=os.environ)
    child.start()
    try:
        async with aiohttp.ClientSession() as session:
            await until(lambda: _is_ready(session, url, child))
        yield url
    finally:
        child.kill()


async def _is_ready(session: aiohttp.ClientSession, url: str, child: Child) -> bool:
    child.check()
    try:
        async with session.get(f"{url}/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def alerts_of(session: aiohttp.ClientSession, url: str) -> list[Json]:
    """What Alertmanager holds now."""
    async with session.get(f"{url}/api/v2/alerts") as answer:
        found: list[Json] = await answer.json()
        return found


async def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Wait for a condition, which may be a coroutine."""
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.05)
