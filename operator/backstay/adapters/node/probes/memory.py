"""MemoryHeadroom: so much memory could be had without swapping.

Source: Linux, Documentation/filesystems/proc.rst, meminfo: MemAvailable, in units of 1024 bytes.
"""

import re
from typing import Final

from backstay.adapters.node.probes.probe import FileProbe, Finding, amiss, fine
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.adapters.node.probes.words import amount
from backstay.core.device import Probe
from backstay.core.quantities import bytes_of

_AVAILABLE: Final = re.compile(r"^MemAvailable:\s+(\d+) kB$", re.MULTILINE)


class MemoryHeadroom(FileProbe):
    """`min` bytes are available to a program that starts now."""

    def __init__(self, probe: Probe, surroundings: Surroundings) -> None:
        super().__init__(probe, surroundings)
        self._wanted_bytes = self.read("min", bytes_of)

    def examine(self) -> Finding:
        """Ask the kernel."""
        path = self.surroundings.at("/proc/meminfo")
        if (found := _AVAILABLE.search(path.read_text(encoding="ascii"))) is None:
            return amiss("NotTold", "/proc/meminfo does not say MemAvailable; this kernel is older than 3.14")
        available_bytes = int(found[1]) * 1024
        detail = f"{amount(available_bytes)} of memory available, at least {amount(self._wanted_bytes)} wanted"
        if available_bytes >= self._wanted_bytes:
            return fine(detail)
        return amiss("BelowMinimum", detail, 1 - available_bytes / self._wanted_bytes)
