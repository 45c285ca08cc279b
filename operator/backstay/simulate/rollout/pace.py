"""How long simulated devices take: drawn for each step, from a few figures for each plane.

A device asks for orders every half minute, downloads, installs, starts and runs its probes. No step takes more than its
deadline by chance alone: where a plan's deadlines are short, its devices are as quick as they assume.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from types import MappingProxyType
from typing import Final

from backstay.core.planes import Plane

LONGEST_POLL_SECONDS: Final = 30.0
_SPREAD: Final = 0.5
_QUICKEST: Final = 0.4
_SLOWEST: Final = 4.0


@dataclass(frozen=True, slots=True)
class StepTime:
    """The median times of one plane's step, in seconds."""

    download: float
    activate: float
    """From the last byte to confirmed: installed, started, probed."""


_USUAL: Final[Mapping[Plane, StepTime]] = MappingProxyType(
    {
        Plane.FIRMWARE: StepTime(90.0, 45.0),
        Plane.MODEL: StepTime(120.0, 20.0),
        Plane.CONFIG: StepTime(5.0, 5.0),
    }
)


class Pace:
    """Draws the times of one simulated release."""

    def __init__(self, deadlines: Mapping[Plane, timedelta], seed: int) -> None:
        self._random: Final = Random(f"pace/{seed}")  # noqa: S311 - a simulation is to be the same again, and no secret
        self._times: Final = {plane: _within(_USUAL[plane], deadlines[plane]) for plane in Plane}
        self._poll: Final = {plane: _longest_poll(deadlines[plane]) for plane in Plane}

    def until_asked(self, plane: Plane) -> float:
        """Seconds until a device asks for the order that it was just given."""
        return self._random.random() * self._poll[plane]

    def download(self, plane: Plane) -> float:
        """Seconds for the download."""
        return self._times[plane].download * self._factor()

    def activate(self, plane: Plane) -> float:
        """Seconds from the last byte to an answer; going back takes as long, because nothing is downloaded."""
        return self._times[plane].activate * self._factor()

    def _factor(self) -> float:
        return min(_SLOWEST, max(_QUICKEST, self._random.lognormvariate(0.0, _SPREAD)))


def shortest_step(plane: Plane, deadlines: Mapping[Plane, timedelta]) -> timedelta:
    """The time of the quickest step of a plane that a simulation could draw."""
    times = _within(_USUAL[plane], deadlines[plane])
    return timedelta(seconds=round((times.download + times.activate) * _QUICKEST))


def _within(times: StepTime, deadline: timedelta) -> StepTime:
    longest = (times.download + times.activate) * _SLOWEST
    scale = min(1.0, deadline.total_seconds() * 0.9 / longest)
    return StepTime(times.download * scale, times.activate * scale)


def _longest_poll(deadline: timedelta) -> float:
    return min(LONGEST_POLL_SECONDS, deadline.total_seconds() / 4)
