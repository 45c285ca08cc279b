"""`backstay operator run`: the process that leads a cluster's rollouts."""

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backstay.cli.addresses import address_of
from backstay.cli.page import (
    CertificateOption,
    KeyOption,
    ListenOption,
    PageSettings,
    ServiceOption,
    page_served,
    page_settings,
)
from backstay.errors import first_in
from backstay.logs import LogFormat, last_words, write_log
from backstay.ports.pages import RUNBOOKS

if TYPE_CHECKING:
    from backstay.adapters.kube.client import KubeClient
    from backstay.controllers.metrics import OperatorMetrics
    from backstay.controllers.vitals import Vitals
    from backstay.ports.clock import Clock

LOST_LEADERSHIP = 3
CONNECTIONS = 512
"""At each of the two ports that a Prometheus, a kubelet and some Alertmanagers speak to, and strangers may find."""

log = logging.getLogger(__name__)

app = typer.Typer(no_args_is_help=True)


@app.callback()
def operator() -> None:
    """Run the operator."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line asks for."""

    kubeconfig: Path | None
    prometheus: str
    alertmanager: str
    keys: Path | None
    lease_duration: int
    namespace: str
    runbooks: str
    metrics_at: tuple[str, int] | None
    webhook: "_Webhook | None"
    page: PageSettings | None


@dataclass(frozen=True, slots=True)
class _Webhook:
    """Where Alertmanager may make Holds, how it shows who it is, and in which namespaces."""

    at: tuple[str, int]
    token_file: Path
    namespaces: frozenset[str]


@app.command()
def run(
    prometheus: Annotated[str, typer.Option(help="URL of the Prometheus that is asked for health.")],
    alertmanager: Annotated[str, typer.Option(help="URL of the Alertmanager that pages people.")],
    kubeconfig: Annotated[Path | None, typer.Option(help="Identity to use; without it, the Pod's own.")] = None,
    keys: Annotated[Path | None, typer.Option(help="Directory of the public keys that may sign artifacts.")] = None,
    lease_duration: Annotated[int, typer.Option(help="Seconds after which a silent leader is replaced.", min=1)] = 15,
    namespace: Annotated[str, typer.Option(help="Namespace of the operator's Lease.")] = "backstay-system",
    page_listen: ListenOption = None,
    page_tls_certificate: CertificateOption = None,
    page_tls_key: KeyOption = None,
    page_service: ServiceOption = None,
    runbooks: Annotated[str, typer.Option(help="Where the runbooks are that pages link to.")] = RUNBOOKS,
    metrics_listen: Annotated[
        str | None, typer.Option(help="HOST:PORT of /metrics, /healthz and /readyz. Absent: nowhere.")
    ] = None,
    webhook_listen: Annotated[
        str | None, typer.Option(help="HOST:PORT at which Alertmanager may make Holds (POST /alerts). Absent: nowhere.")
    ] = None,
    webhook_token_file: Annotated[
        Path | None, typer.Option(help="With --webhook-listen: file with the token that Alertmanager must show.")
    ] = None,
    webhook_namespace: Annotated[
        list[str] | None,
        typer.Option(help="With --webhook-listen: namespace in which alerts may make Holds; repeatable. '*' is all."),
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(help="How the log is written to standard error.")] = LogFormat.TEXT,
) -> None:
    """Roll plans out, watch their health, and pull a bad release back, until SIGTERM."""
    from backstay.adapters.kube.lease import LeadershipLost

    metrics_at = None if metrics_listen is None else address_of(metrics_listen, "--metrics-listen")
    webhook = _webhook(webhook_listen, webhook_token_file, webhook_namespace or [])
    page = page_settings(page_listen, page_tls_certificate, page_tls_key, page_service, os.environ)
    asked = _Asked(
        kubeconfig, prometheus, alertmanager, keys, lease_duration, namespace, runbooks, metrics_at, webhook, page
    )
    _log_to_stderr(log_format)
    try:
        asyncio.run(_run(asked))
    except* LeadershipLost as lost:
        last_words(first_in(lost))
        sys.exit(LOST_LEADERSHIP)


def _webhook(listen: str | None, token_file: Path | None, namespaces: list[str]) -> _Webhook | None:
    if listen is None:
        if token_file is not None or namespaces:
            raise typer.BadParameter("it means nothing without --webhook-listen", param_hint="--webhook-…")
        return None
    if token_file is None:
        message = "anybody could stop every release without a token; give --webhook-token-file"
        raise typer.BadParameter(message, param_hint="--webhook-listen")
    if not namespaces:
        message = "say in which namespaces alerts may make Holds: --webhook-namespace NAME, or '*' for all"
        raise typer.BadParameter(message, param_hint="--webhook-listen")
    return _Webhook(address_of(listen, "--webhook-listen"), token_file, frozenset(namespaces))


