"""The bridge as a process: everything wired together, from the kubeconfig to the listening socket."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from backstay.adapters.exposition import CONTENT_TYPE
from backstay.adapters.failpoints import BRIDGE, Failpoints
from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.adapters.kube.informer import Informer
from backstay.adapters.kube.server_clock import ServerClock
from backstay.adapters.kube.standing_orders import OrdersReader
from backstay.adapters.listening import Door, listening
from backstay.adapters.oci.cache import BlobCache
from backstay.adapters.oci.public_keys import load_keys
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.adapters.oci.verify import verifier_with
from backstay.adapters.system_clock import SystemClock
from backstay.adapters.tls import Certificate
from backstay.bridge.contents import Contents
from backstay.bridge.ddi import Ddi
from backstay.bridge.downloads import Downloads
from backstay.bridge.entrance import BODY_LIMIT_BYTES, errors_as_json
from backstay.bridge.housekeeping import Housekeeping
from backstay.bridge.journal import Journal
from backstay.bridge.keys import TenantKey
from backstay.bridge.metrics import BridgeMetrics
from backstay.bridge.newcomers import Newcomers
from backstay.bridge.openapi.document import publication
from backstay.bridge.publisher import Publisher
from backstay.bridge.records import ServedDevice, device_record
from backstay.bridge.series import DeviceSeries
from backstay.bridge.sessions import Sessions
from backstay.bridge.steps import Steps
from backstay.bridge.view import DeviceListener, View
from backstay.errors import Unavailable
from backstay.ports.clock import Clock
from backstay.ports.registry import Registry
from backstay.ports.verify import Verifier

SYNC_SECONDS: Final = 30.0
DEVICE_WATCH_SECONDS: Final = 120
CACHE_LIMIT_BYTES: Final = 8 * 1024**3

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What one bridge is for, and where it listens and keeps bytes."""

    namespace: str
    gateway: str
    host: str
    port: int
    cache: Path
    """Artifacts; whatever is deleted here is fetched again."""
    state: Path
    """What must not be lost: answers that the API server does not have yet."""
    cache_limit_bytes: int = CACHE_LIMIT_BYTES
    keys: Path | None = None
    poll_seconds: float = 1.0
    tls: Path | None = None
    """Directory of the bridge's certificate; without one devices are served in plain HTTP."""
    client_authority: Path | None = None
    """Whose certificates devices must show besides their tokens."""
    metrics_at: tuple[str, int] | None = None
    """Where `/metrics` is served alone; without it, beside the devices' paths."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """The parts of one bridge; `application` answers devices, `run` keeps the rest going."""

    view: View
    orders: OrdersReader
    key: TenantKey
    sessions: Sessions
    journal: Journal
    publisher: Publisher
    newcomers: Newcomers
    contents: Contents
    housekeeping: Housekeeping
    metrics: BridgeMetrics
    application: web.Application
    """What devices ask."""
    scraped: web.Application
    """What Prometheus asks: the same as the devices', unless it has an address of its own."""
    informer: Informer[ServedDevice]

    async def run(self, certificate: Certificate | None = None) -> None:
        """Follow the API server, write statuses and take up a renewed certificate until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if certificate is not None:
                tasks.create_task(certificate.run(), name="follow the certificate")
            tasks.create_task(self.orders.run(), name="follow holds")
            tasks.create_task(self.informer.run(), name="follow devices")
            tasks.create_task(self.key.run(), name="follow the tenant's key")
            tasks.create_task(self.publisher.run(), name="write statuses")
            tasks.create_task(self.publisher.run_answers(), name="write answers")
            tasks.create_task(self.newcomers.run(), name="put up newcomers")
            tasks.create_task(self.housekeeping.run(), name="trim the cache")


def assemble(
    settings: Settings,
    client: KubeClient,
    registry: Registry,
    verifier: Verifier,
    clock: Clock,
    metrics: BridgeMetrics,
    failpoints: Failpoints,
) -> Bridge:
    """Wire a bridge together; nothing runs yet.

    Raises:
        Refused: its directory cannot be used.
    """
    journal = Journal.open(settings.state)
    view = View(settings.namespace, settings.gateway, clock, journal)
    sessions = Sessions(clock.monotonic(), settings.poll_seconds)
    orders = OrdersReader(client, view, clock)
    key = TenantKey(client, settings.namespace)
    publisher = Publisher(client, view, sessions, journal, clock, metrics, failpoints)
    newcomers = Newcomers(client, view, clock, metrics)
    cache = BlobCache(settings.cache, registry)
    contents = Contents(registry, cache, verifier, clock, metrics.fetch_failed, failpoints)
    housekeeping = Housekeeping(cache, contents, view, settings.cache_limit_bytes)
    steps = Steps(
        view=view,
        orders=orders,
        contents=contents,
        sessions=sessions,
        journal=journal,
        publisher=publisher,
        clock=clock,
        metrics=metrics,
        failpoints=failpoints,
    )
    ddi = Ddi(
        view=view,
        key=key,
        newcomers=newcomers,
        steps=steps,
        downloads=Downloads(steps, contents, sessions, metrics),
        sessions=sessions,
        clock=clock,
        metrics=metrics,
        poll_seconds=settings.poll_seconds,
    )

    series = DeviceSeries(view, sessions, clock)

    async def exposition(request: web.Request) -> web.StreamResponse:
        # In parts: of ten thousand devices it is some 15 MB, and devices are answered between them.
        answer = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
        await answer.prepare(request)
        for family in series.exposition():
            await answer.write(family)
            await asyncio.sleep(0)
        await answer.write_eof(metrics.exposition(view.age.total_seconds(), view.waiting(), settings.state))
        return answer

    application = web.Application(client_max_size=BODY_LIMIT_BYTES, middlewares=[errors_as_json(metrics.request)])
    application.add_routes([*ddi.routes(), publication()])
    scraped = application if settings.metrics_at is None else web.Application()
    scraped.add_routes([web.get("/metrics", exposition)])
    informer = Informer(
        client,
        EDGE_DEVICES,
        DeviceListener(view),
        parse=device_record,
        clock=clock,
        namespace=settings.namespace,
        field_selector=f"spec.gateway={settings.gateway}",
        watch_seconds=DEVICE_WATCH_SECONDS,
    )
    return Bridge(
        view=view,
        orders=orders,
        key=key,
        sessions=sessions,
        journal=journal,
        publisher=publisher,
        newcomers=newcomers,
        contents=contents,
        housekeeping=housekeeping,
        metrics=metrics,
        application=application,
        scraped=scraped,
        informer=informer,
    )


async def serve(settings: Settings, kubeconfig: Path | None, announce: Callable[[str], None]) -> None:
    """Run a bridge until cancelled; `announce` is told its address once it listens.

    Raises:
        Refused: the kubeconfig, the tenant's key, the identity's rights, the keys, the certificate or the address are
            not usable.
        Unavailable: the API server does not answer.
    """
    async with AsyncExitStack() as stack:
        metrics = BridgeMetrics()
        clock = ServerClock(SystemClock(), metrics.clock_corrected)
        connection = KubeClient.connect(kubeconfig, field_manager="backstay-bridge", heard_date=clock.heard)
        client = await stack.enter_async_context(connection)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        transport = Transport(session)
        registry = OciRegistry(transport)
        public_keys = await asyncio.to_thread(load_keys, settings.keys) if settings.keys else {}
        if not public_keys:
            where = f"{settings.keys} holds no *.pem or *.pub" if settings.keys else "no --keys"
            log.warning("%s: signatures of artifacts are not checked here", where)
        verifier = verifier_with(public_keys, transport, registry)
        failpoints = Failpoints.from_environment(BRIDGE)
        bridge = assemble(settings, client, registry, verifier, clock, metrics, failpoints)
        stack.callback(bridge.journal.close)
        stack.push_async_callback(bridge.contents.close)
        stack.push_async_callback(bridge.publisher.write_last)
        await bridge.key.read()
        await bridge.orders.read()
        certificate = (
            None if settings.tls is None else Certificate.in_directory(settings.tls, settings.client_authority)
        )
        running = await stack.enter_async_context(_running(bridge, certificate))
        await _synced(bridge, running)
        bridge.publisher.forget_strangers()
        if settings.metrics_at is not None:
            await stack.enter_async_context(listening(bridge.scraped, *settings.metrics_at))
        door = Door(
            tls=None if certificate is None else certificate.context,
            turned_away=partial(bridge.metrics.limited, "connections"),
        )
        address = await stack.enter_async_context(listening(bridge.application, settings.host, settings.port, door))
        announce(f"bridge {settings.gateway} listening on {address}")
        await running


@asynccontextmanager
async def _running(bridge: Bridge, certificate: Certificate | None) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(bridge.run(certificate), name="bridge")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _synced(bridge: Bridge, running: asyncio.Task[None]) -> None:
    """Wait for the first list of devices, or for what keeps it from coming."""
    synced = asyncio.create_task(bridge.informer.synced.wait())
    done, _ = await asyncio.wait({synced, running}, timeout=SYNC_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    synced.cancel()
    if running in done:
        await running
    if not done:
        raise Unavailable(
            f"the devices of this gateway could not be listed within {SYNC_SECONDS:.0f} s: check that the API server"
            " is reachable and that the bridge's Role lets it list edgedevices"
        )
