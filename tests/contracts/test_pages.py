"""Every kind of page, as a real Alertmanager takes it: once however often it is sent, until it is over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from backstay.adapters.alertmanager import Alertmanager
from backstay.adapters.failpoints import Failpoints
from backstay.adapters.system_clock import SystemClock
from backstay.controllers.paging import LASTS, Paging
from backstay.controllers.wakes import Wakes
from backstay.core.actions import Alert, AlertKind
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane
from backstay.ports.pages import CRITICAL, RUNBOOK
from tests.contracts.real_alertmanager import Json, People, alertmanager, alerts_of, until

KEY = ("acme", "vision")
REVISION = RevisionName("3f9c2a71d0-2")
PLANES = {AlertKind.ROLLING_BACK: Plane.MODEL, AlertKind.ROLLED_BACK: Plane.MODEL, AlertKind.UNRESOLVED: Plane.MODEL}
EVERY = [Alert(kind, f"plan vision: {kind}", PLANES.get(kind)) for kind in AlertKind]


class Shifted(SystemClock):
    """The machine's clock, moved by a test."""

    def __init__(self) -> None:
        self.by = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.by


@pytest.fixture
async def url(desk: People, tmp_path: Path) -> AsyncIterator[str]:
    route = {
        "receiver": "all",
        "group_by": ["..."],
        "group_wait": "0s",
        "group_interval": "1s",
        "repeat_interval": "1h",
    }
    receiver = {"name": "all", "webhook_configs": [{"url": f"{desk.url}/all", "send_resolved": True}]}
    async with alertmanager(tmp_path, {"route": route, "receivers": [receiver]}) as url:
        yield url


async def deliver(paging: Paging) -> None:
    """One delivery."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await paging.run()
    assert paging.problem == ""


def ends(alerts: list[Json]) -> dict[str, datetime]:
    return {alert["fingerprint"]: datetime.fromisoformat(alert["endsAt"]) for alert in alerts}


async def test_every_kind_is_one_alert_that_goes_on_while_it_is_sent_and_ends_when_told(url: str, desk: People) -> None:
    clock = Shifted()
    async with aiohttp.ClientSession() as session:
        paging = Paging(Alertmanager(session, url), clock, Wakes(), Failpoints())
        paging.due(KEY, REVISION, EVERY)
        await deliver(paging)
        first = await alerts_of(session, url)
        assert {alert["labels"]["alertname"] for alert in first} == set(AlertKind)
        for alert in first:
            kind = AlertKind(alert["labels"]["alertname"])
            plane = {"plane": "model"} if kind in PLANES else {}
            severity = "critical" if kind in CRITICAL else "warning"
            named = {"alertname": kind, "severity": severity, "namespace": "acme", "plan": "vision"}
            assert alert["labels"] == named | {"revision": REVISION} | plane
            assert alert["annotations"]["summary"] == f"plan vision: {kind}"
            assert alert["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{RUNBOOK[kind]}.md")
            lasts = datetime.fromisoformat(alert["endsAt"]) - datetime.fromisoformat(alert["startsAt"])
            assert LASTS <= lasts <= LASTS + timedelta(seconds=5)
        await until(lambda: sorted(desk.names("all")) == sorted(AlertKind))

        clock.by += timedelta(seconds=30)
        await deliver(paging)
        again = await alerts_of(session, url)
        assert {alert["fingerprint"]: alert["startsAt"] for alert in again} == {
            alert["fingerprint"]: alert["startsAt"] for alert in first
        }
        later = {name: end - ends(first)[name] for name, end in ends(again).items()}
        assert all(moved >= timedelta(seconds=30) for moved in later.values())

        clock.by = timedelta(0)
        paging.due(KEY, REVISION, ())
        await deliver(paging)
        await until(lambda: sorted(desk.names("all", "resolved")) == sorted(AlertKind))
        assert await alerts_of(session, url) == []
    # However often it was sent, each was told once, and once that it is over.
    assert sorted(desk.names("all")) == sorted(AlertKind)


async def test_page_ends_by_itself_when_nobody_sends_it_again(url: str, desk: People) -> None:
    clock = Shifted()
    clock.by = timedelta(seconds=2) - LASTS
    async with aiohttp.ClientSession() as session:
        paging = Paging(Alertmanager(session, url), clock, Wakes(), Failpoints())
        paging.due(KEY, REVISION, EVERY[:1])
        await deliver(paging)
        await until(lambda: desk.names("all", "resolved") == [EVERY[0].kind])
