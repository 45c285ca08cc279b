"""ThermalHeadroom: every thermal zone is cooler than its trip points, by a margin.

Source: Linux, Documentation/driver-api/thermal/sysfs-api.rst: `temp` and `trip_point_N_temp` in millidegrees Celsius,
`trip_point_N_type` one of critical, hot, passive, active; `mode` disabled is a zone that the kernel does not watch.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backstay.adapters.node.probes.probe import FileProbe, Finding, amiss, fine
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.adapters.node.probes.words import celsius
from backstay.core.device import Probe

TRIPS: Final = ("Passive", "Hot", "Critical")
"""From where the kernel slows down to where it switches off."""
DEFAULT_TRIP: Final = "Critical"
DEFAULT_MARGIN: Final = "5"
MOST_MARGIN_DEGREES: Final = 60

_TYPE: Final = re.compile(r"trip_point_(\d+)_type")


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone, and the lowest of the trip points that count."""

    name: str
    kind: str
    temperature: int
    limit: int
    trip: str

    @property
    def room(self) -> int:
        """Millidegrees up to the trip point."""
        return self.limit - self.temperature

    def __str__(self) -> str:
        trip = f"{celsius(self.room)} below" if self.room >= 0 else f"{celsius(-self.room)} above"
        return f"{self.name} ({self.kind}) at {celsius(self.temperature)}, {trip} its {self.trip} {celsius(self.limit)}"


class ThermalHeadroom(FileProbe):
    """Every zone is `margin` degrees below its lowest trip point of the kind `trip`, or of a worse one."""

    def __init__(self, probe: Probe, surroundings: Surroundings) -> None:
        super().__init__(probe, surroundings)
        self._margin = self.read("margin", _degrees, DEFAULT_MARGIN)
        self._kinds = self.read("trip", _trips, DEFAULT_TRIP)

    def examine(self) -> Finding:
        """Read every zone."""
        folders = sorted(self.surroundings.at("/sys/class/thermal").glob("thermal_zone*"))
        zones = [zone for folder in folders for zone in self._zone(folder)]
        if not zones:
            kinds = " or ".join(self._kinds)
            return amiss("NoTripPoint", f"none of {len(folders)} thermal zones has a trip point that is {kinds}")
        hottest = min(zones, key=lambda zone: zone.room)
        detail = f"{hottest}, at least {celsius(self._margin)} below wanted"
        if hottest.room >= self._margin:
            return fine(detail)
        return amiss("TooHot", detail, (self._margin - hottest.room) / hottest.limit)

    def _zone(self, folder: Path) -> Iterator[Zone]:
        trips = [trip for trip in _trip_points(folder) if trip[1] in self._kinds]
        if trips and _text(folder / "mode", "enabled") == "enabled":
            limit, trip = min(trips)
            temperature = int(_text(folder / "temp"))
            yield Zone(folder.name, _text(folder / "type", "?"), temperature, limit, trip)


def _trip_points(folder: Path) -> Iterator[tuple[int, str]]:
    for path in folder.glob("trip_point_*_type"):
        if (found := _TYPE.fullmatch(path.name)) is not None:
            limit = int(_text(folder / f"trip_point_{found[1]}_temp"))
            # A driver that has a trip point and no threshold for it says zero or less.
            if limit > 0:
                yield limit, _text(path)


def _text(path: Path, absent: str | None = None) -> str:
    if absent is not None and not path.exists():
        return absent
    return path.read_text(encoding="utf-8").strip()


def _degrees(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= MOST_MARGIN_DEGREES):
        raise ValueError(f"{text!r} is not a number of degrees up to {MOST_MARGIN_DEGREES}")
    return int(text) * 1000


def _trips(text: str) -> tuple[str, ...]:
    if text not in TRIPS:
        raise ValueError(f"{text!r} is none of {', '.join(TRIPS)}")
    return tuple(kind.lower() for kind in TRIPS[TRIPS.index(text) :])
