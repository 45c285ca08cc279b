"""The admission policies against the real API server: who may ask, who may lift, and what the others are told."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from backstay.adapters.kube.client import EDGE_DEVICES, HOLDS, RELEASE_PLANS, KubeClient
from backstay.errors import BackstayError, NotFound
from backstay.sandbox import Sandbox

Json = dict[str, Any]

DIGEST = f"sha256:{'a' * 64}"
ASKED = "approve@0ff0650b3c-3/canary/1"
SECONDS = 20.0


def plan() -> Json:
    versions = {"model": {"version": "1.0.0", "artifact": f"127.0.0.1:5000/acme/model@{DIGEST}"}}
    rings = [{"name": "canary", "size": "5%"}]
    spec = {"groups": ["cameras"], "versions": versions, "rings": rings}
    metadata = {"name": "vision"}
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "ReleasePlan", "metadata": metadata, "spec": spec}


def conviction(name: str) -> Json:
    metadata = {"name": name, "labels": {"backstay.dev/conviction": "Convicted"}}
    spec = {"versions": [{"plane": "model", "digest": DIGEST}], "reason": "accuracy fell"}
    return {"apiVersion": "backstay.dev/v1alpha1", "kind": "Hold", "metadata": metadata, "spec": spec}


def account(name: str, namespace: str, *more: str) -> str:
    """A person who may read and patch plans and delete holds, and some verbs more."""
    verbs = ", ".join(["get", "patch", "delete", *more])
    return f"""
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {name}, namespace: {namespace}}}
rules:
- {{apiGroups: [backstay.dev], resources: [releaseplans, holds, edgedevices], verbs: [{verbs}]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {name}, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}
subjects: [{{kind: ServiceAccount, name: {name}, namespace: {namespace}}}]
"""


@pytest.fixture
async def people(sandbox: Sandbox, kube: KubeClient, namespace: str) -> AsyncIterator[dict[str, KubeClient]]:
    """Ada may approve, lift and recover; Bob may do all else that people do."""
    await kube.create(RELEASE_PLANS, plan(), namespace)
    await kube.create(HOLDS, conviction("frozen-model"), namespace)
    for name, more in (("ada", ("approve", "lift", "recover")), ("bob", ())):
        await sandbox.apply(account(name, namespace, *more))
    ada = await sandbox.service_account_kubeconfig(namespace, "ada")
    bob = await sandbox.service_account_kubeconfig(namespace, "bob")
    async with KubeClient.connect(ada) as as_ada, KubeClient.connect(bob) as as_bob:
        await _until_refused(as_bob, namespace)
        yield {"ada": as_ada, "bob": as_bob}


async def _until_refused(client: KubeClient, namespace: str) -> None:
    """A policy takes effect some moments after it was applied."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await ask(client, namespace, "nonsense", "nobody")
            except BackstayError:
                return
            await asyncio.sleep(0.2)


async def ask(client: KubeClient, namespace: str, request: str, by: str) -> None:
    annotations = {"backstay.dev/request": request, "backstay.dev/requested-by": by}
    await client.merge_patch(RELEASE_PLANS, "vision", {"metadata": {"annotations": annotations}}, namespace)


def called(name: str, namespace: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


async def test_request_is_taken_from_whom_a_role_allows_it(people: dict[str, KubeClient], namespace: str) -> None:
    await ask(people["ada"], namespace, ASKED, called("ada", namespace))


async def test_request_is_refused_when_the_role_lacks_the_verb(people: dict[str, KubeClient], namespace: str) -> None:
    with pytest.raises(BackstayError, match="may not approve releaseplan vision"):
        await ask(people["bob"], namespace, ASKED, called("bob", namespace))
    with pytest.raises(BackstayError, match="may not rollback releaseplan vision"):
        await ask(people["ada"], namespace, ASKED.replace("approve", "rollback"), called("ada", namespace))


async def test_request_is_refused_when_it_names_another_person(people: dict[str, KubeClient], namespace: str) -> None:
    with pytest.raises(BackstayError, match="must name who asks"):
        await ask(people["ada"], namespace, ASKED, called("bob", namespace))


async def test_request_is_refused_when_its_verb_is_none(people: dict[str, KubeClient], namespace: str) -> None:
    with pytest.raises(BackstayError, match="with the verb approve, retry, resume or rollback"):
        await ask(people["ada"], namespace, ASKED.replace("approve", "destroy"), called("ada", namespace))


async def test_name_of_who_asked_stays_when_the_request_does(people: dict[str, KubeClient], namespace: str) -> None:
    await ask(people["ada"], namespace, ASKED, called("ada", namespace))
    with pytest.raises(BackstayError, match="belongs to the request that stands"):
        await ask(people["bob"], namespace, ASKED, called("bob", namespace))


async def test_plan_is_edited_freely_when_its_request_stays(people: dict[str, KubeClient], namespace: str) -> None:
    await ask(people["ada"], namespace, ASKED, called("ada", namespace))
    raw = await people["bob"].merge_patch(RELEASE_PLANS, "vision", {"spec": {"paused": True}}, namespace)
    assert raw["spec"]["paused"] is True


async def test_conviction_is_lifted_only_by_whom_a_role_allows_it(
    people: dict[str, KubeClient], kube: KubeClient, namespace: str
) -> None:
    with pytest.raises(BackstayError, match="may not lift hold frozen-model"):
        await people["bob"].delete(HOLDS, "frozen-model", namespace)
    labels = {"metadata": {"labels": {"backstay.dev/conviction": None}}}
    with pytest.raises(BackstayError, match=r"the label backstay\.dev/conviction stays"):
        await people["bob"].merge_patch(HOLDS, "frozen-model", labels, namespace)
    await people["ada"].delete(HOLDS, "frozen-model", namespace)
    with pytest.raises(NotFound):
        await kube.get(HOLDS, "frozen-model", namespace)


async def test_namespace_can_be_deleted_with_its_convictions(sandbox: Sandbox, kube: KubeClient) -> None:
    name = "backstay-test-ends"
    await sandbox.apply(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
    await kube.create(HOLDS, conviction("frozen-model"), name)
    await sandbox.kubectl("delete", "namespace", name, "--timeout=50s")


async def test_only_who_may_recover_changes_a_devices_mode_and_recovers_it(
    kube: KubeClient, namespace: str, people: dict[str, KubeClient]
) -> None:
    spec = {"class": "rk3566", "node": "box-1.example"}
    body = {"apiVersion": "backstay.dev/v1alpha1", "kind": "EdgeDevice", "metadata": {"name": "box-1"}, "spec": spec}
    await kube.create(EDGE_DEVICES, body, namespace)
    for change in ({"mode": "Safe"}, {"recover": 1}):
        with pytest.raises(BackstayError, match="bob may not change the mode of edgedevice box-1 or recover it"):
            await people["bob"].merge_patch(EDGE_DEVICES, "box-1", {"spec": change}, namespace)
        await people["ada"].merge_patch(EDGE_DEVICES, "box-1", {"spec": change}, namespace)
    await people["bob"].merge_patch(EDGE_DEVICES, "box-1", {"metadata": {"labels": {"site": "hall-1"}}}, namespace)
    with pytest.raises(BackstayError, match="higher number"):
        await people["ada"].merge_patch(EDGE_DEVICES, "box-1", {"spec": {"recover": 0}}, namespace)
    behind = {"metadata": {"name": "cam-1"}, "spec": {"class": "esp32", "gateway": "gw-eu", "recover": 1}}
    with pytest.raises(BackstayError, match="only a node recovers by order"):
        await kube.create(EDGE_DEVICES, body | behind, namespace)
