"""Times as people read them."""

from datetime import timedelta

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def spoken(lasts: timedelta) -> str:
    """A duration in its two largest units, as `1h 20m`."""
    seconds = round(lasts.total_seconds())
    if seconds < _MINUTE:
        return f"{seconds}s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE}m" + (f" {seconds % _MINUTE:02}s" if seconds % _MINUTE else "")
    if seconds < _DAY:
        return f"{seconds // _HOUR}h" + (f" {seconds % _HOUR // _MINUTE:02}m" if seconds % _HOUR >= _MINUTE else "")
    return f"{seconds // _DAY}d" + (f" {seconds % _DAY // _HOUR}h" if seconds % _DAY >= _HOUR else "")


def on_the_clock(at: timedelta) -> str:
    """A time since the beginning, as `26:03:15`: hours are not cut into days, so that lines can be compared."""
    seconds = int(at.total_seconds())
    return f"{seconds // _HOUR:3}:{seconds // _MINUTE % 60:02}:{seconds % _MINUTE:02}"
