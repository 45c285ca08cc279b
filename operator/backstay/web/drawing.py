"""Graphs as SVG, drawn by the server in a box that stretches, so that no style stands in the text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from backstay.core.signals import Signal
from backstay.web.graphs import Graph, Line, values

WIDTH: Final = 600.0
HEIGHT: Final = 120.0
_MARGIN: Final = 0.08
_GAP_STEPS: Final = 2.5
"""A longer time without numbers is shown as a hole, never bridged."""
_ROWS: Final = 12


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line as a path, with its name and where it ends."""

    name: str
    path: str
    number: int
    last: float
    last_x: float
    last_y: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold: where it lies, and the side on which a value fails."""

    text: str
    y: float
    bad_y: float
    bad_height: float


@dataclass(frozen=True, slots=True)
class Row:
    """One time of the table that says the same as the picture."""

    at: datetime
    numbers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that the template writes out."""

    strokes: tuple[Stroke, ...]
    limits: tuple[Limit, ...]
    began_x: float | None
    top: str
    bottom: str
    since: datetime
    until: datetime
    rows: tuple[Row, ...]
    names: tuple[str, ...]
    lowest: str
    highest: str


def picture(graph: Graph, signal: Signal) -> Picture | None:
    """A graph with its threshold; None where there is nothing to draw."""
    numbers = values(graph.lines)
    if not numbers:
        return None
    bounds = [float(bound) for bound in (signal.minimum, signal.maximum) if bound is not None]
    low, high = _span(numbers, bounds)
    scale = _Scale(graph.window.since, graph.window.until, low, high)
    began = graph.began
    return Picture(
        strokes=tuple(_stroke(line, index, scale, graph.window.step) for index, line in enumerate(graph.lines)),
        limits=tuple(_limits(signal, scale)),
        began_x=scale.x(began) if began is not None and graph.window.since < began < graph.window.until else None,
        top=spoken(high),
        bottom=spoken(low),
        since=graph.window.since,
        until=graph.window.until,
        rows=_rows(graph.lines),
        names=tuple(line.name for line in graph.lines),
        lowest=spoken(min(numbers)),
        highest=spoken(max(numbers)),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    since: datetime
    until: datetime
    low: float
    high: float

    def x(self, at: datetime) -> float:
        return round(WIDTH * ((at - self.since) / (self.until - self.since)), 1)

    def y(self, number: float) -> float:
        return round(HEIGHT * (1 - (number - self.low) / (self.high - self.low)), 1)


def _span(numbers: Sequence[float], bounds: Sequence[float]) -> tuple[float, float]:
    low, high = min(*numbers, *bounds, numbers[0]), max(*numbers, *bounds, numbers[0])
    spread = (high - low) or abs(high) or 1.0
    low_edge = low - _MARGIN * spread
    # What cannot be negative is not drawn as if it could.
    return (0.0 if low >= 0 > low_edge else low_edge), high + _MARGIN * spread


def _stroke(line: Line, number: int, scale: _Scale, step: timedelta) -> Stroke:
    parts: list[str] = []
    before: datetime | None = None
    for at, value in line.points:
        is_near = before is not None and at - before <= _GAP_STEPS * step
        parts.append(f"{'L' if is_near else 'M'}{scale.x(at)} {scale.y(value)}")
        before = at
    at, value = line.points[-1]
    return Stroke(line.name, "".join(parts), number, value, scale.x(at), scale.y(value))


def _limits(signal: Signal, scale: _Scale) -> Iterable[Limit]:
    if signal.minimum is not None:
        y = scale.y(float(signal.minimum))
        yield Limit(f"at least {signal.minimum}", y, y, round(HEIGHT - y, 1))
    if signal.maximum is not None:
        y = scale.y(float(signal.maximum))
        yield Limit(f"at most {signal.maximum}", y, 0.0, y)


def _rows(lines: Sequence[Line]) -> tuple[Row, ...]:
    """A few times with the number of each line, the latest first."""
    known = [dict(line.points) for line in lines]
    times = sorted({at for points in known for at in points}, reverse=True)
    every = max(1, -(-len(times) // _ROWS))
    return tuple(Row(at, tuple(spoken(points.get(at)) for points in known)) for at in times[::every])


def spoken(number: float | None) -> str:
    """A number as people read it, with four digits that count."""
    return "none" if number is None else f"{number:.4g}"


def limit_of(signal: Signal) -> str:
    """What a signal demands, in words."""
    if (how := signal.comparison) is not None:
        way = "higher" if how.direction.value == "Increase" else "lower"
        return f"less than {how.effect} {way} than the baseline, with {float(how.confidence):.4g} confidence"
    bounds = [(signal.minimum, "at least"), (signal.maximum, "at most")]
    return " and ".join(f"{words} {bound}" for bound, words in bounds if bound is not None)
