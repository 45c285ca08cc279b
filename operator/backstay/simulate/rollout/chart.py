"""Exposure over time as a picture: how many devices ran the new and the bad versions."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final
from xml.sax.saxutils import escape

from backstay.simulate.rollout.record import Exposure, Outcome
from backstay.simulate.rollout.times import spoken

WIDTH: Final = 72
HEIGHT: Final = 10
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_SVG_WIDTH: Final = 900
_SVG_HEIGHT: Final = 320
_MARGIN: Final = 60


def sampled(exposure: Sequence[Exposure], until: timedelta, columns: int) -> list[tuple[int, int]]:
    """For each column the most devices that ran the new and the bad versions in its time."""
    found: list[tuple[int, int]] = []
    position, new, bad = 0, 0, 0
    for column in range(columns):
        ends = until * (column + 1) / columns
        most_new, most_bad = new, bad
        while position < len(exposure) and exposure[position].at <= ends:
            new, bad = exposure[position].new, exposure[position].bad
            most_new, most_bad = max(most_new, new), max(most_bad, bad)
            position += 1
        found.append((most_new, most_bad))
    return found


def terminal_chart(outcome: Outcome, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """The chart in lines of text; the bad versions have a band of their own below, where there are any."""
    columns = sampled(outcome.exposure, outcome.ended, width)
    lines = _band("devices on the new versions", [new for new, _ in columns], outcome.devices, height)
    if outcome.most_bad:
        lines += _band("of these, on a bad version", [bad for _, bad in columns], outcome.devices, max(3, height // 2))
    axis = f"0{spoken(outcome.ended):>{width - 1}}"
    return [*lines, f"{'':8} {axis}"]


def _band(title: str, values: list[int], most: int, height: int) -> list[str]:
    lines = [f"{'':8} {title}"]
    for row in range(height - 1, -1, -1):
        cells = "".join(_cell(value / max(1, most) * height - row, is_base=row == 0 and value > 0) for value in values)
        label = f"{most:8}" if row == height - 1 else f"{0:8}" if row == 0 else " " * 8
        lines.append(f"{label}▕{cells}".rstrip())
    return lines


def _cell(filled: float, *, is_base: bool) -> str:
    """A block as full as its share; a few devices still show on the base line."""
    level = round(min(1.0, max(0.0, filled)) * (len(_BLOCKS) - 1))
    return _BLOCKS[max(1, level) if is_base else level]


def svg_chart(outcome: Outcome, title: str) -> str:
    """The same as a picture that a browser shows."""
    ends = max(outcome.ended.total_seconds(), 1.0)
    wide, high = _SVG_WIDTH - 2 * _MARGIN, _SVG_HEIGHT - 2 * _MARGIN

    def place(at: float, devices: int) -> str:
        x = _MARGIN + at / ends * wide
        y = _SVG_HEIGHT - _MARGIN - devices / max(1, outcome.devices) * high
        return f"{x:.1f},{y:.1f}"

    new = _steps(outcome, lambda point: point.new, place)
    bad = _steps(outcome, lambda point: point.bad, place)
    bottom, right = _SVG_HEIGHT - _MARGIN, _SVG_WIDTH - _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SVG_WIDTH} {_SVG_HEIGHT}">',
            "<style>text { font-family: sans-serif }</style>",
            f'<rect width="{_SVG_WIDTH}" height="{_SVG_HEIGHT}" fill="white"/>',
            f'<text x="{_MARGIN}" y="{_MARGIN / 2:.0f}" font-size="16">{escape(title)}</text>',
            f'<path d="M{_MARGIN},{_MARGIN} V{bottom} H{right}" fill="none" stroke="#444"/>',
            f'<text x="{_MARGIN - 8}" y="{_MARGIN + 4}" font-size="12" text-anchor="end">{outcome.devices}</text>',
            f'<text x="{_MARGIN - 8}" y="{bottom}" font-size="12" text-anchor="end">0</text>',
            f'<text x="{right}" y="{bottom + 18}" font-size="12" text-anchor="end">{spoken(outcome.ended)}</text>',
            f'<polyline points="{new}" fill="none" stroke="#0a6" stroke-width="2"/>',
            f'<polyline points="{bad}" fill="none" stroke="#c22" stroke-width="2"/>',
            f'<text x="{_MARGIN}" y="{bottom + 36}" font-size="12" fill="#0a6">devices on the new versions</text>',
            f'<text x="{_MARGIN + 220}" y="{bottom + 36}" font-size="12" fill="#c22">devices on a bad version</text>',
            "</svg>",
            "",
        ]
    )


def _steps(outcome: Outcome, value: Callable[[Exposure], int], place: Callable[[float, int], str]) -> str:
    """A line that stays level until a value changes."""
    points, before = [], 0
    for point in outcome.exposure:
        at = point.at.total_seconds()
        points += [place(at, before), place(at, value(point))]
        before = value(point)
    return " ".join([*points, place(outcome.ended.total_seconds(), before)])
