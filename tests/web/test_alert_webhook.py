"""An alert that fires stops what it says, and one that is resolved lifts just that; nothing else gets through."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from kubernetes.aio.client import Configuration
from prometheus_client import CollectorRegistry

from backstay.adapters.kube.client import KubeClient
from backstay.web.alert_desk import AlertDesk
from backstay.web.alert_webhook import BODY_LIMIT_BYTES, MOST_ALERTS, AlertWebhook, WebhookMetrics
from backstay.web.bearer import TokenFile
from tests.hand_clock import Hand
from tests.web.alerts import FINGERPRINT, ApiServer, Json, alert, notification

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = "a" * 16
KEY = ("acme", f"alert-{FINGERPRINT}")


@dataclass
class World:
    """The receiver, the API server behind it, and how often what happened."""

    client: TestClient[Any, Any]
    api: ApiServer
    clock: Hand
    registry: CollectorRegistry

    async def send(self, *alerts: Any, token: str = TOKEN) -> tuple[int, str]:
        return await self.send_raw(json=notification(*alerts), headers={"Authorization": f"Bearer {token}"})

    async def send_raw(self, **request: Any) -> tuple[int, str]:
        async with self.client.post("/alerts", **request) as answer:
            return answer.status, await answer.text()

    def alerts(self, result: str) -> float | None:
        return self.registry.get_sample_value("backstay_webhook_alerts_total", {"result": result})

    def refused(self, reason: str) -> float | None:
        return self.registry.get_sample_value("backstay_webhook_refused_total", {"reason": reason})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    api, clock, registry = ApiServer(), Hand(), CollectorRegistry()
    (tmp_path / "token").write_text(TOKEN)
    async with TestServer(api.application()) as server, aiohttp.ClientSession() as session:
        kube = KubeClient(session, Configuration(host=str(server.make_url(""))), "test")
        desk = AlertDesk(kube, clock, frozenset({"acme", "castor"}))
        webhook = AlertWebhook(desk, TokenFile(tmp_path / "token"), WebhookMetrics(registry), clock)
        async with TestClient(TestServer(webhook.application())) as client:
            yield World(client, api, clock, registry)


async def test_alert_makes_one_hold_however_often_it_is_sent(world):
    assert await world.send(alert()) == (200, "ok\n")
    made = world.api.holds[KEY]
    world.clock.time += timedelta(hours=1)
    assert await world.send(alert(), alert()) == (200, "ok\n")
    assert world.api.holds == {KEY: made}
    assert made["spec"]["until"] == "2026-01-05T16:00:00Z"
    assert (world.alerts("made"), world.alerts("stands")) == (1, 2)


async def test_hold_is_made_anew_when_it_ran_out_and_the_alert_still_fires(world):
    await world.send(alert())
    world.clock.time += timedelta(hours=4)
    await world.send(alert())
    assert world.api.holds[KEY]["spec"]["until"] == "2026-01-05T20:00:00Z"
    assert world.alerts("renewed") == 1


async def test_resolved_alert_lifts_its_own_hold_and_no_other(world):
    await world.send(alert(), alert(fingerprint=OTHER))
    assert await world.send(alert("resolved")) == (200, "ok\n")
    assert list(world.api.holds) == [("acme", f"alert-{OTHER}")]
    assert await world.send(alert("resolved")) == (200, "ok\n")
    assert (world.alerts("lifted"), world.alerts("gone")) == (1, 1)


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"backstay.dev/made-by": "alert", "backstay.dev/alert-fingerprint": OTHER},
        {"backstay.dev/conviction": "Convicted", "backstay.dev/alert-fingerprint": FINGERPRINT},
    ],
)
@pytest.mark.parametrize("status", ["firing", "resolved"])
async def test_hold_of_somebody_else_stays_when_it_has_the_name(world, labels, status):
    theirs: Json = {"metadata": {"name": KEY[1], "labels": labels}, "spec": {"reason": "mine"}}
    world.api.put("acme", theirs)
    code, words = await world.send(alert(status))
    assert (code, world.api.holds) == (400, {KEY: theirs})
    assert "is not this alert's" in words
    assert world.refused("name_taken") == 1


async def test_alert_without_the_label_is_let_pass(world):
    assert await world.send(alert(labels={"backstay_hold": "false"}), alert(labels={"backstay_hold": ""})) == (
        200,
        "ok\n",
    )
    assert (world.api.holds, world.alerts("ignored")) == ({}, 2)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": "Bearer"}],
)
async def test_nothing_happens_without_the_token(world, headers, caplog):
    code, _ = await world.send_raw(json=notification(alert()), headers=headers)
    assert (code, world.api.holds, world.refused("unauthorized")) == (401, {}, 1)
    assert "turned away" in caplog.text


async def test_strangers_neither_fill_the_log_nor_use_up_the_pace(world, caplog):
    for _ in range(250):
        await world.send_raw(data=b"", headers={"Authorization": "Bearer wrong"})
    assert caplog.text.count("turned away") == 10
    assert await world.send(alert()) == (200, "ok\n")


async def test_good_alerts_count_when_others_of_the_body_are_bad(world, caplog):
    bad = [
        alert(fingerprint="no-fingerprint"),
        "not even an object",
        alert(fingerprint="b" * 16, labels={"namespace": "borealis"}),
        alert(fingerprint="c" * 16, backstay_hold_for="8d", backstay_hold_groups="cameras"),
        alert(fingerprint="d" * 16, labels={"alertname": "One\nTwo"}, backstay_hold_selector=""),
    ]
    code, words = await world.send(*bad, alert())
    assert (code, list(world.api.holds)) == (400, [KEY])
    assert [world.refused(reason) for reason in ("malformed", "namespace", "lasts", "scope")] == [2, 1, 1, 1]
    assert world.alerts("made") == 1
    assert "alert number 1 cannot be read: fingerprint" in words
    assert "alert One Two (dddddddddddddddd) makes no hold: backstay_hold_selector is empty" in caplog.text


async def test_alertmanager_sends_it_again_when_the_api_server_is_away(world):
    world.api.is_down = True
    code, words = await world.send(alert(fingerprint="no-fingerprint"), alert(), alert(fingerprint=OTHER))
    assert code == 503
    assert "waits" in words
    world.api.is_down = False
    assert await world.send(alert()) == (200, "ok\n")
    assert (world.alerts("unavailable"), world.alerts("made")) == (1, 1)


@pytest.mark.parametrize("status", ["firing", "resolved"])
async def test_alertmanager_sends_it_again_when_the_api_server_does_not_know_the_roles_yet(world, status, caplog):
    world.api.forbids.add("acme")
    code, words = await world.send(alert(status))
    assert code == 503
    assert "alert-holds-rbac.yaml" in words
    assert [line.levelname for line in caplog.records if "waits" in line.message] == ["ERROR"]
    assert (world.alerts("forbidden"), world.refused("forbidden")) == (1, 1)
    world.api.forbids.clear()
    assert await world.send(alert(status)) == (200, "ok\n")


async def test_right_that_is_missing_in_one_namespace_costs_no_alert_of_another(world):
    world.api.forbids.add("castor")
    code, _ = await world.send(alert(fingerprint=OTHER, labels={"namespace": "castor"}), alert())
    assert (code, list(world.api.holds)) == (503, [KEY])


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"version": "3", "alerts": []}', b'{"version": "4", "alerts": 7}', b"\xff"]
)
async def test_body_is_refused_when_it_is_no_notification(world, body):
    code, _ = await world.send_raw(data=body, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (code, world.refused("malformed")) == (400, 1)


async def test_body_is_refused_when_it_is_too_large(world):
    large = io.BytesIO(orjson.dumps(notification(alert(summary="x" * BODY_LIMIT_BYTES))))
    code, _ = await world.send_raw(data=large, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (code, world.api.holds, world.refused("too_large")) == (413, {}, 1)


async def test_alerts_beyond_the_most_are_told_and_the_first_are_taken(world):
    code, words = await world.send(*(alert(fingerprint=f"{number:016x}") for number in range(MOST_ALERTS + 1)))
    assert (code, len(world.api.holds)) == (400, MOST_ALERTS)
    assert "set max_alerts" in words


async def test_alertmanager_is_to_come_again_when_it_comes_too_often(world):
    codes = {(await world.send())[0] for _ in range(200)}
    assert codes == {200}
    assert (await world.send(alert()))[0] == 503
    world.clock.time += timedelta(seconds=1)
    assert await world.send(alert()) == (200, "ok\n")
    assert world.refused("too_many") == 1
