"""`backstay simulate`: run simulated devices."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Run simulated devices.", no_args_is_help=True)


@app.callback()
def simulate() -> None:
    """Run simulated devices."""


@app.command()
def esp32(
    fleet: Annotated[Path, typer.Option(help="The fleet file: bridges, factory payloads, devices and their tokens.")],
    directory: Annotated[Path, typer.Option(help="Where the flash files are, and orders to fail.")],
    verbose: Annotated[bool, typer.Option(help="Log every refused or failed request too.")] = False,
) -> None:
    """Run a fleet of ESP32s in this process until SIGTERM or Ctrl-C."""
    from backstay.simulate.fleet import Fleet

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("backstay").setLevel(logging.DEBUG if verbose else logging.INFO)
    found = Fleet.load(fleet)
    asyncio.run(_until_told(found.run(directory)))


async def _until_told(running: Coroutine[None, None, None]) -> None:
    """Run until a signal says to stop, which is a clean end."""
    task = asyncio.create_task(running)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        typer.echo("stopped; the flash files stay")
