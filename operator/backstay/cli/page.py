"""The web page of `backstay operator run`: what it needs, put together from the operator's own neighbours."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from backstay.cli.addresses import address_of

if TYPE_CHECKING:
    from backstay.adapters.kube.client import KubeClient
    from backstay.adapters.prometheus import Prometheus
    from backstay.adapters.tls import Certificate
    from backstay.controllers.leader_service import LeadersPort, Pod
    from backstay.ports.overview import Overview

ListenOption = Annotated[
    str | None, typer.Option("--page-listen", help="HOST:PORT of the web page. Absent: there is none.")
]
CertificateOption = Annotated[
    Path | None,
    typer.Option("--page-tls-certificate", help="Certificate of the page (PEM); renewals are taken up."),
]
KeyOption = Annotated[Path | None, typer.Option("--page-tls-key", help="Key of the page's certificate (PEM).")]
ServiceOption = Annotated[
    str | None,
    typer.Option(
        "--page-service",
        help="Service without a selector, in --namespace, whose port `page` is to lead to the replica that leads.",
    ),
]
PORT_NAME = "page"
"""What the port is called in that Service."""


@dataclass(frozen=True, slots=True)
class PageSettings:
    """Where the page is served, and with which certificate."""

    host: str
    port: int
    certificate: Path | None
    key: Path | None
    reached: "LeadersPort | None" = None
    """By which Service others reach the page of the leader."""


def page_settings(
    listen: str | None,
    certificate: Path | None,
    key: Path | None,
    service: str | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> PageSettings | None:
    """What the options say together; None where no page is wanted. The environment says which Pod this is.

    Raises:
        typer.BadParameter: naming the option that does not fit.
    """
    if (certificate is None) != (key is None):
        missing = "--page-tls-certificate" if certificate is None else "--page-tls-key"
        raise typer.BadParameter("a certificate and its key go together", param_hint=missing)
    if listen is None:
        if certificate is not None:
            raise typer.BadParameter("a certificate is of use with --page-listen only", param_hint="--page-listen")
        if service is not None:
            raise typer.BadParameter("a Service is of use with --page-listen only", param_hint="--page-service")
        return None
    host, port = address_of(listen, "--page-listen", "0.0.0.0:8443")
    reached = None if service is None else _reached(service, port, environment)
    return PageSettings(host, port, certificate, key, reached)


def _reached(service: str, port: int, environment: Mapping[str, str]) -> "LeadersPort":
    from backstay.controllers.leader_service import LeadersPort

    if port == 0:
        message = "a Service leads to a port that is known beforehand: give --page-listen one other than 0"
        raise typer.BadParameter(message, param_hint="--page-service")
    return LeadersPort(service, PORT_NAME, port, _pod(environment))


def _pod(environment: Mapping[str, str]) -> "Pod":
    """This Pod, as its manifest tells it."""
    from backstay.controllers.leader_service import Pod

    found = {name: environment.get(name, "") for name in ("POD_NAME", "POD_UID", "POD_IP")}
    if missing := [name for name, value in found.items() if not value]:
        message = f"it takes {', '.join(missing)} in the environment, from metadata and status.podIP of the Pod"
        raise typer.BadParameter(message, param_hint="--page-service")
    try:
        return Pod(found["POD_NAME"], found["POD_UID"], ip_address(found["POD_IP"]))
    except ValueError as error:
        message = f"POD_IP is {found['POD_IP']!r}, which is no IP address; take status.podIP of the Pod"
        raise typer.BadParameter(message, param_hint="--page-service") from error


@asynccontextmanager
async def page_served(
    settings: PageSettings | None, kube: "KubeClient", prometheus: "Prometheus", who_leads: "Callable[[], str]"
) -> AsyncIterator["Callable[[Overview], None]"]:
    """Serve the page until the block ends; yields whom to tell once there is something to show.

    Until then `who_leads` is asked for words about who does, and must ask nobody else.

    Raises:
        Refused: the certificate or the address cannot be used.
    """
    if settings is None:
        yield lambda _: None
        return

    import logging

    from backstay.adapters.kube.access import KubeAccess
    from backstay.adapters.kube.chronicle import KubeChronicle
    from backstay.adapters.system_clock import SystemClock
    from backstay.web.outlook import Outlook
    from backstay.web.server import Neighbours, application, serving

    certificate = _certificate(settings)
    outlook = Outlook(who_leads)
    near = Neighbours(KubeAccess(kube), KubeChronicle(kube), prometheus, SystemClock())
    app = application(near, outlook, is_secure=certificate is not None)
    async with serving(app, settings.host, settings.port, certificate) as address:
        logging.getLogger(__name__).info("the page is served at %s", address)
        yield outlook.show


def _certificate(settings: PageSettings) -> "Certificate | None":
    if settings.certificate is None or settings.key is None:
        return None

    from backstay.adapters.tls import Certificate

    return Certificate(settings.certificate, settings.key)
