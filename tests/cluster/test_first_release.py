"""The tutorial, typed as it stands: from a cluster to a release that succeeded and one that went back.

Only the sandbox is the tests' own, which is up already; so it is not ended either (`test_sandbox.py` does that).
"""

import asyncio
import os
import re
from contextlib import suppress
from pathlib import Path

import pytest

from backstay.adapters.kube.client import EDGE_DEVICES, HOLDS, KubeClient
from backstay.errors import NotFound
from backstay.sandbox import Sandbox
from demo.processes import free_port
from tests.cluster.conftest import NAMESPACES, ROOT
from tests.cluster.operator_stage import Plan
from tests.guides import blocks

GUIDE = (ROOT / "docs" / "tutorial" / "first-release.md").read_text()
TENANT = "acme"
ENDS_WITH_3 = re.compile(r" +# ends with status 3.*$", re.MULTILINE)


def script(directory: Path) -> str:
    """Every block but the last, which takes the sandbox away; what went back is told by status 3."""
    *all_but_end, end = blocks(GUIDE, "sh")
    ended, down = end.splitlines()
    assert down == "backstay sandbox down"
    typed = "\n".join([*all_but_end, ended])
    typed, went_back = ENDS_WITH_3.subn(" || test $? = 3", typed)
    assert went_back == 1
    # What the sandbox has applied before is the sandbox's.
    typed = typed.replace("apply --server-side", "apply --server-side --field-manager=backstay-sandbox")
    return typed.replace("build/first", str(directory)).replace("18090", str(free_port()))


def environment(sandbox: Sandbox, home: Path) -> dict[str, str]:
    """A shell whose sandbox is the one that is up."""
    at = home / "state" / "backstay"
    at.mkdir(parents=True)
    (at / "sandbox").symlink_to(sandbox.directory)
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))  # where what was built is
    places = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "XDG_CACHE_HOME": cache}
    return {"PATH": os.environ["PATH"], **places}


@pytest.mark.timeout(300)
async def test_tutorial_ends_with_a_release_that_succeeded_and_one_that_went_back(
    sandbox: Sandbox, kube: KubeClient, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *("setsid", "--wait", "sh", "-euc", script(tmp_path / "first")),
        cwd=ROOT,
        env=environment(sandbox, tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    said = told.decode()
    try:
        assert process.returncode == 0, said
        status = await Plan(kube, TENANT, "vision").status()
        assert (status["phase"], [one["phase"] for one in status["history"]]) == ("RolledBack", ["Succeeded"]), said
        (frozen,) = await kube.list(HOLDS, TENANT)
        assert frozen["spec"]["reason"].startswith("Convicted: model 1.2.0"), said
        devices = await kube.list(EDGE_DEVICES, TENANT)
        assert {one["status"]["planes"]["model"]["version"] for one in devices} == {"1.1.0"}, said
        # Five of eight were ordered the good model and nothing since.
        assert sum(one["spec"]["desired"]["step"]["number"] == 1 for one in devices) == 5, said
    finally:
        with suppress(NotFound):
            await kube.delete(NAMESPACES, TENANT)
