"""DiskHeadroom: so much storage is free for programs that are not root.

Source: statvfs(3): f_bavail counts free blocks of f_frsize bytes for unprivileged users.
"""

import os

from backstay.adapters.node.probes.probe import FileProbe, Finding, amiss, fine
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.adapters.node.probes.words import amount
from backstay.core.device import Probe
from backstay.core.quantities import bytes_of


class DiskHeadroom(FileProbe):
    """`min` bytes are free in the file system of `path`, or of the agent's data."""

    def __init__(self, probe: Probe, surroundings: Surroundings) -> None:
        super().__init__(probe, surroundings)
        self._wanted_bytes = self.read("min", bytes_of)
        self._path = probe.setting("path") or surroundings.data

    def examine(self) -> Finding:
        """Ask the file system."""
        found = os.statvfs(self.surroundings.at(self._path))
        free_bytes = found.f_bavail * found.f_frsize
        detail = f"{amount(free_bytes)} free at {self._path}, at least {amount(self._wanted_bytes)} wanted"
        if free_bytes >= self._wanted_bytes:
            return fine(detail)
        return amiss("BelowMinimum", detail, 1 - free_bytes / self._wanted_bytes)
