"""System images of a test as RAUC bundles, and what a machine needs to take them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from backstay.adapters.oci.new_artifact import NewArtifact
from backstay.adapters.oci.push import push_artifact
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.transport import Transport
from backstay.core.planes import Plane
from backstay.ports.registry import ArtifactDescription, Repository
from tests.contracts.rauc_node import Signer
from tests.vm.image_builder import Image, with_files

FINE: dict[str, str] = {}
PANICS = {"first-program": "#!/bin/sh\nexit 1\n"}
"""The kernel panics when its first program ends."""
HANGS = {"first-program": "#!/bin/sh\nwhile :; do sleep 1000; done\n"}
WITHOUT_AGENT = {"broken-agent": ""}


@dataclass(frozen=True)
class Builder:
    """Makes bundles that one key has signed."""

    directory: Path
    image: Image
    signer: Signer

    def bundle(self, version: str, files: dict[str, str]) -> Path:
        path, content = self.directory / f"{version}.raucb", self.directory / version
        content.mkdir()
        with_files(self.image.system, content / "rootfs.img", {"version": version, **files})
        (content / "manifest.raucm").write_text(
            f"[update]\ncompatible=backstay-test-machine\nversion={version}\n"
            "[bundle]\nformat=verity\n[image.rootfs]\nfilename=rootfs.img\n",
            encoding="utf-8",
        )
        # What is compressed already is not tried once more.
        keys = (f"--cert={self.signer.certificate}", f"--key={self.signer.key}")
        subprocess.run(
            ("rauc", "bundle", *keys, "--mksquashfs-args=-noD -noF -no-progress", content, path),
            check=True,
            capture_output=True,
        )
        return path


async def push(registry: str, version: str, bundle: Path) -> ArtifactDescription:
    async with aiohttp.ClientSession() as session:
        artifact = NewArtifact(Plane.FIRMWARE, version, "rk3566", bundle)
        repository = Repository.parse(f"{registry}/nodes/system")
        return await push_artifact(OciRegistry(Transport(session)), repository, artifact)
