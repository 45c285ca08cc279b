"""The fleet by plane and version."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from backstay.core.planes import Plane
from backstay.core.standing import Census, Running, Standing
from backstay.web.bars import TONES, Bar, standing_bar

MOST_VERSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of one plane: who runs it, and how they are."""

    version: str
    content: str
    """Which bytes that is, where devices run different ones under one name."""
    devices: int
    bar: Bar


@dataclass(frozen=True, slots=True)
class PlaneTable:
    """The versions of one plane, the one that most devices run first."""

    plane: Plane
    rows: tuple[VersionRow, ...]
    others: int
    """Versions that are left out, because few run them."""


@dataclass(frozen=True, slots=True)
class Chip:
    """How many devices stand in one way."""

    standing: Standing
    tone: str
    count: int


@dataclass(frozen=True, slots=True)
class FleetTable:
    """Some devices, by how they stand and by what they run."""

    devices: int
    bar: Bar
    chips: tuple[Chip, ...]
    planes: tuple[PlaneTable, ...]


def fleet_table(censuses: Iterable[Census]) -> FleetTable:
    """Add some namespaces up."""
    devices, standings = 0, Counter[Standing]()
    running: defaultdict[Running, Counter[Standing]] = defaultdict(Counter)
    for census in censuses:
        devices += census.devices
        standings.update(census.by_standing)
        for (what, standing), count in census.by_running.items():
            running[what][standing] += count
    return FleetTable(
        devices,
        standing_bar(standings.items(), devices),
        tuple(Chip(standing, TONES[standing], standings[standing]) for standing in Standing),
        tuple(_plane_table(plane, running, devices) for plane in Plane),
    )


def _plane_table(plane: Plane, running: defaultdict[Running, Counter[Standing]], devices: int) -> PlaneTable:
    mine = {what: counts for what, counts in running.items() if what.plane is plane}
    names = Counter(what.version for what in mine)
    ordered = sorted(mine.items(), key=lambda item: (-item[1].total(), item[0]))
    rows = tuple(
        VersionRow(
            what.version,
            what.content.removeprefix("sha256:")[:8] if names[what.version] > 1 or not what.version else "",
            counts.total(),
            standing_bar(counts.items(), devices),
        )
        for what, counts in ordered[:MOST_VERSIONS]
    )
    return PlaneTable(plane, rows, len(ordered) - len(rows))
