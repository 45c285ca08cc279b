"""What the guide to the agent says to do in the cluster is enough for an agent to follow its device."""

import re

import yaml

from backstay.adapters.kube.client import EDGE_DEVICES
from backstay.agent.commander import read_commander
from backstay.agent.node import Commander
from tests.cluster.agent_stage import Agent
from tests.cluster.guide_shell import ROOT, GuideShell
from tests.cluster.test_agent import until
from tests.guides import blocks

RECOVERY = (ROOT / "docs" / "how-to" / "recover-a-device.md").read_text()
GUIDE = (ROOT / "docs" / "how-to" / "install-the-agent.md").read_text()


async def test_commands_of_the_guide_let_an_agent_report(sandbox, kube, namespace, tmp_path) -> None:
    shell = GuideShell(sandbox, namespace, tmp_path)
    roles, install, look, read = blocks(GUIDE, "sh")
    await shell.run(roles)
    written, _ = blocks(GUIDE, "yaml")
    device = yaml.safe_load(written)
    await kube.create(EDGE_DEVICES, device | {"metadata": {"name": device["metadata"]["name"]}}, namespace)
    etc = tmp_path / "etc"
    await shell.run(install.replace("/etc/backstay", str(etc)).replace("acme/", f"{namespace}/"))
    assert read_commander(etc / "device") == Commander(namespace, device["metadata"]["name"])
    agent = Agent(sandbox, namespace, device["metadata"]["name"], device["spec"]["node"], tmp_path)
    async with agent.running():
        await until(kube, namespace, lambda status: "conditions" in status)
        assert re.search(r"box-1\b.*backstay-agent/", await shell.run(look))
        assert "node: normal operation" in await shell.run(f"{read.strip()} --data {agent.directory}")
        why, journal, safe, recover = blocks(RECOVERY, "sh")
        assert "box-1" in await shell.run(why)
        # A person is asked; here nobody can be.
        await shell.run(safe.replace("safe-mode box-1", "safe-mode box-1 --yes"))
        await until(kube, namespace, lambda status: "SafeMode" in str(status["conditions"]))
        assert "safe mode" in (await shell.run(f"{journal.strip()} --data {agent.directory}")).lower()
        await shell.run(recover)
        await until(kube, namespace, lambda status: status.get("recovered") == 1)
