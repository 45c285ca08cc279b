"""Health and pages for real: scraped from an exporter, judged from Prometheus, and taken by Alertmanager."""

import asyncio
import secrets
import signal as signals_of_processes
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from backstay.adapters.alertmanager import Alertmanager
from backstay.adapters.prometheus import Prometheus
from backstay.core.actions import Alert, AlertKind, Watch
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane
from backstay.core.signals import Comparison, Direction, Result, Signal, Verdict
from backstay.errors import Refused, Unavailable
from backstay.ports.pages import PageAlert, page_for
from backstay.sandbox import Sandbox

# Prometheus takes its time with a new job, so there is one for all of these tests.
pytestmark = pytest.mark.asyncio(loop_scope="module")

INFO = "on(namespace, device) group_left() backstay_device_info{${scope}}"
MEAN = f"avg(backstay_inference_accuracy * {INFO})"
PER_DEVICE = f"sum by (device) (backstay_inference_accuracy * {INFO})"
NEW, OLD = RevisionName("new-2"), RevisionName("old-1")
CANARY = Watch(NEW, "canary", looks=1)
SECONDS = 20.0

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Device:
    """One device as a bridge exports it."""

    namespace: str
    name: str
    revision: str
    accuracy: str
    ring: str = "canary"

    @property
    def lines(self) -> str:
        own = f'namespace="{self.namespace}",device="{self.name}"'
        info = f'{own},class="esp32",plan="vision",revision="{self.revision}",ring="{self.ring}"'
        return f"backstay_device_info{{{info}}} 1\nbackstay_inference_accuracy{{{own}}} {self.accuracy}\n"


@dataclass
class Gateway:
    """What Prometheus scrapes."""

    devices: list[Device] = field(default_factory=list)
    is_down: bool = False

    async def metrics(self, _: web.Request) -> web.Response:
        if self.is_down:
            raise web.HTTPServiceUnavailable
        return web.Response(text="".join(device.lines for device in self.devices))


@dataclass
class Fleet:
    """The devices of one test, and what Prometheus knows of them."""

    sandbox: Sandbox
    prometheus: Prometheus
    gateway: Gateway
    namespace: str

    @property
    def devices(self) -> list[Device]:
        return self.gateway.devices

    def add(self, count: int, revision: str, accuracy: str, *, namespace: str = "", ring: str = "canary") -> None:
        first = len(self.devices)
        names = [f"d{number}" for number in range(first, first + count)]
        self.gateway.devices += [Device(namespace or self.namespace, name, revision, accuracy, ring) for name in names]

    async def judged(self, signal: Signal, watch: Watch = CANARY, namespace: str = "") -> Verdict:
        return await self.prometheus.evaluate(signal, watch, namespace or self.namespace, "vision", datetime.now(UTC))

    async def scraped(self) -> None:
        """Wait until Prometheus knows every device, and nothing of what they were before."""
        for namespace in {device.namespace for device in self.devices}:
            wanted = {d.name: d.accuracy for d in self.devices if d.namespace == namespace}
            await until(lambda n=namespace, w=wanted: self._knows(n, w))

    async def _knows(self, namespace: str, wanted: dict[str, str]) -> bool:
        query = f'backstay_inference_accuracy{{namespace="{namespace}"}}'
        found = await self.prometheus.ask(query, datetime.now(UTC))
        assert isinstance(found, tuple), found
        return {s.labels["device"]: str(s.number) for s in found} == {k: str(float(v)) for k, v in wanted.items()}


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await holds():
            await asyncio.sleep(0.2)


def asking(query: str, *, minimum: str | None = "0.9", comparison: Comparison | None = None) -> Signal:
    bound = Decimal(minimum) if minimum is not None else None
    return Signal("accuracy", query, (Plane.MODEL,), minimum=bound, comparison=comparison)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(sandbox: Sandbox) -> AsyncIterator[Gateway]:
    gateway, job = Gateway(), f"health-{secrets.token_hex(4)}"
    app = web.Application()
    app.router.add_get("/metrics", gateway.metrics)
    async with TestServer(app) as server:
        sandbox.scrape(job, f"{server.host}:{server.port}")
        yield gateway
        sandbox.scrape_no_more(job)


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(sandbox: Sandbox, gateway: Gateway) -> AsyncIterator[Fleet]:
    gateway.devices, gateway.is_down = [], False
    async with aiohttp.ClientSession() as session:
        prometheus = Prometheus(session, sandbox.prometheus_url, timeout_seconds=3)
        yield Fleet(sandbox, prometheus, gateway, f"acme-{secrets.token_hex(4)}")


# The five verdicts


async def test_signal_passes_when_the_ring_is_well(fleet: Fleet):
    fleet.add(3, NEW, "0.97")
    fleet.add(3, OLD, "0.10")
    await fleet.scraped()
    verdict = await fleet.judged(asking(MEAN))
    assert verdict.result is Result.PASS
    assert verdict.value == pytest.approx(0.97)


