"""The guide to signing, carried out as it stands."""

import asyncio
import os
import re
import subprocess
from functools import partial
from pathlib import Path
from uuid import uuid4

import aiohttp

from backstay.adapters.oci.public_keys import load_keys
from backstay.adapters.oci.registry import OciRegistry
from backstay.adapters.oci.signature import SIGNATURE_LIMIT_BYTES, SIGNATURES_LIMIT
from backstay.adapters.oci.transport import Transport
from backstay.adapters.oci.verify import verifier_with
from backstay.ports.verify import UnverifiedReason, Verified
from backstay.sandbox.build import cosign_binaries
from tests.contracts.artifacts import Sample
from tests.contracts.docker_registry import DockerRegistry, put_sample
from tests.guides import blocks

GUIDE = (Path(__file__).parents[2] / "docs" / "how-to" / "sign-releases.md").read_text()


async def test_commands_of_the_guide_make_a_signature_that_counts(
    docker_registry: DockerRegistry, tmp_path: Path
) -> None:
    async with aiohttp.ClientSession() as session:
        repository = docker_registry.repository(f"guide/{uuid4().hex}")
        artifact = await put_sample(session, repository, Sample(uuid4().bytes))
        script = "set -e\n" + "".join(blocks(GUIDE, "sh"))
        environment = {
            "PATH": f"{cosign_binaries()}:{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "COSIGN_PASSWORD": "only for tests",
            "ARTIFACT": artifact,
        }
        run = partial(
            subprocess.run, ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        done = await asyncio.to_thread(run)
        assert done.returncode == 0, done.stderr
        transport = Transport(session)
        registry = OciRegistry(transport)
        described = await registry.resolve(artifact, "esp32")
        verdict = await verifier_with(load_keys(tmp_path / "keys"), transport, registry).verify(described)
    assert verdict == Verified("release.pub")


def test_guide_names_every_reason_and_limit() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)) == set(UnverifiedReason)
    assert f"At most {SIGNATURES_LIMIT} signatures" in GUIDE
    assert f"at most {SIGNATURE_LIMIT_BYTES // 1024} KiB each" in GUIDE
