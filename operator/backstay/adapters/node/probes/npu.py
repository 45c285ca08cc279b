"""NpuReady: the accelerator's driver and runtime are there, and new enough.

Source: Rockchip's kernel, drivers/rknpu: `rknpu_debugger.c` writes `NPU load:  0%` (with cores `NPU load:  Core0:  0%,
…`) into debugfs and procfs; `rknpu_drv.c` registers the platform driver `RKNPU`, and a DRM render node or /dev/rknpu.
"""

from collections.abc import Iterator
from pathlib import Path

from semver import Version

from backstay.adapters.node.equipment import DRIVER, driver_version, runtime_version, told
from backstay.adapters.node.probes.probe import FileProbe, Finding, amiss, fine
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.core.device import Probe
from backstay.core.needs import is_older


class NpuReady(FileProbe):
    """A device is bound to `driver`, which is `minDriver` or newer, and the runtime is `minRuntime` or newer."""

    def __init__(self, probe: Probe, surroundings: Surroundings) -> None:
        super().__init__(probe, surroundings)
        self._driver = probe.setting("driver") or DRIVER
        self._least_driver = self._least("minDriver")
        self._least_runtime = self._least("minRuntime")

    def examine(self) -> Finding:
        """Look for the device, its driver's version and the runtime's."""
        if (node := self._node()) is None:
            return amiss("NoDevice", f"no device is bound to the driver {self._driver}; look for it in dmesg")
        at = self.surroundings.at
        driver, runtime = driver_version(at, self._driver), runtime_version(at)
        detail = (
            f"{node}, driver {self._driver} {driver or 'of unknown version'}, {self._load()}runtime {runtime or '-'}"
        )
        for what, found, least in (("driver", driver, self._least_driver), ("runtime", runtime, self._least_runtime)):
            if least is not None and found is None:
                return amiss(
                    f"No{what.title()}", f"{detail}: {what} {least} or newer wanted, and none tells its version"
                )
            if least is not None and found is not None and is_older(found, least):
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

    def _load(self) -> str:
        at = self.surroundings.at
        load = told(at, f"/sys/kernel/debug/{self._driver}/load") or told(at, f"/proc/{self._driver}/load")
        return f"load {' '.join(load.removeprefix('NPU load:').split())}, " if load else ""
