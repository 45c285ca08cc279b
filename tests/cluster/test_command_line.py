"""The commands of a person on call against a real API server and a running operator."""

import asyncio
import json
import os
import re
import shlex
from pathlib import Path

import pytest
import yaml

from backstay.adapters.kube.client import HOLDS, RELEASE_PLANS, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from backstay.sandbox.build import kubernetes_binaries
from tests.cluster.conftest import ROOT
from tests.cluster.operator_stage import (
    BACKSTAY,
    OLD,
    Devices,
    applied,
    cameras,
    obeying,
    plan,
    push,
    ring,
    running_operator,
)
from tests.cluster.test_admission import account, conviction
from tests.guides import blocks

STEER = (ROOT / "docs" / "how-to" / "steer-from-the-command-line.md").read_text()
KUBECTL = kubernetes_binaries() / "kubectl"
RINGS = [ring("canary", size=1), ring("everyone", size="100%", approval="Manual")]


class Person:
    """Somebody with a kubeconfig whose context names the namespace."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig

    async def says(self, *arguments: str, program: Path = BACKSTAY) -> tuple[int, str]:
        """Run a command; its status, and all that it printed."""
        path = f"{BACKSTAY.parent}:{os.environ['PATH']}"
        process = await asyncio.create_subprocess_exec(
            *(program, *arguments),
            env={**os.environ, "PATH": path, "KUBECONFIG": str(self._kubeconfig)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async def follows(self, block: str) -> str:
        """Do what a block of a guide says, line by line, in a shell at the project's root."""
        return await self.does("-euc", f"cd {ROOT}\n{block}", program=Path("/bin/sh"))

    async def does(self, *arguments: str, program: Path = BACKSTAY) -> str:
        """Run a command that has to succeed."""
        status, said = await self.says(*arguments, program=program)
        assert status == 0, said
        return said


def in_namespace(kubeconfig: Path, namespace: str, to: Path) -> Person:
    document = yaml.safe_load(kubeconfig.read_text())
    for context in document["contexts"]:
        context["context"]["namespace"] = namespace
    to.write_text(yaml.safe_dump(document))
    return Person(to)


@pytest.fixture
def person(sandbox: Sandbox, namespace: str, tmp_path: Path) -> Person:
    return in_namespace(sandbox.kubeconfig, namespace, tmp_path / "kubeconfig")


async def test_person_steers_a_release_from_its_approval_to_its_rollback(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path, person: Person
) -> None:
    fleet = Devices(kube, namespace)
    await cameras(kube, namespace)
    await fleet.create(*(f"cam-{number}" for number in range(4)), kind="camera")
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    check, look, stop, go, back = blocks(STEER, "sh")
    assert "0 errors" in await person.follows(check)
    # Nobody takes over here, and a person takes longer than the lease of the other tests lets a busy machine be slow.
    async with obeying(fleet), running_operator(sandbox, tmp_path, "--lease-duration", "6"):
        vision = await applied(kube, namespace, plan("vision", model, rings=RINGS))
        await vision.until(lambda found: (found.get("summary") or {}).get("health") == "WaitingForApproval")
        shown = await person.follows(look)
        assert "vision  Soaking, ring canary" in shown
        assert "WaitingForApproval: ring everyone waits for approval" in shown
        assert "1/1" in shown
        assert "0/3" in shown
        assert "ring everyone waits for approval: backstay approve vision everyone" in shown

        refused, words = await person.says("approve", "vision", "canary")
        assert (refused, "ring canary does not wait for approval now" in words) == (1, True), words

        said = await person.follows(stop)
        assert "vision is paused" in said
        assert "PAUSED" in said
        assert "paused no more" in said
        assert "hold incident-7 is lifted" in said
        said = await person.follows(go)
        assert "would be let pass" in said
        assert "Approved: backstay-sandbox-admin approved ring everyone" in said
        assert "vision  Succeeded" in said
        said = await person.does("hold", "--version", "model=1.0.0", "-r", "try", "--dry-run=server")
        assert f"model 1.0.0 is {model.content}" in said

        document = json.loads(await person.does("status", "vision", "-o", "json"))
        assert (document["kind"], document["status"]["phase"]) == ("ReleasePlan", "Succeeded")

        refused, words = await person.says("rollback", "vision")
        assert (refused, "say --yes if you mean it" in words) == (1, True), words
        assert (await vision.status())["phase"] == "Succeeded"
        said = await person.follows(back)
        assert "RollbackAsked" in said
        assert re.search("revision +phase +ended", said)
        ended, shown = await person.says("status", "vision", "--wait", "-o", "name")
        assert (ended, shown.splitlines()[-1]) == (3, "releaseplan.backstay.dev/vision"), shown
        ended, shown = await person.says("backstay", "status", "vision", "--watch", program=KUBECTL)
        assert (ended, "RolledBack" in shown) == (3, True), shown


