"""Everything that the demo releases: built here, pushed into a registry, and read back from it."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

import aiohttp

from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.core.classes import ESP32
from backstay.core.needs import ServedAs
from backstay.core.planes import ContentDigest, Plane
from backstay.ports.registry import Registry, Repository
from demo import config, model
from demo.digit_server import MODEL
from demo.firmware.build import Behaviour, build_firmware

PROJECT: Final = "vision"
RK3566: Final = "rk3566"
# Firmware before 1.0.0 has another runtime; 9.0.0 and later models exist in nobody's registry.
MODEL_REQUIRES: Final = {"firmware": ">=1.0.0,<3.0.0"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One version of one plane as it was made: where it is, and what is known of it."""

    plane: Plane
    version: str
    file: Path
    reference: str
    """By the digest of its manifest, as plans name it."""
    content: ContentDigest
    """The digest of the payload, as devices report it."""
    requires: dict[str, str] = field(default_factory=dict, hash=False)
    device_class: str = ESP32.name
    accuracy: float | None = None
    """For a model: the share of the held-out digits that it recognises."""
    behaviour: Behaviour = Behaviour.SOUND
    """For firmware: what it does wrong."""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """All that the story needs, by the part that it plays."""

    firmware_factory: Artifact
    firmware_first: Artifact
    firmware_hanging: Artifact
    model_factory: Artifact
    model_first: Artifact
    model_better: Artifact
    model_misquantised: Artifact
    config_factory: Artifact
    config_first: Artifact
    config_next: Artifact
    config_later: Artifact
    config_needing_unknown_model: Artifact
    box_model: Artifact
    box_model_misquantised: Artifact
    held_out: Path
    """An .npz with `x` uint8[n, 64] and `y`: the digits on which devices measure their accuracy."""

    def __iter__(self) -> Iterator[Artifact]:
        return (part for each in fields(self) if isinstance(part := getattr(self, each.name), Artifact))


async def make_artifacts(registry: str, workdir: Path, progress: Progress = lambda _: None) -> Artifacts:
    """Build every artifact in `workdir` and push it to the registry at `registry`, `HOST:PORT`.

    Raises:
        FirmwareBuildFailed, and what `push_artifact` raises.
    """
    await asyncio.to_thread(workdir.mkdir, parents=True, exist_ok=True)
    async with aiohttp.ClientSession() as session:
        release = _Releaser(OciRegistry(Transport(session)), registry, workdir, progress)
        return Artifacts(
            firmware_factory=await release.firmware("0.9.0", Behaviour.SOUND),
            firmware_first=await release.firmware("1.0.0", Behaviour.SOUND),
            firmware_hanging=await release.firmware("2.0.0", Behaviour.HANGS_BEFORE_CONFIRM),
            model_factory=await release.model(model.FACTORY, {}),
            model_first=await release.model(model.FIRST, MODEL_REQUIRES),
            model_better=await release.model(model.BETTER, MODEL_REQUIRES),
            model_misquantised=await release.model(model.MISQUANTISED, MODEL_REQUIRES),
            config_factory=await release.config(config.FACTORY),
            config_first=await release.config(config.FIRST),
            config_next=await release.config(config.NEXT),
            config_later=await release.config(config.LATER),
            config_needing_unknown_model=await release.config(config.NEEDS_UNKNOWN_MODEL),
            box_model=await release.model(model.FOR_BOXES, {}, RK3566),
            box_model_misquantised=await release.model(model.MISQUANTISED_FOR_BOXES, {}, RK3566),
            held_out=await asyncio.to_thread(model.write_held_out, workdir / "held-out.npz"),
        )


@dataclass(frozen=True, slots=True)
class _Releaser:
    registry: Registry
    host: str
    workdir: Path
    progress: Progress

    async def firmware(self, version: str, behaviour: Behaviour) -> Artifact:
        self.progress(f"firmware {version}: compiling")
        file = await asyncio.to_thread(build_firmware, version, behaviour, self.workdir / f"firmware-{version}.bin")
        return await self._push(Plane.FIRMWARE, version, file, behaviour=behaviour)

    async def model(self, recipe: model.Recipe, requires: dict[str, str], device_class: str = ESP32.name) -> Artifact:
        self.progress(f"model {recipe.version}: training")
        trained = await asyncio.to_thread(model.train_model, recipe)
        file = self._write(f"model-{recipe.version}.bin", trained.data)
        samples = None
        if device_class != ESP32.name:
            golden = await asyncio.to_thread(model.golden_samples, recipe)
            samples = self._write(f"samples-{recipe.version}.json", golden)
        return await self._push(
            Plane.MODEL, recipe.version, file, requires, accuracy=trained.accuracy, samples=samples,
            device_class=device_class,
        )  # fmt: skip

    async def config(self, version: config.Config) -> Artifact:
        file = self._write(f"config-{version.version}.json", version.data)
        schema = self._write("config-schema.json", config.schema_bytes())
        return await self._push(Plane.CONFIG, version.version, file, version.requires, schema=schema)

    async def _push(
        self,
        plane: Plane,
        version: str,
        file: Path,
        requires: dict[str, str] | None = None,
        *,
        schema: Path | None = None,
        accuracy: float | None = None,
        behaviour: Behaviour = Behaviour.SOUND,
        samples: Path | None = None,
        device_class: str = ESP32.name,
    ) -> Artifact:
        requires = requires or {}
        served = None if samples is None else ServedAs(MODEL, version)
        described = await push_artifact(
            self.registry,
            Repository.parse(f"{self.host}/{PROJECT}/{plane}"),
            NewArtifact(plane, version, device_class, file, requires, schema, samples=samples, served=served),
            lambda step: self.progress(f"{plane} {version}: {step}"),
        )
        reference = str(described.reference)
        return Artifact(plane, version, file, reference, described.content, requires, device_class, accuracy, behaviour)

    def _write(self, name: str, data: bytes) -> Path:
        file = self.workdir / name
        file.write_bytes(data)
        return file
