"""NpuReady: the accelerator's driver and runtime are there, and new enough.

Source: Rockchip's kernel, drivers/rknpu: `rknpu_debugger.c` writes `RKNPU driver: v0.9.8` and `NPU load:  0%` (with
cores `NPU load:  Core0:  0%, …`) into debugfs and procfs; `rknpu_drv.c` registers the platform driver `RKNPU`, whose
MODULE_VERSION is /sys/module/rknpu/version, and a DRM render node or /dev/rknpu. The runtime, librknnrt.so of RKNN
Toolkit 2, prints `librknnrt version: 2.3.2 (429f97ae6b@2025-04-09T09:09:27)` when it starts and carries that text.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from semver import Version

from backstay.adapters.node.probes.probe import FileProbe, Finding, amiss, fine
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.core.device import Probe

DEFAULT_DRIVER: Final = "rknpu"
_VERSION: Final = re.compile(r"v?(\d+\.\d+\.\d+\S*)\s*$")
_RUNTIME_VERSION: Final = re.compile(rb"librknnrt version: (\d+\.\d+\.\d+[0-9A-Za-z.+-]*)")
_RUNTIME_FOLDERS: Final = ("/usr/lib", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/local/lib", "/opt/rknn/lib")
_RUNTIME: Final = "librknnrt.so"
_CHUNK_BYTES: Final = 1 << 20
_OVERLAP_BYTES: Final = 256


class NpuReady(FileProbe):
    """A device is bound to `driver`, which is `minDriver` or newer, and the runtime is `minRuntime` or newer."""

    def __init__(self, probe: Probe, surroundings: Surroundings) -> None:
        super().__init__(probe, surroundings)
        self._driver = probe.setting("driver") or DEFAULT_DRIVER
        self._least_driver = self._least("minDriver")
        self._least_runtime = self._least("minRuntime")

    def examine(self) -> Finding:
        """Look for the device, its driver's version and the runtime's."""
        if (node := self._node()) is None:
            return amiss("NoDevice", f"no device is bound to the driver {self._driver}; look for it in dmesg")
        driver, runtime = self._driver_version(), self._runtime_version()
        detail = (
            f"{node}, driver {self._driver} {driver or 'of unknown version'}, {self._load()}runtime {runtime or '-'}"
        )
        for what, found, least in (("driver", driver, self._least_driver), ("runtime", runtime, self._least_runtime)):
            if least is not None and found is None:
                return amiss(
                    f"No{what.title()}", f"{detail}: {what} {least} or newer wanted, and none tells its version"
                )
            if least is not None and found is not None and _older(found, least):
                return amiss(f"Old{what.title()}", f"{detail}: {what} {least} or newer wanted")
        return fine(detail)

    def _least(self, name: str) -> Version | None:
        return self.read(name, Version.parse) if self.probe.setting(name) else None

    def _node(self) -> str | None:
        """The node through which programs reach the accelerator."""
        for uevent in self._uevents():
            if f"DRIVER={self._driver}".lower() in uevent.read_text(encoding="utf-8").lower().splitlines():
                return f"/dev/{uevent.parents[2].name}/{uevent.parents[1].name}".replace("/dev/drm/", "/dev/dri/")
        misc = self.surroundings.at(f"/dev/{self._driver}")
        return f"/dev/{self._driver}" if misc.exists() else None

    def _uevents(self) -> Iterator[Path]:
        classes = self.surroundings.at("/sys/class")
        for pattern in ("drm/renderD*/device/uevent", "accel/accel*/device/uevent"):
            yield from sorted(classes.glob(pattern))

    def _driver_version(self) -> str | None:
        for path in ("/sys/kernel/debug/{}/version", "/proc/{}/version", "/sys/module/{}/version"):
            found = _VERSION.search(self._told(path) or "")
            if found is not None:
                return found[1]
        return None

    def _load(self) -> str:
        told = self._told("/sys/kernel/debug/{}/load") or self._told("/proc/{}/load")
        return f"load {' '.join(told.removeprefix('NPU load:').split())}, " if told else ""

    def _told(self, path: str) -> str | None:
        try:
            return self.surroundings.at(path.format(self._driver)).read_text(encoding="utf-8").strip()
        except OSError:
            return None  # debugfs is often not mounted, and root's alone

    def _runtime_version(self) -> str | None:
        for folder in _RUNTIME_FOLDERS:
            if (path := self.surroundings.at(f"{folder}/{_RUNTIME}")).is_file():
                return _text_in(path)
        return None


def _text_in(path: Path) -> str | None:
    """The version text in a library, read piece by piece: it is of some megabytes, and the agent is small."""
    tail = b""
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            if (found := _RUNTIME_VERSION.search(tail + piece)) is not None:
                return found[1].decode("ascii")
            tail = (tail + piece)[-_OVERLAP_BYTES:]
    return None


def _older(found: str, least: Version) -> bool:
    """Tell whether a version is below the least; Rockchip's betas, `2.0.0b0`, are no SemVer and count as 2.0.0-b0."""
    number = re.match(r"(\d+)\.(\d+)\.(\d+)-?(.*)", found)
    if number is None:
        return True
    major, minor, patch, rest = number.groups()
    prerelease = rest.partition("+")[0]
    return Version(int(major), int(minor), int(patch), prerelease or None) < least