async def test_signal_fails_when_the_ring_is_ill(fleet: Fleet):
    fleet.add(3, NEW, "0.40")
    fleet.add(30, OLD, "0.97")
    await fleet.scraped()
    verdict = await fleet.judged(asking(MEAN))
    assert verdict.result is Result.FAIL
    assert verdict.value == pytest.approx(0.4)
    assert "0.4 is below the minimum of 0.9" in verdict.message


async def test_signal_has_no_data_when_no_device_of_the_ring_reports(fleet: Fleet):
    fleet.add(3, OLD, "0.97")
    await fleet.scraped()
    assert (await fleet.judged(asking(MEAN))).result is Result.NO_DATA


async def test_signal_has_no_data_when_a_device_reports_nan(fleet: Fleet):
    """`NaN compares false and passes` (peers)."""
    fleet.add(3, NEW, "NaN")
    await fleet.scraped()
    for signal in (asking(MEAN), asking(MEAN, minimum=None)):
        verdict = await fleet.judged(signal)
        assert (verdict.result, verdict.value, verdict.message) == (Result.NO_DATA, None, "the query returned NaN")


async def test_signal_has_no_data_when_the_gateway_is_gone(fleet: Fleet):
    fleet.add(3, NEW, "0.97")
    await fleet.scraped()
    fleet.gateway.is_down = True

    async def silent() -> bool:
        return (await fleet.judged(asking(MEAN))).result is Result.NO_DATA

    await until(silent)


async def test_signal_is_inconclusive_when_too_few_devices_can_be_compared(fleet: Fleet):
    fleet.add(4, NEW, "0.40")
    fleet.add(30, OLD, "0.97")
    await fleet.scraped()
    worse = Comparison(Direction.DECREASE, Decimal("0.05"))
    verdict = await fleet.judged(asking(PER_DEVICE, minimum=None, comparison=worse))
    assert verdict.result is Result.INCONCLUSIVE
    assert "4 devices against 30 of the baseline" in verdict.message


async def test_signal_fails_when_the_ring_is_worse_than_its_baseline(fleet: Fleet):
    fleet.add(6, NEW, "0.80")
    fleet.add(12, OLD, "0.97")
    await fleet.scraped()
    worse = Comparison(Direction.DECREASE, Decimal("0.05"))
    verdict = await fleet.judged(asking(PER_DEVICE, minimum=None, comparison=worse))
    assert verdict.result is Result.FAIL
    assert verdict.value == pytest.approx(0.17)


async def test_signal_is_a_provider_error_when_several_series_are_left(fleet: Fleet):
    fleet.add(3, NEW, "0.97")
    await fleet.scraped()
    verdict = await fleet.judged(asking(PER_DEVICE))
    assert (verdict.result, verdict.value) == (Result.PROVIDER_ERROR, None)
    assert "returns 3 series; aggregate them" in verdict.message


async def test_signal_is_a_provider_error_while_prometheus_is_down_and_passes_after(fleet: Fleet):
    """`an outage of the metrics store rolls back a good release` (peers)."""
    fleet.add(3, NEW, "0.97")
    await fleet.scraped()
    sandbox = fleet.sandbox
    await sandbox.stop("prometheus")
    try:
        verdict = await fleet.judged(asking(MEAN))
    finally:
        await sandbox.start_component("prometheus")
    assert verdict.result is Result.PROVIDER_ERROR
    assert f"Prometheus at {sandbox.prometheus_url} did not answer: Cannot connect" in verdict.message
    await fleet.scraped()
    assert (await fleet.judged(asking(MEAN))).result is Result.PASS


async def test_signal_is_a_provider_error_when_prometheus_hangs(fleet: Fleet):
    sandbox = fleet.sandbox
    sandbox.send("prometheus", signals_of_processes.SIGSTOP)
    try:
        verdict = await fleet.judged(asking(MEAN))
    finally:
        sandbox.send("prometheus", signals_of_processes.SIGCONT)
    assert verdict.result is Result.PROVIDER_ERROR
    assert "did not answer within 3 s" in verdict.message


# Tenants


@pytest.mark.parametrize(
    "query",
    [
        MEAN,
        f'avg({{__name__="backstay_inference_accuracy"}} * {INFO})',
        f"avg(max_over_time(backstay_inference_accuracy[30s]) * {INFO})",
        f"avg(avg_over_time((backstay_inference_accuracy)[30s:1s]) * {INFO})",
        "avg(backstay_inference_accuracy) + 0 * sum(backstay_device_info{${scope}})",
    ],
)
async def test_signal_never_reads_another_tenants_series_when_devices_have_the_same_names(fleet: Fleet, query):
    other = fleet.namespace.replace("acme", "globex")
    fleet.add(3, NEW, "0.97")
    fleet.gateway.devices += [replace(device, namespace=other, accuracy="0.10") for device in fleet.devices]
    await fleet.scraped()

    async def have_data() -> bool:
        # A subquery looks at whole seconds, and the first of them may still be to come.
        found = [await fleet.judged(asking(query), namespace=one) for one in (fleet.namespace, other)]
        return all(verdict.result is not Result.NO_DATA for verdict in found)

    await until(have_data)
    ours, theirs = await fleet.judged(asking(query)), await fleet.judged(asking(query), namespace=other)
    assert (ours.result, ours.value) == (Result.PASS, pytest.approx(0.97))
    assert (theirs.result, theirs.value) == (Result.FAIL, pytest.approx(0.10))


