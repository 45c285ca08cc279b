"""The operator against the real API server, registry, Prometheus and Alertmanager, with its own identity."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from backstay.adapters.kube.client import (
    DEVICE_GROUPS,
    EDGE_DEVICES,
    EVENTS,
    HEALTH_RULES,
    HOLDS,
    RELEASE_PLANS,
    KubeClient,
)
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import (
    OLD,
    Devices,
    applied,
    holds,
    plan,
    push,
    ring,
    running_operator,
)


async def test_operator_rolls_a_plan_out_when_devices_confirm(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    config = await push(sandbox, tmp_path, Plane.CONFIG, "1.0.0", model=">=1.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, config))
        status = await vision.reaches("Succeeded")
    assert set((await fleet.running(Plane.MODEL)).values()) == {model.content}
    assert set((await fleet.running(Plane.CONFIG)).values()) == {config.content}
    assert status["summary"]["confirmed"] == "6/6"
    assert fleet.most_in_flight <= 3
    assert [past["confirmed"] for past in status["rings"]] == [1, 5]
    verified = await vision.condition("Verified")
    assert (verified["status"], verified["reason"]) == ("Unknown", "NoPublicKeys")
    printed = await sandbox.kubectl("get", "rp,dg,hr,ed", "-n", namespace)
    assert max(map(len, printed.splitlines())) <= 120


async def test_operator_ships_nothing_unsigned_when_keys_are_installed(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    keys = tmp_path / "keys"
    keys.mkdir()
    public = generate_private_key(SECP256R1()).public_key()
    (keys / "release.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    async with running_operator(sandbox, tmp_path, "--keys", str(keys)):
        vision = await applied(kube, namespace, plan("vision", model))
        await vision.until(lambda status: "conditions" in status)
        accepted = await vision.condition("Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "NotVerified")
    assert "SignatureNotFound" in accepted["message"]
    assert fleet.orders == []


async def test_operator_gives_no_order_to_a_device_that_a_person_pinned(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    pins = {"spec": {"pins": {"model": OLD[Plane.MODEL]}}}
    await kube.merge_patch(EDGE_DEVICES, "cam-3", pins, namespace)
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, rings=[ring("everyone", size="100%")]))
        await vision.until(lambda status: (status.get("summary") or {}).get("confirmed") == "5/6")
        await asyncio.sleep(1)
        events = await kube.list(EVENTS, namespace)
    assert "cam-3" not in {name for name, *_ in fleet.orders}
    (told,) = [event for event in events if event["regarding"]["name"] == "cam-3"]
    assert told["reason"] == "NotYetSupported"
    assert "spec.pins" in told["note"]


async def test_operator_refuses_a_version_that_a_hold_freezes(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    hold = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "Hold",
        "metadata": {"name": "frozen"},
        "spec": {"versions": [{"plane": "model", "digest": model.content}], "reason": "it hangs"},
    }
    await kube.create(HOLDS, hold, namespace)
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model))
        await vision.until(lambda status: (status.get("summary") or {}).get("health") == "Frozen")
        stalled = await vision.condition("Stalled")
        await until_paged(sandbox, namespace, "BackstayFrozenVersionRequested")
    assert "frozen by hold frozen (it hangs)" in stalled["message"]
    assert fleet.orders == []


async def test_operator_takes_a_version_back_and_freezes_it_when_a_step_fails(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    good = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    bad = await push(sandbox, tmp_path, Plane.MODEL, "2.0.0")
    fleet.breaks[bad.content] = "ProbeFailed: camera"
    async with running_operator(sandbox, tmp_path) as operator:
        vision = await applied(kube, namespace, plan("vision", good))
        await vision.reaches("Succeeded")
        await vision.edit(versions={"model": {"version": "2.0.0", "artifact": str(bad.reference)}})
        status = await vision.reaches("RolledBack")
        await operator.hears("is frozen")
    assert set((await fleet.running(Plane.MODEL)).values()) == {good.content}
    (hold,) = await holds(kube, namespace)
    assert hold["spec"]["versions"] == [{"plane": "model", "digest": bad.content}]
    assert "ProbeFailed: camera" in hold["spec"]["reason"]
    assert status["culprit"]["verdict"] == "Convicted"
    assert status["culprit"]["hold"] == hold["metadata"]["name"]
    assert [past["phase"] for past in status["history"]] == ["Succeeded"]
    assert len({name for name, _, _, plane, content in fleet.orders if content == bad.content}) == 1


async def test_operator_starts_nothing_new_while_the_plan_is_paused(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, paused=True))
        await vision.until(lambda status: status.get("phase") == "Rolling")
        await asyncio.sleep(1)
        assert fleet.orders == []
        assert (await vision.condition("Ready"))["reason"] == "Paused"
        await vision.edit(paused=False)
        await vision.reaches("Succeeded")


async def test_operator_refuses_a_config_whose_model_nobody_has(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    config = await push(sandbox, tmp_path, Plane.CONFIG, "3.0.0", model=">=9.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", config))
        await vision.until(lambda status: (status.get("summary") or {}).get("health") == "NoPath")
        stalled = await vision.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "NoPath")
    assert "config 3.0.0 requires model >=9.0.0" in stalled["message"]
    assert fleet.orders == []


async def test_operator_waits_and_says_why_when_the_registry_is_down(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        await sandbox.stop("registry")
        try:
            vision = await applied(kube, namespace, plan("vision", model))
            await vision.until(lambda status: "conditions" in status)
            accepted = await vision.condition("Accepted")
            assert (accepted["status"], accepted["reason"]) == ("False", "ArtifactUnresolved")
            assert sandbox.registry in accepted["message"]
        finally:
            await sandbox.start_component("registry")
        await vision.reaches("Succeeded")
    assert (await vision.condition("Accepted"))["status"] == "True"


async def test_operator_names_the_field_when_a_plan_asks_for_what_it_cannot_do_yet(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, pullSecretRef={"name": "registry"}))
        await vision.until(lambda status: "conditions" in status)
        accepted = await vision.condition("Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "NotYetSupported")
    assert "spec.pullSecretRef" in accepted["message"]
    assert fleet.orders == []


async def test_operator_says_what_is_missing_when_an_artifact_is_not_in_the_registry(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    document = plan("vision", model)
    missing = f"{sandbox.registry}/vision/model@sha256:{'0' * 64}"
    document["spec"]["versions"]["model"]["artifact"] = missing
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, document)
        await vision.until(lambda status: "conditions" in status)
        accepted = await vision.condition("Accepted")
    assert accepted["reason"] == "ArtifactUnresolved"
    assert "model 1.0.0" in accepted["message"]
    assert "0000" in accepted["message"]


async def test_operator_refuses_an_artifact_that_is_not_what_the_plan_says(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    document = plan("vision", model)
    document["spec"]["versions"]["model"]["version"] = "1.0.1"
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, document)
        await vision.until(lambda status: "conditions" in status)
        accepted = await vision.condition("Accepted")
    assert accepted["reason"] == "ArtifactMismatch"
    assert "is version 1.0.0, and the plan says 1.0.1" in accepted["message"]


async def test_operator_holds_some_devices_back_and_serves_the_others_while_a_hold_stands(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    await fleet.create("acme-0", "acme-1", kind="camera", customer="acme")
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    hold = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "Hold",
        "metadata": {"name": "stock-taking"},
        "spec": {"scope": {"selector": {"matchLabels": {"customer": "acme"}}}, "reason": "stock-taking"},
    }
    await kube.create(HOLDS, hold, namespace)
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, rings=[ring("everyone", size="100%")]))
        await vision.until(lambda status: (status.get("summary") or {}).get("confirmed") == "6/8")
        running = await fleet.running(Plane.MODEL)
        assert [name for name, content in running.items() if content != model.content] == ["acme-0", "acme-1"]
        await kube.delete(HOLDS, "stock-taking", namespace)
        await vision.until(lambda status: (status.get("summary") or {}).get("confirmed") == "8/8")


async def test_operator_starts_the_next_revision_when_versions_are_edited_in_the_middle(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    first = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    second = await push(sandbox, tmp_path, Plane.MODEL, "2.0.0")
    fleet.seconds = 0.5
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", first))
        before = await vision.until(lambda status: status.get("ring") == "everyone")
        await vision.edit(versions={"model": {"version": "2.0.0", "artifact": str(second.reference)}})
        after = await vision.reaches("Succeeded")
    assert after["revision"] != before["revision"]
    assert [(past["revision"], past["phase"]) for past in after["history"]] == [(before["revision"], "Superseded")]
    assert set((await fleet.running(Plane.MODEL)).values()) == {second.content}


async def pages(sandbox: Sandbox, namespace: str) -> dict[str, str]:
    """The pages of a namespace that Alertmanager shows as firing, by name, with their summary."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{sandbox.alertmanager_url}/api/v2/alerts?active=true") as response,
    ):
        alerts = await response.json()
    mine = (alert for alert in alerts if alert["labels"].get("namespace") == namespace)
    return {alert["labels"]["alertname"]: alert["annotations"]["summary"] for alert in mine}


