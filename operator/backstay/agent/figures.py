"""What a node measures of itself for its metrics: memory, storage, heat, and when its Pods last wrote to their logs.

Source: Linux, Documentation/filesystems/proc.rst (MemAvailable) and driver-api/thermal/sysfs-api.rst (temp); statvfs(3)
(f_bavail); https://kubernetes.io/docs/concepts/cluster-administration/logging/ (the kubelet's directory of Pod logs)
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

_AVAILABLE: Final = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)


def figures(root: Path, data: Path) -> Mapping[str, float]:
    """Every figure that can be had, by the name of its series; blocking. What cannot be read is left out."""
    sources: dict[str, Callable[[], float | None]] = {
        "memory_available_bytes": lambda: _memory(root / "proc" / "meminfo"),
        "storage_free_bytes": lambda: _storage(data),
        "temperature_celsius": lambda: _hottest(root / "sys" / "class" / "thermal"),
        "last_log_timestamp_seconds": lambda: _last_log(root / "var" / "log" / "pods"),
    }
    return {name: value for name, read in sources.items() if (value := _read(read)) is not None}


def _read(source: Callable[[], float | None]) -> float | None:
    try:
        value = source()
    except (OSError, ValueError):
        return None
    return value if value is not None and math.isfinite(value) else None


def _memory(path: Path) -> float | None:
    found = _AVAILABLE.search(path.read_text(encoding="ascii"))
    return float(found[1]) * 1024 if found else None


def _storage(path: Path) -> float:
    found = os.statvfs(path)
    return float(found.f_bavail * found.f_frsize)


def _hottest(thermal: Path) -> float | None:
    return max(_temperatures(thermal), default=None)


def _temperatures(thermal: Path) -> Iterator[float]:
    for path in thermal.glob("thermal_zone*/temp"):
        try:
            yield int(path.read_text(encoding="ascii")) / 1000
        except (OSError, ValueError):
            # A zone whose sensor is asleep says so by an error; the others still tell.
            continue


def _last_log(pods: Path) -> float | None:
    return max((path.stat().st_mtime for path in pods.glob("*/*/*.log")), default=None)
