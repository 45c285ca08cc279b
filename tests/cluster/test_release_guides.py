"""The pages for whoever releases and runs Backstay, command by command, with an operator where they need one."""

import pytest
import yaml

from backstay.adapters.kube.client import HOLDS, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.conftest import ROOT
from tests.cluster.guide_shell import GuideShell
from tests.cluster.operator_stage import (
    OLD,
    Devices,
    Plan,
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

HOW_TO = ROOT / "docs" / "how-to"
STOP = (HOW_TO / "stop-a-bad-release.md").read_text()
RULES = (HOW_TO / "write-a-health-rule.md").read_text()
ASK = (HOW_TO / "ask-and-hold.md").read_text()
AHEAD = (HOW_TO / "see-ahead.md").read_text()
UPGRADE = (HOW_TO / "upgrade-backstay.md").read_text()
CELLS = (HOW_TO / "run-a-million-devices.md").read_text()
PATIENT = ("--lease-duration", "15")
"""This test runs many commands, and a busy machine must not cost the operator its lease meanwhile."""
UNWELL = ("backstay status",)


def typed(block: str) -> str:
    """A block whose `status` may say, by its status 3, that a plan needs somebody."""
    return "\n".join(f"{line} || test $? = 3" if line.startswith(UNWELL) else line for line in block.splitlines())


async def waits_for_approval(vision: Plan) -> None:
    await vision.until(lambda found: (found.get("summary") or {}).get("health") == "WaitingForApproval")


@pytest.mark.timeout(180)
async def test_commands_of_the_guides_approve_a_release_explain_it_stop_it_and_take_it_back(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path
) -> None:
    shell = GuideShell(sandbox, namespace, tmp_path)
    fleet = Devices(kube, namespace)
    await cameras(kube, namespace)
    await fleet.create("cam-1", "cam-2", kind="camera", region="eu")
    await fleet.create("cam-3", kind="camera", region="us")
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    look, hold, freeze, pause, rollback, watch, sleep, morning = map(typed, blocks(STOP, "sh"))
    async with obeying(fleet), running_operator(sandbox, tmp_path, *PATIENT):
        rings = [
            ring("eu", select={"matchLabels": {"region": "eu"}}, approval="Manual"),
            ring("everyone", size="100%", soak="1h", approval="Manual"),
        ]
        vision = await applied(kube, namespace, plan("vision", model, rings=rings))
        await waits_for_approval(vision)
        approve, annotate, _ = blocks(ASK, "sh")
        await shell.run(approve)
        revision = (await vision.until(lambda found: found.get("ring") == "eu"))["revision"]
        await waits_for_approval(vision)
        await shell.run(annotate.replace("0ff0650b3c-3/eu", f"{revision}/everyone"))
        await vision.until(lambda found: found.get("ring") == "everyone" and found["phase"] == "Soaking")

        assert "vision" in await shell.run(look)
        (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan("vision", model, rings=rings)))
        live, *_ = blocks(AHEAD, "sh")[0].splitlines()
        assert "plan vision" in await shell.run(
            f"{live.partition('#')[0].replace('plan.yaml', str(tmp_path / 'plan.yaml'))} -n {namespace}"
        )
        assert "cam-1" in await shell.run(blocks(AHEAD, "sh")[-1].replace("cam-0042", "cam-1"))

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


async def test_commands_of_the_guide_upgrade_what_the_cluster_has(sandbox: Sandbox, namespace: str, tmp_path) -> None:
    shell = GuideShell(sandbox, namespace, tmp_path)
    # What the sandbox has applied before is the sandbox's.
    ours = [
        block.replace("--server-side", "--server-side --field-manager=backstay-sandbox")
        for block in blocks(UPGRADE, "sh")
    ]
    said = [await shell.run(block) for block in ours]
    assert any("condition met" in told for told in said)


async def test_commands_of_the_guide_name_cells_and_stop_each_of_them(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path
) -> None:
    shell = GuideShell(sandbox, namespace, tmp_path)
    label, stop = blocks(CELLS, "sh")
    await shell.run(
        "kubectl create namespace argocd",
        *(f"kubectl create secret generic -n argocd {name}" for name in ("cluster-eu-1", "cluster-eu-2")),
    )
    try:
        await shell.run(label)
        (cells,) = yaml.safe_load((ROOT / "manifests/argocd/applicationset.yaml").read_text())["spec"]["generators"]
        (wanted,) = cells["clusters"]["selector"]["matchExpressions"]
        selector = f"{wanted['key']} in ({','.join(wanted['values'])})"
        found = await shell.run(f"kubectl get secrets -n argocd -l '{selector}' -o name")
        assert found.split() == ["secret/cluster-eu-1", "secret/cluster-eu-2"]
    finally:
        await shell.run("kubectl delete namespace argocd --wait=false")
    await shell.run(f"CELLS=$(kubectl config current-context); {stop}")
    assert [one["metadata"]["name"] for one in await kube.list(HOLDS, namespace)] == ["stock-taking"]