async def _run(asked: _Asked) -> None:
    import aiohttp

    from backstay.adapters.alertmanager import Alertmanager
    from backstay.adapters.failpoints import OPERATOR, Failpoints
    from backstay.adapters.kube.client import KubeClient
    from backstay.adapters.oci.public_keys import load_keys
    from backstay.adapters.oci.registry import OciRegistry
    from backstay.adapters.oci.transport import Transport
    from backstay.adapters.oci.verify import NoKeysVerifier, verifier_with
    from backstay.adapters.prometheus import Prometheus
    from backstay.adapters.spans import spans_of
    from backstay.adapters.system_clock import SystemClock
    from backstay.controllers.metrics import OperatorMetrics
    from backstay.controllers.operator import Neighbours, Options
    from backstay.controllers.operator import run as lead
    from backstay.controllers.vitals import Vitals

    clock = SystemClock()
    metrics, vitals = OperatorMetrics(clock), Vitals()
    async with (
        KubeClient.connect(asked.kubeconfig, field_manager="backstay-operator", wrote=metrics.wrote) as kube,
        aiohttp.ClientSession() as session,
        spans_of(os.environ, "backstay-operator") as spans,
        _told(asked.metrics_at, metrics, vitals),
        _heard(asked.webhook, kube, clock, metrics),
    ):
        transport = Transport(session)
        registry = OciRegistry(transport)
        signals = Prometheus(session, asked.prometheus)
        neighbours = Neighbours(
            kube,
            registry,
            verifier_with(load_keys(asked.keys), transport, registry) if asked.keys else NoKeysVerifier(),
            signals,
            Alertmanager(session, asked.alertmanager, runbooks=asked.runbooks),
            metrics,
            vitals,
            spans,
        )
        # On its node's network a Pod has the node's host name, and people look for the Pod.
        name = os.environ.get("POD_NAME") or socket.gethostname()
        reached = asked.page.reached if asked.page else None
        options = Options(name, asked.namespace, asked.lease_duration, reached)
        async with page_served(asked.page, kube, signals, vitals.who_leads) as show:
            await lead(neighbours, options, clock, Failpoints.from_environment(OPERATOR), show)


@asynccontextmanager
async def _told(at: tuple[str, int] | None, metrics: "OperatorMetrics", vitals: "Vitals") -> AsyncIterator[None]:
    """What the operator says of itself by HTTP, from before it leads until after."""
    from backstay.adapters.listening import Door, listening
    from backstay.web.vitals import vitals_application

    if at is None:
        yield
        return
    application = vitals_application(metrics.exposition, vitals.readiness)
    door = Door(None, CONNECTIONS, whose="the operator", option="--metrics-listen")
    async with listening(application, *at, door) as url:
        log.info("metrics at %s/metrics", url)
        yield


@asynccontextmanager
async def _heard(
    webhook: _Webhook | None, kube: "KubeClient", clock: "Clock", metrics: "OperatorMetrics"
) -> AsyncIterator[None]:
    """What Alertmanager asks of the operator. A standby does it as well as a leader: a Hold needs nobody to decide."""
    from backstay.adapters.listening import Door, listening
    from backstay.web.alert_desk import AlertDesk
    from backstay.web.alert_webhook import PATH, AlertWebhook, WebhookMetrics
    from backstay.web.bearer import TokenFile
    from backstay.web.renewing import renewed

    if webhook is None:
        yield
        return
    desk = AlertDesk(kube, clock, webhook.namespaces)
    token = TokenFile(webhook.token_file)
    receiver = AlertWebhook(desk, token, WebhookMetrics(metrics.registry), clock)
    door = Door(None, CONNECTIONS, whose="the operator", option="--webhook-listen")
    async with renewed(token), listening(receiver.application(), *webhook.at, door) as url:
        log.info("alerts may make holds at %s%s, in %s", url, PATH, ", ".join(sorted(webhook.namespaces)))
        yield


def _log_to_stderr(how: LogFormat) -> None:
    """One line a thing: when, how serious, what."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname).1s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    write_log(how, formatter)
    for chatty in ("kopf", "aiohttp", "asyncio", "kubernetes"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
