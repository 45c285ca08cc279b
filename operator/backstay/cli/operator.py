"""`backstay operator run`: the process that leads a cluster's rollouts."""

import asyncio
import logging
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from backstay.cli.page import CertificateOption, KeyOption, ListenOption, PageSettings, page_served, page_settings

LOST_LEADERSHIP = 3

app = typer.Typer(no_args_is_help=True)


@app.callback()
def operator() -> None:
    """Run the operator."""


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
) -> None:
    """Roll plans out, watch their health, and pull a bad release back, until SIGTERM."""
    from backstay.adapters.kube.lease import LeadershipLost

    page = page_settings(page_listen, page_tls_certificate, page_tls_key)
    _log_to_stderr()
    try:
        asyncio.run(_run(kubeconfig, prometheus, alertmanager, keys, lease_duration, namespace, page))
    except* LeadershipLost as lost:
        typer.echo(f"error: {_first(lost)}", err=True)
        sys.exit(LOST_LEADERSHIP)


async def _run(
    kubeconfig: Path | None,
    prometheus: str,
    alertmanager: str,
    keys: Path | None,
    lease_duration: int,
    namespace: str,
    page: PageSettings | None,
) -> None:
    import aiohttp

    from backstay.adapters.alertmanager import Alertmanager
    from backstay.adapters.failpoints import OPERATOR, Failpoints
    from backstay.adapters.kube.client import KubeClient
    from backstay.adapters.oci.public_keys import load_keys
    from backstay.adapters.oci.registry import OciRegistry
    from backstay.adapters.oci.transport import Transport
    from backstay.adapters.oci.verify import NoKeysVerifier, verifier_with
    from backstay.adapters.prometheus import Prometheus
    from backstay.adapters.system_clock import SystemClock
    from backstay.controllers.operator import Neighbours, Options
    from backstay.controllers.operator import run as lead

    async with (
        KubeClient.connect(kubeconfig, field_manager="backstay-operator") as kube,
        aiohttp.ClientSession() as session,
    ):
        transport = Transport(session)
        registry = OciRegistry(transport)
        verifier = verifier_with(load_keys(keys), transport, registry) if keys else NoKeysVerifier()
        signals = Prometheus(session, prometheus)
        neighbours = Neighbours(kube, registry, verifier, signals, Alertmanager(session, alertmanager))
        options, failpoints = Options(namespace, lease_duration), Failpoints.from_environment(OPERATOR)
        async with page_served(page, kube, signals, namespace) as show:
            await lead(neighbours, options, SystemClock(), failpoints, show)


def _log_to_stderr() -> None:
    """One line a thing: when, how serious, what."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname).1s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for chatty in ("kopf", "aiohttp", "asyncio", "kubernetes"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The innermost error of a group, which is what the process ends of."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
