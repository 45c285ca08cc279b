"""An artifact that is to be pushed: checked before anything is sent, and the manifest that it gets.

The same input always gives the same manifest, and so the same digest.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from semver import Version

from backstay.adapters.json_schema import NoSchema, schema_fault
from backstay.adapters.node.probes.samples import LARGEST_BYTES, GoldenSamples
from backstay.adapters.oci.esp_image import fault_in
from backstay.adapters.oci.manifest import requirements
from backstay.adapters.oci.media_types import (
    DEVICE_CLASS,
    FORM,
    JSON_SCHEMA,
    LEAST_DRIVER,
    LEAST_RUNTIME,
    NPU_TARGETS,
    OCI_MANIFEST,
    OCI_VERSION,
    PLANE,
    PLANE_TYPES,
    RELEASE_NUMBER,
    REQUIRES,
    SAMPLES,
    SERVED_AS,
    VERSION,
)
from backstay.core.classes import ESP32
from backstay.core.needs import Needs, ServedAs
from backstay.core.planes import Plane
from backstay.errors import Refused

Json = dict[str, Any]

ESP32_FIRMWARE_LIMIT_BYTES: Final = 16 * 1024**2
CONFIG_LIMIT_BYTES: Final = 1024**2
READ_BYTES: Final = 1024**2

_TITLE: Final = "org.opencontainers.image.title"
_FILE_NAMES: Final = {Plane.FIRMWARE: "firmware.bin", Plane.MODEL: "model.bin", Plane.CONFIG: "config.json"}


class InputWrong(Refused):
    """What was to be pushed is not what it was said to be; nothing was sent."""


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """One version of one plane for one device class, still on this machine."""

    plane: Plane
    version: str
    device_class: str
    payload: Path
    requires: Mapping[str, str] = field(default_factory=dict, hash=False)
    schema: Path | None = None
    release_number: int | None = None
    samples: Path | None = None
    """A model's golden samples, which travel with it."""
    served: ServedAs | None = None
    """Under which name inference servers offer the model."""
    needs: Needs = field(default_factory=Needs)


@dataclass(frozen=True, slots=True)
class Part:
    """One blob to upload, with the descriptor under which the manifest names it."""

    data: bytes | Path
    media_type: str
    digest: str
    size_bytes: int
    title: str | None = None

    @classmethod
    def of(cls, data: bytes | Path, media_type: str, title: str | None = None) -> "Part":
        """Describe bytes, or a file, which is hashed as it is read."""
        content, size = hashlib.sha256(), 0
        for chunk in _chunks(data):
            content.update(chunk)
            size += len(chunk)
        return cls(data, media_type, f"sha256:{content.hexdigest()}", size, title)

    def descriptor(self) -> Json:
        """The part as a manifest names it."""
        named: Json = {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}
        return named | ({"annotations": {_TITLE: self.title}} if self.title else {})


@dataclass(frozen=True, slots=True)
class Packed:
    """What is uploaded: the blobs, then the manifest that names them."""

    config: Part
    layers: tuple[Part, ...]
    manifest: bytes


def check_input(artifact: NewArtifact) -> None:
    """Check all that can be seen without a registry; blocking.

    Raises:
        InputWrong: the version, a requirement or a file is not right; the message names it.
    """
    if not Version.is_valid(artifact.version):
        raise InputWrong(f"{artifact.version!r} is not a semantic version, such as 2.4.1")
    try:
        requirements(dict(artifact.requires), artifact.plane)
    except ValueError as error:
        raise InputWrong(f"a requirement is wrong: {error}") from error
    if artifact.release_number is not None and artifact.release_number < 0:
        raise InputWrong(f"the release number {artifact.release_number} is below 0")
    if (artifact.schema is not None) != (artifact.plane is Plane.CONFIG):
        raise InputWrong("a config needs the JSON Schema that says what is valid in it, and nothing else has one")
    _check_model(artifact)
    if artifact.needs.form is not None and artifact.plane is not Plane.FIRMWARE:
        raise InputWrong("a form is of firmware: what a node changes as its firmware has one, and nothing else")
    _check_payload(artifact)


