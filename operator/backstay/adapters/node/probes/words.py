"""How measurements are told to people."""

from typing import Final

_UNITS: Final = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))


def amount(size_bytes: int) -> str:
    """Bytes in a unit that a person can compare, as `512.0 MiB`."""
    for unit, size in _UNITS:
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes} bytes"


def celsius(millidegrees: int) -> str:
    """A temperature of the kernel, as `71.5 °C`."""
    return f"{millidegrees / 1000:.1f} °C"


def milliseconds(seconds: float) -> str:
    """A latency, as `12.3 ms`."""
    return f"{seconds * 1000:.1f} ms"
