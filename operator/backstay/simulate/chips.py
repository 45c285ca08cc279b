"""Where the devices of a fleet have their flash: in a file each, which stays, or in memory that they share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from backstay.core.planes import Plane
from backstay.simulate.cells import SparseCells
from backstay.simulate.factory import Payload, provision
from backstay.simulate.flash import Flash

Chips: TypeAlias = Callable[[str], Flash]
"""The flash of a device, by its name."""


def chips_in_files(directory: Path, factory: Mapping[Plane, Payload]) -> Chips:
    """Each device's flash is a file of its name, as a dump of the chip would be."""
    directory.mkdir(parents=True, exist_ok=True)
    return lambda name: open_chip(directory / f"{name}.flash", factory)


def chips_in_memory(factory: Mapping[Plane, Payload]) -> Chips:
    """All devices share what they hold alike; nothing survives the process, and every start is from the factory."""
    cells = SparseCells()
    provision(Flash(cells), factory)
    return lambda _: Flash(cells.fork())


def open_chip(path: Path, factory: Mapping[Plane, Payload]) -> Flash:
    """Open a device's flash; a chip that does not exist yet comes from the factory, whole or not at all."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        flash = Flash.open(fresh)
        provision(flash, factory)
        flash.close()
        fresh.rename(path)
    return Flash.open(path)
