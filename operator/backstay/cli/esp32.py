"""`backstay esp32`: look into what an ESP32 holds, and run ESP32s in software."""

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from backstay.core.otadata import SECTOR_BYTES, OtaData, at_reset, check_slots

app = typer.Typer(help="Look into what an ESP32 holds, and run ESP32s in software.", no_args_is_help=True)

_WRONG_INPUT = 2


@app.callback()
def esp32() -> None:
    """Look into what an ESP32 holds, and run ESP32s in software."""


@app.command()
def otadata(
    file: Annotated[Path, typer.Argument(help="A dump of the otadata partition: 8 KiB, one entry a sector.")],
    slots: Annotated[int, typer.Option(help="How many OTA app slots the device has, 1 to 16.")] = 2,
    factory: Annotated[bool, typer.Option("--factory/--no-factory", help="The device has a factory app.")] = False,
) -> None:
    """Print which otadata entry is active, and what the next reset boots."""
    try:
        check_slots(slots)
        found = OtaData.from_partition(_read(file))
    except OSError as error:
        _refuse(f"cannot read {file}: {error.strerror}")
    except ValueError as error:
        _refuse(f"{file}: {error}")
    typer.echo(f"active-entry: {'none' if found.active is None else found.active}")
    typer.echo(f"boots: {at_reset(found, slots, factory=factory)}")


@app.command()
def simulate(
    fleet: Annotated[Path, typer.Option(help="The fleet file: bridges, factory payloads, devices and their tokens.")],
    directory: Annotated[Path, typer.Option(help="Where the flash files are, and orders to fail.")],
    in_memory: Annotated[
        bool,
        typer.Option(help="Keep flash in memory, shared where it is equal: for thousands of devices. Nothing is kept."),
    ] = False,
    spread_seconds: Annotated[
        float, typer.Option(min=0, help="Switch the devices on one after the other over so many seconds.")
    ] = 0.0,
    verbose: Annotated[bool, typer.Option(help="Log every refused or failed request too.")] = False,
) -> None:
    """Run a fleet of ESP32s in this process until SIGTERM or Ctrl-C; they speak to real bridges."""
    # A second thread spins for milliseconds after each of the many tiny products, and so costs ten times what it saves.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from backstay.simulate.chips import chips_in_files, chips_in_memory
    from backstay.simulate.fleet import Fleet

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("backstay").setLevel(logging.DEBUG if verbose else logging.INFO)
    found = Fleet.load(fleet)
    directory.mkdir(parents=True, exist_ok=True)
    chips = chips_in_memory(found.factory) if in_memory else chips_in_files(directory, found.factory)
    asyncio.run(_until_told(found.run(directory, chips, spread_seconds)))


async def _until_told(running: Coroutine[None, None, None]) -> None:
    """Run until a signal says to stop, which is a clean end."""
    task = asyncio.create_task(running)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        typer.echo("stopped; flash in files stays")


def _read(file: Path) -> bytes:
    """Read a dump, but never more than shows that it is too long."""
    with file.open("rb") as dump:
        return dump.read(2 * SECTOR_BYTES + 1)


def _refuse(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(_WRONG_INPUT)