def pack(artifact: NewArtifact) -> Packed:
    """Hash the files and make the manifest; blocking.

    Raises:
        InputWrong: a file cannot be read.
    """
    types = PLANE_TYPES[artifact.plane]
    try:
        layers = [Part.of(artifact.payload, types.payload, _FILE_NAMES[artifact.plane])]
        if artifact.schema is not None:
            layers.append(Part.of(artifact.schema, JSON_SCHEMA, "schema.json"))
        if artifact.samples is not None:
            layers.append(Part.of(artifact.samples, SAMPLES, "samples.json"))
    except OSError as error:
        raise InputWrong(f"cannot read {error.filename}: {error.strerror}") from error
    config = Part.of(_config(artifact, layers), types.config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": types.artifact,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
        "annotations": _annotations(artifact),
    }
    return Packed(config, tuple(layers), orjson.dumps(manifest))


def _check_model(artifact: NewArtifact) -> None:
    if artifact.samples is None and artifact.served is None:
        return
    if artifact.plane is not Plane.MODEL:
        raise InputWrong("only a model has golden samples, and a name at inference servers")
    if artifact.samples is None:
        return
    if artifact.served is None:
        raise InputWrong("golden samples are asked of an inference server: say under which name it serves the model")
    data = _read(artifact.samples, LARGEST_BYTES)
    try:
        GoldenSamples.parse(data)
    except ValueError as error:
        raise InputWrong(f"{artifact.samples}: {error}") from error


def _check_payload(artifact: NewArtifact) -> None:
    file = artifact.payload
    size_bytes = _size(file)
    if size_bytes == 0:
        raise InputWrong(f"{file} is empty")
    if artifact.plane is Plane.FIRMWARE and artifact.device_class == ESP32.name:
        if fault := fault_in(_read(file, ESP32_FIRMWARE_LIMIT_BYTES)):
            raise InputWrong(f"{file} {fault}; make it with `esptool elf2image`")
    elif artifact.schema is not None:
        _check_config(file, artifact.schema)


def _check_config(file: Path, schema_file: Path) -> None:
    schema, values = (_json(path) for path in (schema_file, file))
    try:
        fault = schema_fault(values, schema)
    except NoSchema as error:
        raise InputWrong(f"{schema_file} is not a JSON Schema: {error}") from error
    if fault is not None:
        raise InputWrong(f"{file} is not valid by {schema_file}: {fault}")


def _json(file: Path) -> Any:  # noqa: ANN401  a schema and a config may be any JSON
    try:
        return orjson.loads(_read(file, CONFIG_LIMIT_BYTES))
    except orjson.JSONDecodeError as error:
        raise InputWrong(f"{file} is not JSON: {error}") from error


def _read(file: Path, limit_bytes: int) -> bytes:
    if (size_bytes := _size(file)) > limit_bytes:
        raise InputWrong(f"{file} is {size_bytes} bytes, above the limit of {limit_bytes}")
    return file.read_bytes()


def _size(file: Path) -> int:
    try:
        if file.is_file():
            return file.stat().st_size
    except OSError as error:
        raise InputWrong(f"cannot read {file}: {error.strerror}") from error
    raise InputWrong(f"{file} is not a file")


def _chunks(data: bytes | Path) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    with data.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            yield chunk


def _config(artifact: NewArtifact, layers: list[Part]) -> bytes:
    if artifact.plane is not Plane.MODEL:
        return b"{}"
    return orjson.dumps(
        {
            "descriptor": {"version": artifact.version},
            "modelfs": {"type": "layers", "diffIds": [layer.digest for layer in layers]},
            "config": {},
        }
    )


def _annotations(artifact: NewArtifact) -> dict[str, str]:
    annotations = {
        PLANE: artifact.plane.value,
        VERSION: artifact.version,
        DEVICE_CLASS: artifact.device_class,
        REQUIRES: orjson.dumps(dict(artifact.requires), option=orjson.OPT_SORT_KEYS).decode(),
        OCI_VERSION: artifact.version,
    }
    needs = artifact.needs
    optional = {
        RELEASE_NUMBER: artifact.release_number,
        NPU_TARGETS: ",".join(needs.chips) or None,
        LEAST_DRIVER: needs.driver,
        LEAST_RUNTIME: needs.runtime,
        FORM: needs.form,
        SERVED_AS: artifact.served,
    }
    return annotations | {name: str(found) for name, found in optional.items() if found is not None}
