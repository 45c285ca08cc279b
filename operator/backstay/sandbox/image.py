"""Small images for Pods, made without any other tool: a few files, and the command that runs."""

import asyncio
import gzip
import io
import platform
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from backstay.adapters.oci.media_types import OCI_MANIFEST
from backstay.adapters.oci.new_artifact import Packed, Part
from backstay.adapters.oci.push import push_packed
from backstay.errors import Refused
from backstay.ports.registry import Repository

CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link in an image."""

    target: str


Content = bytes | Link


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one layer; the same one always has the same digest."""

    files: Mapping[str, Content]
    """By path, without the leading slash; every file may be executed."""
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def busybox(cls, *command: str, files: Mapping[str, bytes] | None = None) -> "Image":
        """A shell with the usual small programs (`httpd`, `wget`, `sleep` …), and files beside it.

        Raises `Refused` if there is no busybox on this machine.
        """
        found = shutil.which("busybox")
        if found is None:
            raise Refused("there is no busybox on this machine to put into an image; `make setup` installs it")
        programs: dict[str, Content] = {"bin/busybox": Path(found).read_bytes(), "bin/sh": Link("busybox")}
        return cls({**programs, **(files or {})}, command)


async def push_image(registry: str, name: str, image: Image) -> str:
    """Push an image as `name`, like `sandbox/pause:1`, and return how a Pod names it, with its digest.

    Raises as `push_packed` does.
    """
    path, _, tag = name.partition(":")
    packed = await asyncio.to_thread(pack_image, image)
    await asyncio.to_thread(push_packed, Repository.parse(f"{registry}/{path}"), tag or "latest", packed)
    return f"{registry}/{path}@{Part.of(packed.manifest, OCI_MANIFEST).digest}"


def pack_image(image: Image) -> Packed:
    """What is uploaded for an image.

    Source: https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md, layer.md
    """
    archive = _archive(image.files)
    layer = Part.of(gzip.compress(archive, mtime=0), LAYER)
    config = Part.of(orjson.dumps(_config(image, Part.of(archive, LAYER).digest)), CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.descriptor()],
    }
    return Packed(config, (layer,), orjson.dumps(manifest))


def _config(image: Image, layer_digest: str) -> dict[str, Any]:
    environment = {"PATH": "/bin", **image.environment}
    return {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Entrypoint": list(image.command),
            "Env": [f"{name}={value}" for name, value in environment.items()],
        },
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    }


def _archive(files: Mapping[str, Content]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for directory in sorted({str(parent) for name in files for parent in Path(name).parents} - {"."}):
            archive.addfile(_entry(directory, tarfile.DIRTYPE))
        for name, content in files.items():
            if isinstance(content, Link):
                entry = _entry(name, tarfile.SYMTYPE)
                entry.linkname = content.target
                archive.addfile(entry)
            else:
                entry = _entry(name, tarfile.REGTYPE)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def _entry(name: str, kind: bytes) -> tarfile.TarInfo:
    # Everything else stays zero, times and owners too: the digest says what is inside, not when it was made.
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.mode = 0o755
    return entry
