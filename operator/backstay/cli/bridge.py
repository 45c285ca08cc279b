"""`backstay bridge`: serve the devices behind one gateway."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from backstay.cli.addresses import address_of
from backstay.logs import LogFormat, always_about, write_log

app = typer.Typer(help="Serve the devices behind one gateway.", no_args_is_help=True)


@app.callback()
def bridge() -> None:
    """Serve the devices behind one gateway."""


@app.command()
def run(
    namespace: Annotated[str, typer.Option(help="The tenant's namespace.")],
    gateway: Annotated[str, typer.Option(help="The gateway, as EdgeDevices name it in spec.gateway.")],
    cache: Annotated[Path, typer.Option(help="Directory in which artifacts are kept; nothing else may use it.")],
    state: Annotated[
        Path | None,
        typer.Option(
            help="Directory of what must not be lost, such as answers of devices. Absent: state/ in the cache."
        ),
    ] = None,
    cache_limit: Annotated[
        str, typer.Option(help="Beyond this, contents that no device needs leave the cache, as 512Mi or 8Gi.")
    ] = "8Gi",
    kubeconfig: Annotated[Path | None, typer.Option(help="The bridge's identity. Absent: the Pod's own.")] = None,
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes a free one.")] = "127.0.0.1:0",
    keys: Annotated[Path | None, typer.Option(help="Directory of public keys that must have signed artifacts.")] = None,
    tls: Annotated[
        Path | None, typer.Option(help="Directory with tls.crt and tls.key; renewals are taken up. Absent: plain HTTP.")
    ] = None,
    client_ca: Annotated[
        Path | None, typer.Option(help="With --tls: devices must show a certificate of this authority (PEM).")
    ] = None,
    metrics_listen: Annotated[
        str | None, typer.Option(help="HOST:PORT of /metrics alone. Absent: beside the devices' paths.")
    ] = None,
    log_format: Annotated[LogFormat, typer.Option(help="How the log is written to standard error.")] = LogFormat.TEXT,
    poll_seconds: Annotated[float, typer.Option(min=1, help="How often devices are asked to poll.")] = 1.0,
) -> None:
    """Serve DDI to the devices of one gateway until ended by SIGTERM or Ctrl-C."""
    from backstay.bridge.server import Settings, serve

    write_log(log_format, logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    always_about(namespace=namespace, gateway=gateway)
    host, port = address_of(listen, "--listen")
    if client_ca is not None and tls is None:
        raise typer.BadParameter("devices can show certificates only with --tls", param_hint="--client-ca")
    settings = Settings(
        namespace=namespace,
        gateway=gateway,
        host=host,
        port=port,
        cache=cache,
        state=state or cache / "state",
        cache_limit_bytes=_bytes(cache_limit),
        keys=keys,
        poll_seconds=poll_seconds,
        tls=tls,
        client_authority=client_ca,
        metrics_at=None if metrics_listen is None else address_of(metrics_listen, "--metrics-listen"),
    )

    async def until_ended() -> None:
        serving = asyncio.create_task(serve(settings, kubeconfig, lambda line: print(line, flush=True)))
        for ending in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(ending, serving.cancel)
        try:
            await serving
        except asyncio.CancelledError:
            logging.getLogger(__name__).info("bridge %s ended", gateway)

    asyncio.run(until_ended())


def _bytes(quantity: str) -> int:
    from pydantic import TypeAdapter, ValidationError

    from backstay.api.scalars import ByteQuantity, parse_bytes

    try:
        return parse_bytes(TypeAdapter(ByteQuantity).validate_python(quantity))
    except ValidationError as error:
        message = f"{quantity!r} is not a quantity of bytes, such as 512Mi or 8Gi"
        raise typer.BadParameter(message, param_hint="--cache-limit") from error
