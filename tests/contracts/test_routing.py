"""The example for Alertmanager, with a real one: a person hears once of one thing, not a thousand times.

Only the receivers' addresses and the times are others than in the file: seconds where it has minutes.
"""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml

from tests.contracts.real_alertmanager import Json, People, alertmanager, alerts_of, until

EXAMPLE = Path(__file__).parents[2] / "manifests" / "monitoring" / "alertmanager.yaml"
TIMES = {"30s": "2s", "10s": "1s", "15m": "3s", "1m": "1s"}


def example(desk: People) -> Json:
    found: Json = yaml.safe_load(EXAMPLE.read_text())
    for receiver in found["receivers"]:
        for webhook in receiver["webhook_configs"]:
            webhook["url"] = f"{desk.url}/{receiver['name']}"
            webhook.pop("http_config", None)
    _shorten(found["route"])
    return found


def _shorten(route: Json) -> None:
    for key in ("group_wait", "group_interval"):
        if key in route:
            route[key] = TIMES.get(route[key], route[key])
    for child in route.get("routes", ()):
        _shorten(child)


@pytest.fixture
async def url(desk: People, tmp_path: Path) -> AsyncIterator[str]:
    async with alertmanager(tmp_path, example(desk)) as url:
        yield url


def alert(name: str, severity: str = "critical", **labels: str) -> Json:
    now = datetime.now(UTC)
    return {
        "labels": {"alertname": name, "severity": severity, **labels},
        "annotations": {"summary": name},
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(minutes=5)).isoformat(),
    }


async def post(url: str, *alerts: Json) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/v2/alerts", json=list(alerts)) as answer:
        assert answer.status == 200, await answer.text()


async def settled(url: str, desk: People, *alerts: Json) -> None:
    """Raise alerts, and wait until a last one, which comes after them, has been told."""
    await post(url, *alerts)
    last = alert("Last", "warning", namespace="last")
    await post(url, last)
    await until(lambda: "Last" in desk.names("morning"))
    # Once more round, so that whatever joined a group late has been told too.
    await post(url, alert("Later", "warning", namespace="later"))
    await until(lambda: "Later" in desk.names("morning"))


def calls(desk: People, receiver: str) -> Counter[str]:
    """How often a receiver was called, by the group."""
    return Counter(
        " ".join(sorted(told.body["groupLabels"].values()))
        for told in desk.told
        if told.receiver == receiver and not told.alerts("resolved")
    )


async def test_thousand_alerts_of_an_event_are_one_call(url: str, desk: People) -> None:
    storm = [
        alert("BackstayHalted", namespace="acme", plan=f"plan-{number}", revision=f"r-{number}")
        for number in range(400)
    ]
    storm += [
        alert("BackstayDevicesUnreachable", namespace="acme", instance=f"gw-{number}:9464") for number in range(300)
    ]
    storm += [
        alert("BackstayBlocked", "warning", namespace="acme", plan=f"plan-{number}", revision=f"r-{number}")
        for number in range(300)
    ]
    for part in range(0, 1000, 100):
        await post(url, *storm[part : part + 100])
    await settled(url, desk)
    assert calls(desk, "on-call") == {"BackstayHalted acme": 1, "BackstayDevicesUnreachable acme": 1}
    assert Counter(desk.names("on-call")) == {"BackstayHalted": 400, "BackstayDevicesUnreachable": 300}
    assert calls(desk, "morning")["BackstayBlocked acme"] == 1


async def test_outage_of_the_operator_is_one_call_and_speaks_for_what_it_causes(url: str, desk: People) -> None:
    await post(url, alert("BackstayOperatorDown"), alert("BackstayNoLeader"))
    await until(lambda: len(desk.names("on-call")) == 2)
    await settled(
        url,
        desk,
        *(alert("BackstayPlanHalted", namespace=f"tenant-{n}", plan="vision") for n in range(50)),
        alert("BackstayReconcileStuck"),
        alert("BackstayQueueGrows", "warning"),
    )
    assert calls(desk, "on-call") == {"BackstayOperatorDown": 1, "BackstayNoLeader": 1}
    assert set(desk.names("morning")) == {"Last", "Later"}


PAIRS = (
    ("BackstayHalted", "BackstayPlanHalted"),
    ("BackstayUnresolved", "BackstayPlanUnresolved"),
    ("BackstayBlocked", "BackstayPlanBlocked"),
    ("BackstayRolledBack", "BackstayRollingBack"),
    ("BackstayUnresolved", "BackstayRollbackSlow"),
)
"""The first speaks for the second, of the same plan."""


async def test_alert_of_a_plan_speaks_for_another_of_that_plan_alone(url: str, desk: People) -> None:
    speaking = [alert(name, namespace="acme", plan=f"plan-{number}") for number, (name, _) in enumerate(PAIRS)]
    await post(url, *speaking)
    async with aiohttp.ClientSession() as session:
        await until(lambda: _holds(session, url, len(PAIRS)))
    silent = [alert(name, namespace="acme", plan=f"plan-{number}") for number, (_, name) in enumerate(PAIRS)]
    others = [alert(name, namespace="acme", plan="other") for _, name in PAIRS]
    await settled(url, desk, *silent, *others)
    names = {name for _, name in PAIRS}
    told = {
        (one["labels"]["alertname"], one["labels"]["plan"])
        for told in desk.told
        for one in told.alerts("firing")
        if one["labels"]["alertname"] in names
    }
    assert told == {(name, "other") for name in names}


async def _holds(session: aiohttp.ClientSession, url: str, count: int) -> bool:
    return len(await alerts_of(session, url)) == count


async def test_alert_that_asks_for_a_hold_reaches_the_operator_and_a_person(url: str, desk: People) -> None:
    asks = {"namespace": "acme", "backstay_hold": "true"}
    await settled(url, desk, *(alert("AccuracyLow", site=f"site-{n}", **asks) for n in range(3)))
    holds = [told for told in desk.told if told.receiver == "backstay-holds"]
    assert [len(told.body["alerts"]) for told in holds] == [1, 1, 1]
    assert calls(desk, "on-call") == {"AccuracyLow acme": 1}