async def test_hold_stops_what_its_options_say_and_is_lifted_again(
    kube: KubeClient, namespace: str, person: Person
) -> None:
    await person.does("hold", "--site", "hall-1", "-l", "line=3", "-r", "incident 7", "--for", "2h", "--name", "seven")
    spec = (await kube.get(HOLDS, "seven", namespace))["spec"]
    assert spec["scope"] == {"selector": {"matchLabels": {"site": "hall-1", "line": "3"}}}
    assert spec["until"].endswith("Z")
    assert "would be made" in await person.does("hold", "--all", "-r", "try", "--dry-run", "server", "--name", "eight")
    assert "could be lifted" in await person.does("lift", "seven", "--dry-run", "server")
    assert {one["metadata"]["name"] for one in await kube.list(HOLDS, namespace)} == {"seven"}
    assert "is lifted" in await person.does("lift", "seven")

    digest = f"sha256:{'b' * 64}"
    said = await person.does("hold", "--version", f"model={digest}", "--return", "-r", "it hangs")
    (found,) = await kube.list(HOLDS, namespace)
    assert found["metadata"]["name"] in said
    assert found["spec"]["versions"] == [{"plane": "model", "digest": digest}]
    assert found["spec"]["inFlight"] == "Return"


async def test_hold_finds_the_content_of_a_version_by_its_name(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path, person: Person
) -> None:
    fleet = Devices(kube, namespace)
    await fleet.create("cam-1", "cam-2", kind="camera")
    counted = await person.does("devices", "--count", "--running", "model=0.9.0")
    assert counted.split()[-4:] == ["0.9.0", "0.9.0", "0.9.0", "2"]
    listed = yaml.safe_load(await person.does("devices", "-l", "kind=camera", "-o", "yaml"))
    assert [one["metadata"]["name"] for one in listed["items"]] == ["cam-1", "cam-2"]
    said = await person.does("hold", "--version", "model=0.9.0", "-r", "it hangs", "--name", "old", "-o", "name")
    assert said == "hold.backstay.dev/old\n"
    (found,) = await kube.list(HOLDS, namespace)
    assert found["spec"]["versions"] == [{"plane": "model", "digest": OLD[Plane.MODEL]}]

    repacked = f"sha256:{'c' * 64}"
    await fleet._report("cam-2", {"planes": {"model": {"running": repacked}}})
    refused, said = await person.says("hold", "--version", "model=0.9.0", "-r", "it hangs")
    assert (refused, "model 0.9.0 is the name of 2 contents" in said) == (1, True), said
    assert f"model={OLD[Plane.MODEL]} (runs on 1 device)" in said
    assert f"model={repacked} (runs on 1 device)" in said

    config = await push(sandbox, tmp_path, Plane.CONFIG, "3.0.0")
    await kube.create(RELEASE_PLANS, plan("vision", config), namespace)
    said = await person.does("hold", "--version", "config=3.0.0", "-r", "not yet")
    assert f"config 3.0.0 is {config.content}" in said


async def test_tab_offers_what_there_is_in_the_cluster(kube: KubeClient, namespace: str, person: Person) -> None:
    await kube.create(RELEASE_PLANS, plan_without_operator(), namespace)
    await Devices(kube, namespace).create("cam-1")
    await person.does("hold", "--all", "-r", "incident 7", "--name", "seven")
    for words, offered in (
        (("status", ""), "vision"),
        (("why", "ca"), "cam-1\tesp32"),
        (("lift", ""), "seven\tincident 7"),
        (("devices", "--gateway", ""), "gw"),
        (("status", "-n", namespace[:7]), namespace),
        (("status", "-n", namespace, ""), "vision"),
    ):
        said = await person.does("__complete", "backstay", *words, program=KUBECTL)
        assert offered in said.splitlines(), said
        assert ":4" in said.splitlines()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say what to stop"),
        (("--all", "--device", "cam-1"), "exclude each other"),
        (("--device", "Cam 1"), "spec.scope.devices"),
        (("--version", "model"), "write KEY=VALUE"),
        (("--version", "model=7.2.0"), "nothing in namespace"),
        (("--version", "model=seven"), "spec.versions"),
        (("--version", f"camera=sha256:{'a' * 64}"), "spec.versions"),
        (("--all", "--for", "soon"), "write a duration"),
        (("--all", "--for", "0s"), "over already"),
        (("--site", "a", "-l", "site"), "write KEY=VALUE"),
    ],
)
async def test_hold_is_refused_by_name_when_it_says_nothing_that_could_be_stopped(
    person: Person, arguments: tuple[str, ...], words: str
) -> None:
    status, said = await person.says("hold", "-r", "incident", *arguments)
    assert (status, words in said) == (1, True), said


