"""The pages on stopping a release and on health rules, command by command, with a running operator."""

import pytest

from backstay.adapters.kube.client import HOLDS, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.conftest import ROOT
from tests.cluster.guide_shell import GuideShell
from tests.cluster.operator_stage import (
    OLD,
    Devices,
    applied,
    cameras,
    holds,
    obeying,
    plan,
    push,
    ring,
    running_operator,
)
from tests.guides import blocks

GUIDE = (ROOT / "docs" / "how-to" / "stop-a-bad-release.md").read_text()
RULES = (ROOT / "docs" / "how-to" / "write-a-health-rule.md").read_text()
UNWELL = ("backstay status",)


def typed(block: str) -> str:
    """A block whose `status` may say, by its status 3, that a plan needs somebody."""
    return "\n".join(f"{line} || test $? = 3" if line.startswith(UNWELL) else line for line in block.splitlines())


@pytest.mark.timeout(180)
async def test_commands_of_the_guide_stop_a_release_and_take_it_back(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path
) -> None:
    shell = GuideShell(sandbox, namespace, tmp_path)
    fleet = Devices(kube, namespace)
    await cameras(kube, namespace)
    await fleet.create("cam-1", "cam-2", kind="camera", region="eu")
    await fleet.create("cam-3", kind="camera", region="us")
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    look, hold, freeze, pause, rollback, watch, sleep, morning = map(typed, blocks(GUIDE, "sh"))
    async with obeying(fleet), running_operator(sandbox, tmp_path):
        rings = [ring("eu", select={"matchLabels": {"region": "eu"}}), ring("everyone", size="100%", soak="1h")]
        vision = await applied(kube, namespace, plan("vision", model, rings=rings))
        await vision.until(lambda found: found.get("ring") == "everyone")
        assert "vision" in await shell.run(look)

        await shell.run(hold)
        await shell.run(freeze)
        scopes = {one["metadata"]["name"]: one["spec"] for one in await holds(kube, namespace)}
        assert scopes["night-1"]["scope"] == {"selector": {"matchLabels": {"region": "eu"}}}
        assert scopes["night-2"]["versions"] == [{"plane": "model", "digest": model.content}]
        await shell.run(pause)
        assert (await vision.get())["spec"]["paused"] is True

        await shell.run(rollback)
        assert "RolledBack" in await shell.run(watch)
        assert set((await fleet.running(Plane.MODEL)).values()) == {OLD[Plane.MODEL]}
        assert "RolledBack" in await shell.run(sleep)
        await shell.run(morning)
        assert await kube.list(HOLDS, namespace) == ()
        assert not (await vision.get())["spec"].get("paused")


async def test_commands_of_the_guide_make_a_rule_that_the_operator_accepts(
    sandbox: Sandbox, namespace: str, tmp_path
) -> None:
    (rule,), (commands,) = blocks(RULES, "yaml"), blocks(RULES, "sh")
    (tmp_path / "quality.yaml").write_text(rule)
    shell = GuideShell(sandbox, namespace, tmp_path)
    async with running_operator(sandbox, tmp_path):
        said = await shell.run(commands.replace("quality.yaml", str(tmp_path / "quality.yaml")))
    assert "condition met" in said