async def until_paged(sandbox: Sandbox, namespace: str, name: str) -> str:
    async with asyncio.timeout(20):
        while name not in (found := await pages(sandbox, namespace)):
            await asyncio.sleep(0.2)
    return found[name]


def rule(name: str, query: str, **fields: object) -> dict[str, object]:
    signal = {"name": "accuracy", "blames": ["model"], "query": query, "min": "0.9", "failureLimit": 1, **fields}
    return {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "HealthRule",
        "metadata": {"name": name},
        "spec": {"interval": "1s", "signals": [signal]},
    }


async def test_operator_pages_when_it_takes_a_version_back(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    good = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    bad = await push(sandbox, tmp_path, Plane.MODEL, "2.0.0")
    fleet.breaks[bad.content] = "Watchdog"
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", good))
        await vision.reaches("Succeeded")
        await vision.edit(versions={"model": {"version": "2.0.0", "artifact": str(bad.reference)}})
        summary = await until_paged(sandbox, namespace, "BackstayRolledBack")
    assert "Watchdog" in summary


async def test_operator_promotes_nothing_and_pages_apart_when_prometheus_does_not_answer(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    await kube.create(
        HEALTH_RULES, rule("health", "backstay_inference_accuracy * backstay_device_info{${scope}}"), namespace
    )
    async with running_operator(sandbox, tmp_path, prometheus="http://127.0.0.1:9"):
        vision = await applied(kube, namespace, plan("vision", model, health=["health"]))
        await vision.until(lambda status: (status.get("summary") or {}).get("health") == "ProviderError")
        await until_paged(sandbox, namespace, "BackstayProviderError")
        await asyncio.sleep(1)
        status = await vision.status()
        stalled = await vision.condition("Stalled")
    assert (status["phase"], status["ring"]) == ("Soaking", "canary")
    assert (stalled["status"], stalled["reason"]) == ("True", "ProviderError")
    assert "127.0.0.1:9" in stalled["message"]
    assert len(fleet.orders) == 1


async def test_operator_promotes_nothing_when_nobody_reports(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    query = "avg(backstay_inference_accuracy * on(namespace, device) group_left() backstay_device_info{${scope}})"
    await kube.create(HEALTH_RULES, rule("health", query), namespace)
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, health=["health"]))
        status = await vision.until(lambda status: (status.get("summary") or {}).get("health") == "NoData")
    assert (status["phase"], status["ring"]) == ("Soaking", "canary")
    (verdict,) = status["progress"]["verdicts"]
    assert (verdict["signal"], verdict["rule"], verdict["result"]) == ("accuracy", "health", "NoData")
    assert f'namespace="{namespace}"' in verdict["query"]


async def test_operator_ends_with_one_line_when_it_has_no_permission(
    sandbox: Sandbox, namespace: str, tmp_path: Path
) -> None:
    await sandbox.kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    identity = await sandbox.service_account_kubeconfig(namespace, "nobody")
    async with running_operator(sandbox, tmp_path, kubeconfig=identity) as operator:
        assert await operator.ends() == 1
    (line,) = operator.said.splitlines()
    assert line.startswith("error: ")
    assert "403" in line
    assert "grant it with the roles in manifests/" in line


@pytest.mark.parametrize("text", ["", "nonsense: [", "apiVersion: v1\nkind: Config\n"])
async def test_operator_ends_with_one_line_when_the_kubeconfig_is_bad(
    sandbox: Sandbox, tmp_path: Path, text: str
) -> None:
    bad = tmp_path / "kubeconfig"
    bad.write_text(text)
    async with running_operator(sandbox, tmp_path, kubeconfig=bad) as operator:
        assert await operator.ends() == 1
    assert str(bad) in operator.said
    assert "Traceback" not in operator.said


async def test_operator_takes_over_and_finishes_when_the_leader_is_killed(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    fleet.seconds = 1.0
    async with running_operator(sandbox, tmp_path) as first:
        await first.hears("reconciling")
        async with running_operator(sandbox, tmp_path) as second:
            await second.hears("leads; waiting")
            vision = await applied(kube, namespace, plan("vision", model, rings=[ring("everyone", size="100%")]))
            await vision.until(lambda status: any(one.get("inFlight") for one in status.get("rings", ())))
            first.process.kill()
            killed = asyncio.get_running_loop().time()
            await second.hears("leading as")
            assert asyncio.get_running_loop().time() - killed > 1.0
            await vision.reaches("Succeeded")
    assert fleet.most_in_flight <= 2
    assert sorted(number for _, number, *_ in fleet.orders) == [1] * 6


async def test_operator_ends_when_it_was_frozen_for_longer_than_its_lease(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    async with running_operator(sandbox, tmp_path) as first:
        await first.hears("reconciling")
        first.process.send_signal(signal.SIGSTOP)
        async with running_operator(sandbox, tmp_path) as second:
            await second.hears("leading as")
            first.process.send_signal(signal.SIGCONT)
            assert await first.ends() == 3
            assert "lost leadership" in first.said
            assert "Traceback" not in first.said
            assert second.process.returncode is None


async def test_operator_leaves_nothing_to_wait_for_when_it_is_asked_to_stop(
    sandbox: Sandbox, kube: KubeClient, namespace: str, tmp_path: Path
) -> None:
    async with running_operator(sandbox, tmp_path) as first:
        await first.hears("reconciling")
        first.process.send_signal(signal.SIGTERM)
        assert await first.ends() == 0
    async with running_operator(sandbox, tmp_path) as second:
        await second.hears("leading as")
        assert "waiting" not in second.said


@pytest.mark.timeout(240)
async def test_operator_goes_on_where_it_was_when_the_api_server_went_away(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path, "--lease-duration", "30") as operator:
        vision = await applied(kube, namespace, plan("vision", model, paused=True))
        # A new leader waits as long as the lease that it asked for, and an earlier one's may have to run out before.
        await vision.reaches("Rolling", 75)
        await sandbox.stop("kube-apiserver")
        await operator.hears("lost the watch of edgedevices")
        await sandbox.start_component("kube-apiserver")
        await vision.edit(paused=False)
        await vision.reaches("Succeeded", 60)


async def test_operator_tells_a_plan_in_events(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model))
        await vision.reaches("Succeeded")
        # The phase is on record first, and its Event follows.
        events = await _events(kube, namespace, 7)
    assert [event["reason"] for event in events] == [
        "RevisionStarted",
        "RingStarted",
        "RingConfirmed",
        "RingPromoted",
        "RingConfirmed",
        "RingPromoted",
        "RingPromoted",
    ]
    assert events[2]["note"].endswith("Soaking ring canary: 1 of 1 devices of ring canary confirmed")
    assert {event["regarding"]["name"] for event in events} == {"vision"}


async def _events(kube: KubeClient, namespace: str, least: int) -> list[dict[str, Any]]:
    """The Events of a namespace in their order, as soon as there are so many."""
    async with asyncio.timeout(10):
        while len(found := await kube.list(EVENTS, namespace)) < least:
            await asyncio.sleep(0.1)
    return sorted(found, key=lambda event: event["eventTime"])


async def test_operator_leaves_no_finalizer_and_no_annotation(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model))
        await vision.reaches("Succeeded")
    found = [await vision.get(), *await kube.list(DEVICE_GROUPS, namespace), *await kube.list(EDGE_DEVICES, namespace)]
    assert [item["metadata"].get("finalizers") for item in found] == [None] * len(found)
    assert [item["metadata"].get("annotations") for item in found] == [None] * len(found)


async def test_operator_stops_a_plan_that_is_deleted_in_the_middle(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    fleet.seconds = 0.5
    async with running_operator(sandbox, tmp_path) as operator:
        vision = await applied(kube, namespace, plan("vision", model, rings=[ring("everyone", size="100%")]))
        await vision.until(lambda status: any(one.get("inFlight") for one in status.get("rings", ())))
        await kube.delete(RELEASE_PLANS, "vision", namespace)
        await operator.hears("vision: deleted")
        # An order that was on its way when the plan went still arrives.
        await asyncio.sleep(0.5)
        ordered = len(fleet.orders)
        await asyncio.sleep(1.5)
        assert len(fleet.orders) == ordered < 6
        assert operator.process.returncode is None
        assert "internal error" not in operator.said


async def test_operator_withdraws_what_no_device_has_begun_when_a_hold_comes(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    fleet.silent = {f"cam-{number}" for number in range(6)}
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, rings=[ring("everyone", size="100%")]))
        await vision.until(lambda status: any(one.get("inFlight") for one in status.get("rings", ())))
        hold = {
            "apiVersion": "backstay.dev/v1alpha1",
            "kind": "Hold",
            "metadata": {"name": "stop"},
            "spec": {"scope": {"selector": {}}, "reason": "stop"},
        }
        await kube.create(HOLDS, hold, namespace)
        await vision.until(lambda status: not any(one.get("inFlight") for one in status["rings"]))
        devices = await kube.list(EDGE_DEVICES, namespace)
        ordered = [item for item in devices if item["spec"].get("desired")]
        assert ordered
        assert all(item["spec"]["desired"]["step"]["withdrawn"] for item in ordered)
        fleet.silent = set()
        await kube.delete(HOLDS, "stop", namespace)
        await vision.reaches("Succeeded")
    again = {item["metadata"]["name"] for item in ordered}
    assert {number for name, number, *_ in fleet.orders if name in again} == {2}


async def test_operator_keeps_the_rings_of_a_revision_when_they_are_edited_and_it_starts_anew_with_no_registry(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    rings = [ring("canary", size=1, soak="5s"), ring("everyone", size="100%", inFlight=1)]
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, rings=rings))
        await vision.reaches("Soaking")
        await vision.edit(rings=[ring("canary", size=1, soak="0s"), ring("everyone", size="100%", inFlight="100%")])
    await sandbox.stop("registry")
    try:
        async with running_operator(sandbox, tmp_path):
            await vision.reaches("Succeeded", 60)
    finally:
        await sandbox.start_component("registry")
    assert fleet.most_in_flight == 1


async def test_operator_stops_for_a_person_when_it_may_not_roll_back(
    sandbox: Sandbox, kube: KubeClient, namespace: str, fleet: Devices, tmp_path: Path
) -> None:
    model = await push(sandbox, tmp_path, Plane.MODEL, "1.0.0")
    fleet.breaks[model.content] = "BootFailed"
    async with running_operator(sandbox, tmp_path):
        vision = await applied(kube, namespace, plan("vision", model, rollback={"automatic": False}))
        await vision.reaches("Halted")
        stalled = await vision.condition("Stalled")
        await until_paged(sandbox, namespace, "BackstayHalted")
    assert (stalled["status"], stalled["reason"]) == ("True", "Halted")
    assert "BootFailed" in stalled["message"]
    assert len(fleet.orders) == 1
