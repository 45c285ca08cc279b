"""What this node has: its chip, its accelerator's driver, the inference runtime. All of it may block.

Source: Rockchip's kernel, drivers/rknpu: `rknpu_debugger.c` writes `RKNPU driver: v0.9.8` into debugfs and procfs;
MODULE_VERSION of the platform driver is /sys/module/rknpu/version. The runtime, librknnrt.so of RKNN Toolkit 2, prints
`librknnrt version: 2.3.2 (429f97ae6b@2025-04-09T09:09:27)` when it starts and carries that text. The chip is what the
device tree's `compatible` ends in: entries `vendor,chip`, each ended by NUL (Devicetree specification, 2.3.1).
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from backstay.core.needs import Equipment

DRIVER: Final = "rknpu"
_COMPATIBLE: Final = "/proc/device-tree/compatible"
_VERSION: Final = re.compile(r"v?(\d+\.\d+\.\d+\S*)\s*$")
_RUNTIME_VERSION: Final = re.compile(rb"librknnrt version: (\d+\.\d+\.\d+[0-9A-Za-z.+-]*)")
_RUNTIME_FOLDERS: Final = ("/usr/lib", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/local/lib", "/opt/rknn/lib")
_RUNTIME: Final = "librknnrt.so"
_CHUNK_BYTES: Final = 1 << 20
_OVERLAP_BYTES: Final = 256

At = Callable[[str], Path]
"""A path of the node, below whatever stands for its root."""


def equipment(at: At, form: str | None) -> Equipment:
    """All that an artifact may need; `form` is what the node's firmware is."""
    return Equipment(chips_at(at), driver_version(at, DRIVER), runtime_version(at), form)


def chips_at(at: At) -> frozenset[str]:
    """The names of the chip, by the device tree; none where there is no tree."""
    try:
        entries = at(_COMPATIBLE).read_bytes().decode("ascii", errors="replace").split("\0")
    except OSError:
        return frozenset()
    return frozenset(entry.partition(",")[2] for entry in entries if "," in entry)


def driver_version(at: At, driver: str) -> str | None:
    """The version of an accelerator's driver."""
    for path in ("/sys/kernel/debug/{}/version", "/proc/{}/version", "/sys/module/{}/version"):
        found = _VERSION.search(told(at, path.format(driver)) or "")
        if found is not None:
            return found[1]
    return None


def runtime_version(at: At) -> str | None:
    """The version of the inference runtime."""
    for folder in _RUNTIME_FOLDERS:
        if (path := at(f"{folder}/{_RUNTIME}")).is_file():
            return _text_in(path)
    return None


def told(at: At, path: str) -> str | None:
    """What stands in a file of the kernel, or None where it cannot be read."""
    try:
        return at(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None  # debugfs is often not mounted, and root's alone


def _text_in(path: Path) -> str | None:
    """The version text in a library, read piece by piece: it is of some megabytes, and the agent is small."""
    tail = b""
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            if (found := _RUNTIME_VERSION.search(tail + piece)) is not None:
                return found[1].decode("ascii")
            tail = (tail + piece)[-_OVERLAP_BYTES:]
    return None
