"""What the contract of installers is tried on: a plane of a node to install into, to reboot, and to cut off power."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from backstay.adapters.node.boot_counters import GrubCounters, UBootCounters
from backstay.adapters.node.generations import Generations
from backstay.adapters.node.process import ProcessInstaller
from backstay.adapters.node.rauc import RaucInstaller
from backstay.adapters.node.static_pod import StaticPodInstaller, StaticPodPlace
from backstay.adapters.node.systemd import Systemd
from backstay.adapters.node.unit import UnitInstaller
from backstay.core.device import Cause, Order, Probe, Reason
from backstay.core.devices import StepType
from backstay.core.planes import ContentDigest, Plane, Release, Requirement, VersionRange
from backstay.ports.installer import Beside, Effect, Installer
from backstay.ports.registry import ArtifactDescription, Blob, ManifestDigest, Reference, Repository

UNIT = "vision.service"
UNITS_OF_SYSTEMD = "BACKSTAY_TEST_UNITS"
"""The directory of a systemd that releases of a unit are to run in; the booted tests have one."""
NEEDS = (Requirement(Plane.MODEL, VersionRange.parse(">=1.0.0")),)


def digest_of(data: bytes) -> ContentDigest:
    return ContentDigest(f"sha256:{hashlib.sha256(data).hexdigest()}")


@dataclass(frozen=True)
class Delivery:
    """An order, its artifact, and the verified bytes as a download leaves them."""

    order: Order
    artifact: ArtifactDescription
    payload: Path

    @property
    def release(self) -> Release:
        return self.artifact.release()


def delivery(payload: Path, version: str, number: int, content: ContentDigest | None = None) -> Delivery:
    data = payload.read_bytes()
    content = content or digest_of(data)
    order = Order(
        number,
        Plane.FIRMWARE,
        StepType.INSTALL,
        content,
        version,
        (Probe("p", "AgentConnected"),),
        timedelta(minutes=5),
    )
    reference = Reference(Repository("registry.example", "vision/firmware"), ManifestDigest(content))
    blob = Blob(content, len(data))
    artifact = ArtifactDescription(reference, reference.digest, Plane.FIRMWARE, version, "rk3566", blob, NEEDS)
    return Delivery(order, artifact, payload)


class Bench(Protocol):
    """A plane of a node under test, which runs version 1.0.0, confirmed, to begin with."""

    settings: dict[str, Any]
    """What another process makes the same installer of, by `installer_of`."""
    first: Release
    tries_once: bool
    """Whether what is on trial gets one boot: a power cut ends the trial."""

    @property
    def installer(self) -> Installer: ...

    def deliver(self, version: str, number: int) -> Delivery: ...

    def nonsense(self) -> Path:
        """Bytes that are not what their type says."""
        ...

    async def take_effect(self, effect: Effect) -> None:
        """Reboot if it takes one."""
        ...

    async def power_cut(self) -> None:
        """End everything at once, and boot."""
        ...

    def truth(self) -> str:
        """The version that runs, by its bytes."""
        ...

    async def save(self) -> None:
        """Keep the disk as it is now."""
        ...

    async def restore(self) -> None:
        """Boot from the disk as it was kept."""
        ...


@dataclass
class PlacedBench:
    """A plane whose place is a file on this machine."""

    root: Path
    settings: dict[str, Any]
    payload_of: Callable[[str], bytes]
    running: Callable[[Path], Path]
    first: Release = field(init=False)
    tries_once: bool = False

    async def begin(self) -> None:
        first = self.deliver("1.0.0", 1)
        self.first = first.release
        installer = self.installer
        await installer.stage(first.order, first.artifact, first.payload)
        await installer.switch(first.order)
        await installer.confirm(first.order)
        await installer.trim(())

    @property
    def disk(self) -> Path:
        return self.root / "disk"

    @property
    def installer(self) -> Installer:
        return installer_of(self.settings)

    def deliver(self, version: str, number: int) -> Delivery:
        payload = self.root / f"download-{version}"
        payload.write_bytes(self.payload_of(version))
        return delivery(payload, version, number)

    def nonsense(self) -> Path:
        (self.root / "nonsense").write_bytes(b"nonsense")
        return self.root / "nonsense"

    async def take_effect(self, effect: Effect) -> None:
        assert effect is Effect.AT_ONCE

    async def power_cut(self) -> None:
        """Nothing runs that could be ended; the next installer reads the disk anew."""

    def truth(self) -> str:
        data = self.running(self.disk).read_bytes()
        return next(version for version in ("1.0.0", "2.0.0", "3.0.0") if self.payload_of(version) == data)

    async def save(self) -> None:
        shutil.copytree(self.disk, self.root / "saved", symlinks=True)

    async def restore(self) -> None:
        shutil.rmtree(self.disk)
        shutil.copytree(self.root / "saved", self.disk, symlinks=True)


def pod_of(version: str) -> bytes:
    image = f"registry.example/vision@{digest_of(version.encode())}"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "vision", "annotations": {"version": version}},
        "spec": {"containers": [{"name": "vision", "image": image}]},
    }
    return json.dumps(pod).encode()


def program_of(version: str) -> bytes:
    return f"#!/bin/sh\n# {version}\necho {version}\nwhile :; do sleep 1; done\n".encode()


def static_pod_bench(root: Path) -> PlacedBench:
    settings = {"kind": "static-pod", "directory": str(root / "disk")}
    return PlacedBench(root, settings, pod_of, lambda disk: disk / "manifests" / "vision.yaml")


def process_bench(root: Path) -> PlacedBench:
    settings = {"kind": "process", "directory": str(root / "disk")}
    return PlacedBench(root, settings, program_of, lambda disk: disk / "state" / "current")


def unit_of(version: str) -> bytes:
    """A release of a service that says which it is."""
    archive = io.BytesIO()
    unit = "[Service]\nExecStart=@RELEASE@/bin/says\nRestart=always\n"
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data, mode in ((UNIT, unit.encode(), 0o644), ("bin/says", program_of(version), 0o755)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()


@dataclass
class UnitBench(PlacedBench):
    """A plane whose place is a link to what is unpacked; what runs is what systemd runs, where there is one."""

    def truth(self) -> str:
        program = self._program_of_systemd() if "units" in self.settings else self.running(self.disk)
        data = program.read_bytes()
        return next(version for version in ("1.0.0", "2.0.0", "3.0.0") if program_of(version) == data)

    def _program_of_systemd(self) -> Path:
        asked = ("systemctl", "show", "--value", "--property=MainPID", UNIT)
        process = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        # The shell that runs it, and then its own name.
        return Path(Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")[1].decode())


def unit_bench(root: Path) -> PlacedBench:
    settings = {"kind": "unit", "directory": str(root / "disk")}
    if units := os.environ.get(UNITS_OF_SYSTEMD):
        settings["units"] = units
    return UnitBench(root, settings, unit_of, lambda disk: disk / "state" / "current" / "bin" / "says")


def config_of(version: str) -> bytes:
    return json.dumps({"version": version}).encode()


def config_bench(root: Path) -> PlacedBench:
    settings = {"kind": "config", "directory": str(root / "disk")}
    return PlacedBench(root, settings, config_of, lambda disk: disk / "config" / "current" / "current" / "config.json")


def _no_json(payload: Path, artifact: ArtifactDescription, beside: Beside) -> Cause | None:
    del beside
    try:
        json.loads(payload.read_bytes())
    except ValueError as error:
        return Cause(Reason.REJECTED, f"{artifact.reference} is no JSON: {error}")
    return None


def installer_of(settings: dict[str, Any]) -> Installer:
    """The installer of a bench, in whatever process."""
    directory = Path(settings["directory"])
    match settings["kind"]:
        case "static-pod":
            return StaticPodInstaller(
                directory / "state", Plane.FIRMWARE, StaticPodPlace(directory / "manifests", "vision")
            )
        case "process":
            return ProcessInstaller(directory / "state", Plane.FIRMWARE)
        case "unit":
            return _unit_installer(directory, settings.get("units"))
        case "config":
            return Generations(Plane.FIRMWARE, directory / "config", "config.json", _no_json)
        case "rauc":
            return RaucInstaller(
                directory / "state",
                Plane.FIRMWARE,
                GrubCounters(Path(settings["grubenv"])) if "grubenv" in settings else UBootCounters(),
                configuration=Path(settings["configuration"]),
                address=settings["address"],
                factory=Release(Plane.FIRMWARE, "1.0.0", settings["factory"], NEEDS),
            )
        case other:
            raise ValueError(other)


def _unit_installer(directory: Path, units: str | None) -> UnitInstaller:
    there = Path(units) if units else directory / "units"
    services = Systemd() if units else None
    return UnitInstaller(directory / "state", Plane.FIRMWARE, UNIT, units=there, services=services)


CHILD = (sys.executable, "-m", "tests.contracts.killed_installer")