async def test_conviction_is_lifted_only_by_somebody_who_means_it_and_may(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path, person: Person
) -> None:
    await kube.create(HOLDS, conviction("frozen"), namespace)
    await sandbox.apply(account("bob", namespace))
    bob = in_namespace(await sandbox.service_account_kubeconfig(namespace, "bob"), namespace, tmp_path / "bob")
    assert (await person.says("lift", "frozen"))[0] == 1
    status, said = await bob.says("lift", "frozen", "--yes")
    assert (status, "may not lift" in said) == (1, True), said
    await person.does("lift", "frozen", "--yes")
    assert await kube.list(HOLDS, namespace) == ()


async def test_request_needs_the_right_to_ask_and_says_so(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    made = plan_without_operator()
    await kube.create(RELEASE_PLANS, made, namespace)
    status = {"status": {"revision": "0ff0650b3c-1", "phase": "Pending"}}
    await kube.merge_patch(RELEASE_PLANS, "vision", status, namespace, subresource="status")
    await sandbox.apply(account("bob", namespace))
    bob = in_namespace(await sandbox.service_account_kubeconfig(namespace, "bob"), namespace, tmp_path / "bob")
    refused, said = await bob.says("retry", "vision")
    assert (refused, "may not retry releaseplan vision" in said) == (1, True), said
    assert (await bob.says("retry", "nothing"))[0] == 1


async def test_request_is_said_to_stand_when_no_operator_answers(
    kube: KubeClient, namespace: str, person: Person
) -> None:
    await kube.create(RELEASE_PLANS, plan_without_operator(), namespace)
    refused, said = await person.says("retry", "vision")
    assert (refused, "has no revision yet" in said) == (1, True), said
    status = {"status": {"revision": "0ff0650b3c-1", "phase": "Pending"}}
    await kube.merge_patch(RELEASE_PLANS, "vision", status, namespace, subresource="status")
    refused, said = await person.says("resume", "vision")
    assert (refused, "neither paused nor halted" in said) == (1, True), said
    refused, said = await person.says("retry", "vision", "--timeout", "0.5")
    assert (refused, "the request stands" in said) == (4, True), said
    waited, said = await person.says("status", "vision", "--wait", "--timeout", "500ms")
    assert (waited, "vision has not ended after 0.5 s" in said) == (4, True), said
    assert "asked: retry@0ff0650b3c-1" in await person.does("retry", "vision", "--timeout", "0")


def plan_without_operator() -> dict[str, object]:
    versions = {"model": {"version": "1.0.0", "artifact": f"127.0.0.1:5000/acme/model@sha256:{'a' * 64}"}}
    return {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "ReleasePlan",
        "metadata": {"name": "vision"},
        "spec": {"groups": ["cameras"], "versions": versions},
    }


async def test_guide_holds_and_lifts(kube: KubeClient, namespace: str, person: Person) -> None:
    guide = (ROOT / "docs" / "how-to" / "ask-and-hold.md").read_text()
    (block,) = (found for found in blocks(guide, "sh") if "backstay hold" in found)
    holding, lifting = (shlex.split(line)[1:] for line in block.replace("-n acme", f"-n {namespace}").splitlines())
    await person.does(*holding)
    (found,) = await kube.list(HOLDS, namespace)
    (written,) = (yaml.safe_load(found) for found in blocks(guide, "yaml"))
    spec = {**found["spec"], "until": written["spec"]["until"]}
    assert (found["metadata"]["name"], spec) == (written["metadata"]["name"], written["spec"])
    await person.does(*lifting)
    assert await kube.list(HOLDS, namespace) == ()
