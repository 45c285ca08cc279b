"""The Service that leads to the leader, with the operator's own rights: one slice, one Pod in it, and nobody else's."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address

import pytest

from backstay.adapters.kube.client import ENDPOINT_SLICES, Json, KubeClient, Resource
from backstay.controllers import leader_service
from backstay.controllers.leader_service import LeaderService, LeadersPort, Pod, endpoint_slice
from backstay.errors import Forbidden, NotFound
from backstay.sandbox import Sandbox
from tests.cluster.conftest import ROOT

NAMESPACE, SERVICE = "backstay-system", "backstay-page"
PODS = Resource("", "v1", "pods")
SPEC = {"containers": [{"name": "operator", "image": "registry.example/platform/backstay"}]}


class Leads:
    """Says of every process that it leads, as each deposed leader still does for a moment."""

    def assert_held(self) -> None:
        """It always is."""


@pytest.fixture
async def operator(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubeClient]:
    monkeypatch.setattr(leader_service, "AGAIN_SECONDS", 0.1)
    await sandbox.apply(ROOT / "manifests" / "page" / "rbac.yaml")
    await sandbox.apply(ROOT / "manifests" / "page" / "service.yaml")
    account = await sandbox.service_account_kubeconfig(NAMESPACE, "backstay-operator")
    async with KubeClient.connect(account, field_manager="backstay-operator") as client:
        yield client
    await sandbox.kubectl("delete", "-f", str(ROOT / "manifests" / "page" / "rbac.yaml"), "--wait=false")
    await sandbox.kubectl("delete", "service,endpointslice", SERVICE, "-n", NAMESPACE, "--ignore-not-found")


@asynccontextmanager
async def pod(kube: KubeClient, name: str, address: str) -> AsyncIterator[LeadersPort]:
    """A Pod that nothing runs, and the port that it would have."""
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": SPEC}
    made = await kube.create(PODS, body, NAMESPACE)
    yield LeadersPort(SERVICE, "page", 8443, Pod(name, made["metadata"]["uid"], ip_address(address)))
    try:
        await kube.delete(PODS, name, NAMESPACE)
    except NotFound:
        return


@asynccontextmanager
async def leading(client: KubeClient, port: LeadersPort) -> AsyncIterator[None]:
    keeping = asyncio.create_task(LeaderService(client, NAMESPACE, port, Leads()).run())
    try:
        yield
        assert not keeping.done()
    finally:
        keeping.cancel()


async def pods_behind(kube: KubeClient) -> list[str]:
    """Which Pods the Service leads to, as whoever carries Services out reads it."""
    slices = await kube.list(ENDPOINT_SLICES, NAMESPACE, label_selector=f"kubernetes.io/service-name={SERVICE}")
    return [one["targetRef"]["name"] for found in slices for one in found["endpoints"] or ()]


async def until_behind(kube: KubeClient, *names: str) -> None:
    async with asyncio.timeout(20):
        while await pods_behind(kube) != list(names):
            await asyncio.sleep(0.05)


async def the_slice(kube: KubeClient) -> Json:
    return await kube.get(ENDPOINT_SLICES, SERVICE, NAMESPACE)


async def test_service_leads_to_the_next_leader_alone_when_the_last_one_died(
    kube: KubeClient, operator: KubeClient
) -> None:
    async with pod(kube, "first", "10.1.0.7") as first, pod(kube, "second", "10.1.0.8") as second:
        async with leading(operator, first):
            await until_behind(kube, "first")
        async with leading(operator, second):
            await until_behind(kube, "second")

        found = await the_slice(kube)
    assert [one["name"] for one in found["metadata"]["ownerReferences"]] == ["second"]
    assert found["endpoints"][0]["addresses"] == ["10.1.0.8"]
    assert found["ports"] == [{"name": "page", "port": 8443, "protocol": "TCP"}]


async def test_service_leads_here_again_when_a_deposed_leader_wrote_last_or_somebody_deleted_the_slice(
    kube: KubeClient, operator: KubeClient
) -> None:
    async with (
        pod(kube, "first", "10.1.0.7") as first,
        pod(kube, "second", "10.1.0.8") as second,
        leading(operator, second),
    ):
        await until_behind(kube, "second")
        version = (await the_slice(kube))["metadata"]["resourceVersion"]
        await operator.apply(ENDPOINT_SLICES, SERVICE, endpoint_slice(first, NAMESPACE), NAMESPACE)
        assert (await the_slice(kube))["metadata"]["resourceVersion"] != version
        await until_behind(kube, "second")
        await kube.delete(ENDPOINT_SLICES, SERVICE, NAMESPACE)
        await until_behind(kube, "second")


async def test_service_leads_nowhere_when_the_leaders_pod_is_gone(kube: KubeClient, operator: KubeClient) -> None:
    async with pod(kube, "first", "10.1.0.7") as first:
        async with leading(operator, first):
            await until_behind(kube, "first")
        await kube.delete(PODS, "first", NAMESPACE)
        await until_behind(kube)


async def test_operator_may_lead_no_other_service_anywhere(kube: KubeClient, operator: KubeClient) -> None:
    async with pod(kube, "first", "10.1.0.7") as first:
        body = endpoint_slice(replace(first, service="another"), NAMESPACE)
        with pytest.raises(Forbidden, match="endpointslices"):
            await operator.apply(ENDPOINT_SLICES, "another", body, NAMESPACE)
        with pytest.raises(Forbidden, match="endpointslices"):
            await operator.create(ENDPOINT_SLICES, body, NAMESPACE)


async def test_leader_goes_on_and_says_it_once_when_it_may_not_write_the_slice(
    sandbox: Sandbox, kube: KubeClient, operator: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    await sandbox.kubectl("delete", "rolebinding", "backstay-operator-page", "-n", NAMESPACE)
    async with pod(kube, "first", "10.1.0.7") as first, leading(operator, first):
        async with asyncio.timeout(20):
            while "cannot be led here" not in caplog.text:
                await asyncio.sleep(0.05)
        with caplog.at_level(logging.INFO):
            await sandbox.apply(ROOT / "manifests" / "page" / "rbac.yaml")
            await until_behind(kube, "first")
    told = [record.message for record in caplog.records if record.name == leader_service.__name__]
    assert "grant it with the roles in manifests/" in told[0]
    assert told[1:] == ["service backstay-system/backstay-page leads to first, 10.1.0.7 port 8443"]
