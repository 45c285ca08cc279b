"""The real cosign, with key pairs of its own making, and without any network but the registry's."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from backstay.sandbox.build import cosign_binaries
from backstay.sandbox.ports import free_ports
from backstay.sandbox.process import Child
from tests.contracts.docker_registry import wait_for

OFFLINE = ("--tlog-upload=false", "--yes")
NEW_FORM = "--new-bundle-format"


@dataclass(frozen=True, slots=True)
class Cosign:
    """One key pair, in a directory of its own."""

    directory: Path

    @classmethod
    def with_new_keys(cls, directory: Path) -> Self:
        subprocess.run([_program(), "generate-key-pair"], cwd=directory, env=_environment(directory), check=True)
        return cls(directory)

    @property
    def public_key(self) -> bytes:
        return (self.directory / "cosign.pub").read_bytes()

    async def sign(self, reference: str, *, bundle: bool) -> None:
        """Sign what is in a registry."""
        await self._run("sign", "--key=cosign.key", *OFFLINE, *([NEW_FORM] if bundle else []), reference)

    async def attest(self, reference: str) -> None:
        """Say of what is in a registry something else than that it may be used."""
        (self.directory / "scan.json").write_text(json.dumps({"findings": 7}))
        about = ("--type=https://scanner.example/report/v1", "--predicate=scan.json")
        await self._run("attest", "--key=cosign.key", *OFFLINE, NEW_FORM, *about, reference)

    async def sign_bytes(self, data: bytes) -> bytes:
        """Sign bytes, and return the bundle."""
        (self.directory / "signed").write_bytes(data)
        await self._run("sign-blob", "--key=cosign.key", *OFFLINE, NEW_FORM, "--bundle=signed.json", "signed")
        return (self.directory / "signed.json").read_bytes()

    async def _run(self, *words: str) -> None:
        process = await asyncio.create_subprocess_exec(
            _program(),
            *words,
            cwd=self.directory,
            env=_environment(self.directory),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()


def _program() -> Path:
    return cosign_binaries() / "cosign"


def _environment(directory: Path) -> dict[str, str]:
    return {"HOME": str(directory), "COSIGN_PASSWORD": "only for tests"}


@contextmanager
def referrers_registry_in(directory: Path) -> Iterator[str]:
    """Run a registry that has the referrers API; its HOST:PORT."""
    port = free_ports().registry
    command = (str(cosign_binaries() / "referrers-registry"), str(port))
    child = Child("referrers-registry", command, directory / "log", environment=os.environ)
    child.start()
    try:
        wait_for(f"http://127.0.0.1:{port}/v2/", child)
        yield f"127.0.0.1:{port}"
    finally:
        child.kill()
