"""What people ask of a plan, and what a plan must prove, against the real API server with its admission policies."""

import asyncio
from pathlib import Path

from backstay.adapters.kube.client import DEVICE_GROUPS, EDGE_DEVICES, EVENTS, KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import (
    OLD,
    Devices,
    Plan,
    applied,
    holds,
    plan,
    push,
    ring,
    running_operator,
)


def waits_for(reason: str) -> object:
    def look(status: dict[str, object]) -> bool:
        conditions = {one["type"]: one for one in status.get("conditions", ())}  # type: ignore[index]
        return bool(conditions) and conditions["Stalled"]["reason"] == reason

    return look


async def test_operator_starts_a_ring_only_when_a_person_approves_it(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    rings = [ring("canary", size=1), ring("everyone", size="100%", inFlight="100%", approval="Manual")]
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, rings=rings))
        await vision.until(waits_for("WaitingForApproval"))
        await asyncio.sleep(1)
        assert len(fleet.orders) == 1
        stalled = await vision.condition("Stalled")
        request = await vision.ask("approve", "everyone")
        status = await vision.reaches("Succeeded")
    assert "backstay approve vision " in stalled["message"]
    assert status["lastHandledRequest"] == request
    assert status["requestAnswer"]["reason"] == "Approved"
    assert "approved ring everyone" in status["requestAnswer"]["message"]
    assert len(fleet.orders) == 6


async def test_operator_says_why_it_refuses_a_request(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model))
        await vision.reaches("Succeeded")
        request = await vision.ask("rollback", revision="0123456789-9")
        status = await vision.until(lambda status: status.get("lastHandledRequest") == request)
        events = await kube.list(EVENTS, namespace)
    assert status["phase"] == "Succeeded"
    assert status["requestAnswer"]["reason"] == "RequestRefused"
    assert "about another revision" in status["requestAnswer"]["message"]
    assert any(event["reason"] == "RequestRefused" for event in events)


async def test_operator_takes_a_release_back_when_a_person_asks_after_it_succeeded(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    config = await push(sandbox, tmp_path, Plane.CONFIG, "1.0.0", model=">=1.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, config))
        await vision.reaches("Succeeded")
        await vision.ask("rollback")
        status = await vision.reaches("RolledBack")
        held = await holds(kube, namespace)
        await vision.ask("retry", nonce="2")
        again = await vision.until(
            lambda found: found.get("phase") == "Succeeded" and found["revision"] != status["revision"]
        )
    assert held == []
    assert "culprit" not in status, "nobody is guilty of what a person wanted back"
    assert again["revision"].endswith("-2")
    assert [past["phase"] for past in again["history"]] == ["RolledBack"]
    assert set((await fleet.running(Plane.CONFIG)).values()) == {config.content}


async def test_operator_proves_recovery_on_devices_before_a_ring_passes(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    await kube.merge_patch(
        EDGE_DEVICES,
        "cam-0",
        {"metadata": {"labels": {"audience": "internal", "backstay.dev/may-break": "true"}}},
        namespace,
    )
    rings = [ring("everyone", size="100%", inFlight="100%", rehearsal={"devices": 1, "breakOne": True})]
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, rings=rings))
        await vision.reaches("Succeeded")
        proven = await vision.condition("RecoveryProven")
    assert (proven["status"], proven["reason"]) == ("True", "Rehearsed")
    returned = {name for name, _, kind, _, content in fleet.orders if kind == "Return" and content == OLD[Plane.MODEL]}
    assert len(returned) == 2
    assert "cam-0" in returned
    installs = [name for name, _, kind, _, _ in fleet.orders if kind == "Install"]
    assert installs.count("cam-0") == 3, "first, to fail, and again"
    assert set((await fleet.running(Plane.MODEL)).values()) == {model.content}


async def test_operator_refuses_the_younger_of_two_plans_for_one_plane(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    other = await push(sandbox, tmp_path / "other", Plane.MODEL, "3.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model))
        await vision.reaches("Succeeded")
        parking = await applied(kube, namespace, plan("parking", other))
        await parking.until(waits_for("Conflict"))
        stalled = await parking.condition("Stalled")
    assert stalled["message"].startswith("plans parking and vision both manage the model of 6 devices")
    assert set((await fleet.running(Plane.MODEL)).values()) == {model.content}


async def test_plans_together_keep_to_what_their_group_bounds(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    fleet.seconds = 0.3
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    config = await push(sandbox, tmp_path, Plane.CONFIG, "1.0.0")
    await kube.merge_patch(DEVICE_GROUPS, "cameras", {"spec": {"maxUnavailable": 2}}, namespace)
    rings = [ring("everyone", size="100%", inFlight="100%")]
    async with running_operator(sandbox, tmp_path):
        plans: list[Plan] = [
            await applied(kube, namespace, plan("vision", model, rings=rings)),
            await applied(kube, namespace, plan("tuning", config, rings=rings)),
        ]
        for one in plans:
            await one.reaches("Succeeded")
    assert fleet.most_in_flight == 2


async def test_plan_without_rings_releases_to_everybody_at_once(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    document = plan("vision", model)
    del document["spec"]["rings"]
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, document)
        status = await vision.until(lambda found: (found.get("summary") or {}).get("confirmed") == "6/6")
    assert [one["name"] for one in status["rings"]] == ["all"]
    assert status["phase"] == "Soaking"
