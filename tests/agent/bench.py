"""A node on a workbench: real stores and a real journal in a directory, an artifact in memory, and a power switch."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backstay.adapters.node import durable, generations, placed, process, standing
from backstay.adapters.node.generations import Generations
from backstay.adapters.node.process import ProcessInstaller
from backstay.agent import journal as journal_module
from backstay.agent.journal import Journal
from backstay.agent.machine import Machine, Times
from backstay.agent.safety import Safety
from backstay.core.device import Order, Probe, ProbeResult
from backstay.core.device_record import requirements
from backstay.core.devices import StepType
from backstay.core.planes import ContentDigest, Plane
from backstay.ports.installer import Installer
from backstay.ports.registry import ArtifactDescription, Blob, ManifestDigest, Reference

PROBE = Probe("inference", "InferenceAlive")
FILES = {Plane.MODEL: "model.bin", Plane.CONFIG: "config.json"}
CHANGES = ("write_file", "replace_link", "remove", "rename", "copy_file")


class Cut(Exception):
    """The power goes."""


@dataclass
class Time:
    """A clock that goes only when it is told to."""

    seconds: float = 100.0

    def now(self) -> datetime:
        return datetime(2026, 1, 5, 12, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


def digest(data: bytes) -> ContentDigest:
    return ContentDigest(f"sha256:{hashlib.sha256(data).hexdigest()}")


def order(number: int, data: bytes, plane: Plane = Plane.MODEL, **changes: object) -> Order:
    made = Order(
        number=number,
        plane=plane,
        type=StepType.INSTALL,
        content=digest(data),
        version=f"{number}.0.0",
        probes=(PROBE,),
        window=timedelta(seconds=60),
    )
    needs = changes.pop("requires", None)
    if isinstance(needs, dict):
        changes["requires"] = requirements(needs)
    return replace(made, **changes)  # type: ignore[arg-type]


@dataclass
class Bench:
    """One node: what is on its disk stays, whatever becomes of the agent."""

    directory: Path
    time: Time = field(default_factory=Time)
    boot: str = "boot-1"
    passes: bool = True
    detail: str = ""
    """What probes say of what they found."""
    runs_program: bool = False
    """Its firmware is a program; otherwise it has none that can be changed."""
    payloads: dict[ContentDigest, bytes] = field(default_factory=dict)
    machine: Machine = field(init=False)
    safety: Safety = field(init=False)

    def agent(self) -> Machine:
        """A new agent, which has not looked at anything yet."""
        stores: dict[Plane, Installer] = {
            plane: Generations(plane, self.directory / plane, name) for plane, name in FILES.items()
        }
        if self.runs_program:
            stores[Plane.FIRMWARE] = ProcessInstaller(self.directory / Plane.FIRMWARE, Plane.FIRMWARE)
        self.machine = Machine(stores, self.journal, Times(self.time, self.boot))
        self.safety = Safety(self.machine, self.time, self.directory / "safe-mode")
        return self.machine

    @property
    def journal(self) -> Journal:
        return Journal(self.directory / "state")

    async def started(self) -> Machine:
        """A new agent that has gone on from what it found."""
        machine = self.agent()
        await machine.start()
        return machine

    async def reboot(self) -> Machine:
        """Another boot, in which the clock begins anew."""
        self.boot = f"boot-{int(self.boot.rpartition('-')[2]) + 1}"
        self.time.seconds = 5.0
        return await self.started()

    async def fetch(self) -> None:
        """Bring what the machine wants to have fetched."""
        if (wanted := self.machine.download) is None:
            return
        data = self.payloads[wanted.content]
        path = self.directory / f"fetched-{wanted.content[-8:]}"
        path.write_bytes(data)
        reference = Reference.parse(f"127.0.0.1:5000/vision/{wanted.plane}@sha256:{'a' * 64}")
        blob = Blob(wanted.content, len(data))
        artifact = ArtifactDescription(
            reference, ManifestDigest(reference.digest), wanted.plane, wanted.version, "rk3566", blob
        )
        await self.machine.downloaded(wanted, artifact, path)

    async def prove(self, asked: Order) -> tuple[ProbeResult, ...]:
        return tuple(ProbeResult(probe.name, self.passes, self.detail) for probe in asked.probes)

    async def carry_out(self, wanted: Order, data: bytes) -> None:
        """Order a step and let it come to its end, as far as it does within two minutes."""
        self.payloads[wanted.content] = data
        await self.machine.order(wanted)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(13):
            await self.fetch()
            await self.machine.tick(self.prove)
            if self.machine.in_flight is None:
                return
            self.time.seconds += 10

    @property
    def program(self) -> str | None:
        """The program that whoever runs the firmware finds."""
        link = self.directory / Plane.FIRMWARE / "current"
        return link.read_text().splitlines()[1] if link.exists() else None

    def file(self, plane: Plane = Plane.MODEL) -> bytes | None:
        """What whoever uses the plane reads now."""
        path = self.directory / plane / "current" / "current" / FILES[plane]
        return path.read_bytes() if path.exists() else None


def cut_power(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the power go before the change of the disk with this number, journal and stores counted together."""
    left = iter(range(after))

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def made(*arguments: object, **named: object) -> object:
            if next(left, None) is None:
                raise Cut
            return change(*arguments, **named)

        return made

    for name in CHANGES:
        monkeypatch.setattr(generations, name, counted(getattr(durable, name)))
    for module, name in ((placed, "rename"), (standing, "write_file"), (process, "replace_link")):
        monkeypatch.setattr(module, name, counted(getattr(durable, name)))
    monkeypatch.setattr(journal_module, "write_file", counted(durable.write_file))
