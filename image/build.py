"""The image, out of its layers: config, manifest, list of what is inside, and the directory that all tools read."""

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backstay.adapters.oci.media_types import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from backstay.adapters.oci.new_artifact import Packed, Part
from backstay.sandbox.image import CONFIG, LAYER
from backstay.sandbox.progress import Report
from image import debian, python
from image.architectures import Architecture
from image.layers import Layer, layer
from image.sbom import MEDIA_TYPE, bill_of_materials

HERE: Final = Path(__file__).parent
ENVIRONMENT: Final = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
}
NEVER: Final = "1970-01-01T00:00:00Z"
"""When the image was made: that is not what makes it another."""


@dataclass(frozen=True, slots=True)
class Built:
    """The image for one architecture."""

    version: str
    architecture: Architecture
    layers: tuple[Layer, ...]
    packed: Packed
    bill: Packed
    """What is inside, as an artifact that refers to the image."""

    @property
    def manifest(self) -> Part:
        """The image's manifest."""
        return Part.of(self.packed.manifest, OCI_MANIFEST)

    @property
    def size_bytes(self) -> tuple[int, int]:
        """How large it is to pull, and on a node's disk."""
        return sum(part.size_bytes for part in self.packed.layers), sum(made.size_bytes for made in self.layers)


def build(architecture: Architecture, report: Report, *, fresh: bool = False) -> Built:
    """Build the image; layers that are cached are taken from there, unless Debian's packages shall be fetched afresh.

    Blocking. Raises `Refused` if a layer cannot be made here.
    """
    version = tomllib.loads((python.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    shared = (architecture.name.encode(), *_code("architectures", "bytecode", "layers"))
    names = _digest(*shared, *_code("debian"), *(name.encode() for name in debian.PACKAGES))
    lock = _digest(*shared, *_code("python"), python.LOCK.read_bytes())
    ours = _digest(*shared, *_code("python"), *_sources())
    layers = (
        layer("base", names, debian.base(architecture), report, fresh=fresh),
        layer("packages", lock, python.packages(architecture), report),
        layer("backstay", ours, python.program, report),
    )
    packed = _pack(version, architecture, layers)
    components = tuple(component for made in layers for component in made.components)
    digest = Part.of(packed.manifest, OCI_MANIFEST).digest
    bill = bill_of_materials("backstay", version, digest, components, architecture)
    return Built(version, architecture, layers, packed, _referring(bill, packed))


def write_layout(images: Sequence[Built], to: Path) -> None:
    """Write images as one directory that `skopeo`, `podman`, `crane` and their like read.

    Source: https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
    """
    shutil.rmtree(to, ignore_errors=True)
    blobs = to / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for packed in (packed for image in images for packed in (image.packed, image.bill)):
        for part in (packed.config, *packed.layers, Part.of(packed.manifest, OCI_MANIFEST)):
            _put(part, blobs / part.digest.removeprefix("sha256:"))
    index = Part.of(index_of(images), OCI_INDEX)
    _put(index, blobs / index.digest.removeprefix("sha256:"))
    (to / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="ascii")
    named = index.descriptor() | {"annotations": {"org.opencontainers.image.ref.name": images[0].version}}
    bills = [_described_bill(image) for image in images]
    (to / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [named, *bills]}), encoding="utf-8"
    )


def index_of(images: Sequence[Built]) -> bytes:
    """The index under which a node finds the image for its architecture."""
    listed = [
        image.manifest.descriptor() | {"platform": {"architecture": image.architecture.name, "os": "linux"}}
        for image in images
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()


def _described_bill(image: Built) -> dict[str, Any]:
    return Part.of(image.bill.manifest, OCI_MANIFEST).descriptor() | {"artifactType": MEDIA_TYPE}


def _pack(version: str, architecture: Architecture, layers: tuple[Layer, ...]) -> Packed:
    parts = tuple(Part.of(made.archive, LAYER) for made in layers)
    config = Part.of(json.dumps(_config(version, architecture, layers)).encode(), CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [part.descriptor() for part in parts],
    }
    return Packed(config, parts, json.dumps(manifest).encode())


def _config(version: str, architecture: Architecture, layers: tuple[Layer, ...]) -> dict[str, Any]:
    return {
        "architecture": architecture.name,
        "os": "linux",
        "created": NEVER,
        "config": {
            "User": f"{debian.USER_ID}:{debian.USER_ID}",
            "Entrypoint": ["/usr/bin/backstay"],
            "Cmd": ["--help"],
            "Env": [f"{name}={value}" for name, value in ENVIRONMENT.items()],
            "WorkingDir": "/",
            "Labels": {
                "org.opencontainers.image.title": "backstay",
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [made.content for made in layers]},
        "history": [{"created": NEVER, "created_by": f"layer {made.name}"} for made in layers],
    }


def _referring(bill: bytes, image: Packed) -> Packed:
    """An artifact that a registry lists as referring to the image."""
    empty, part = Part.of(b"{}", OCI_EMPTY), Part.of(bill, MEDIA_TYPE, "bom.json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": MEDIA_TYPE,
        "config": empty.descriptor(),
        "layers": [part.descriptor()],
        "subject": Part.of(image.manifest, OCI_MANIFEST).descriptor(),
    }
    return Packed(empty, (part,), json.dumps(manifest).encode())


def _code(*modules: str) -> list[bytes]:
    """What makes a layer, which so is made anew when that changes."""
    return [(HERE / f"{module}.py").read_bytes() for module in modules]


def _sources() -> list[bytes]:
    """All that the program's wheel is made of, by path."""
    operator = python.ROOT / "operator" / "backstay"
    files = sorted(path for path in operator.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    named = [part for path in files for part in (str(path.relative_to(operator)).encode(), path.read_bytes())]
    return [(python.ROOT / name).read_bytes() for name in ("pyproject.toml", "README.md", "LICENSE")] + named


def _put(part: Part, to: Path) -> None:
    if to.exists():
        return
    if isinstance(part.data, Path):
        try:
            os.link(part.data, to)
        except OSError:
            shutil.copyfile(part.data, to)
    else:
        to.write_bytes(part.data)


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:16]