async def test_signal_finds_nothing_when_a_rule_names_another_tenant(fleet: Fleet):
    other = fleet.namespace.replace("acme", "globex")
    fleet.add(3, NEW, "0.97", namespace=other)
    fleet.add(3, NEW, "0.97")
    await fleet.scraped()
    query = f'avg(backstay_inference_accuracy{{namespace="{other}"}}) * sum(backstay_device_info{{${{scope}}}})'
    assert (await fleet.judged(asking(query))).result is Result.NO_DATA


# Pages


@dataclass(frozen=True, slots=True)
class Desk:
    """Where pages arrive."""

    session: aiohttp.ClientSession
    sandbox: Sandbox
    namespace: str
    pages: Alertmanager

    async def shown(self) -> list[Json]:
        url = f"{self.sandbox.alertmanager_url}/api/v2/alerts"
        async with self.session.get(url, params={"filter": f'namespace="{self.namespace}"'}) as response:
            assert response.status == 200
            found: list[Json] = await response.json()
            return found

    def page(self, starts_at: datetime, lasts: timedelta = timedelta(minutes=5)) -> PageAlert:
        alert = Alert(AlertKind.ROLLING_BACK, "plan vision returns its model: accuracy 0.40 < 0.9", Plane.MODEL)
        return page_for(
            alert,
            namespace=self.namespace,
            plan="vision",
            revision=NEW,
            starts_at=starts_at,
            ends_at=datetime.now(UTC) + lasts,
        )


@pytest_asyncio.fixture(loop_scope="module")
async def desk(sandbox: Sandbox) -> AsyncIterator[Desk]:
    async with aiohttp.ClientSession() as session:
        namespace = f"acme-{secrets.token_hex(4)}"
        yield Desk(session, sandbox, namespace, Alertmanager(session, sandbox.alertmanager_url, timeout_seconds=3))


async def test_page_is_shown_with_its_names_and_words_when_it_was_raised(desk: Desk):
    started = datetime.now(UTC)
    await desk.pages.raise_([desk.page(started)])
    (shown,) = await desk.shown()
    assert shown["labels"] == {
        "alertname": "BackstayRollingBack",
        "severity": "critical",
        "namespace": desk.namespace,
        "plan": "vision",
        "revision": NEW,
        "plane": "model",
    }
    assert shown["annotations"]["summary"] == "plan vision returns its model: accuracy 0.40 < 0.9"
    assert f"kubectl describe releaseplan vision -n {desk.namespace}" in shown["annotations"]["description"]
    assert abs(datetime.fromisoformat(shown["startsAt"]) - started) < timedelta(milliseconds=2)


async def test_page_goes_on_as_one_when_it_is_sent_again(desk: Desk):
    started = datetime.now(UTC)
    await desk.pages.raise_([desk.page(started)])
    (first,) = await desk.shown()
    await desk.pages.raise_([desk.page(started, timedelta(minutes=6))])
    (again,) = await desk.shown()
    assert (again["fingerprint"], again["startsAt"]) == (first["fingerprint"], first["startsAt"])
    assert again["endsAt"] > first["endsAt"]


async def test_page_is_gone_when_it_is_over(desk: Desk):
    started = datetime.now(UTC) - timedelta(seconds=5)
    await desk.pages.raise_([desk.page(started)])
    assert await desk.shown()
    await desk.pages.raise_([desk.page(started, timedelta(0))])
    assert await desk.shown() == []


async def test_page_ends_by_itself_when_nobody_sends_it_again(desk: Desk):
    await desk.pages.raise_([desk.page(datetime.now(UTC), timedelta(seconds=1))])
    assert await desk.shown()

    async def gone() -> bool:
        return not await desk.shown()

    await until(gone)


async def test_page_is_unavailable_while_alertmanager_is_down_and_taken_after(desk: Desk):
    page = desk.page(datetime.now(UTC))
    await desk.sandbox.stop("alertmanager")
    try:
        with pytest.raises(Unavailable, match="did not take 1 pages"):
            await desk.pages.raise_([page])
    finally:
        await desk.sandbox.start_component("alertmanager")
    await desk.pages.raise_([page])
    assert len(await desk.shown()) == 1


async def test_page_is_refused_when_it_ends_before_it_starts(desk: Desk):
    with pytest.raises(Refused, match="it answered 400"):
        await desk.pages.raise_([desk.page(datetime.now(UTC), timedelta(minutes=-5))])
