"""Leadership on a real Lease: never two at a time, and no waiting where nobody is left."""

import asyncio
import logging

import pytest

from backstay.adapters.kube.client import LEASES, KubeClient
from backstay.adapters.kube.lease import LEASE_NAME, Leadership, LeadershipLost
from backstay.adapters.system_clock import SystemClock
from backstay.sandbox import Sandbox

SECONDS = 2


def candidate(kube: KubeClient, namespace: str, identity: str) -> Leadership:
    return Leadership(kube, namespace=namespace, identity=identity, duration_seconds=SECONDS, clock=SystemClock())


async def test_candidate_wins_at_once_when_nobody_leads(kube: KubeClient, namespace: str) -> None:
    first = candidate(kube, namespace, "first")
    async with asyncio.timeout(1):
        await first.win()
    first.assert_held()
    lease = await kube.get(LEASES, LEASE_NAME, namespace)
    assert lease["spec"]["holderIdentity"] == "first"


async def test_candidate_waits_for_the_whole_duration_when_the_leader_fell_silent(
    kube: KubeClient, namespace: str
) -> None:
    first, second = candidate(kube, namespace, "first"), candidate(kube, namespace, "second")
    await first.win()
    began = asyncio.get_running_loop().time()
    await second.win()
    assert asyncio.get_running_loop().time() - began >= SECONDS
    with pytest.raises(LeadershipLost):
        first.assert_held()


async def test_candidate_waits_for_as_long_as_the_leader_renews(kube: KubeClient, namespace: str) -> None:
    first, second = candidate(kube, namespace, "first"), candidate(kube, namespace, "second")
    await first.win()
    keeping = asyncio.create_task(first.keep())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * SECONDS):
            await second.win()
    first.assert_held()
    keeping.cancel()


async def test_candidate_need_not_wait_when_the_leader_has_let_go(kube: KubeClient, namespace: str) -> None:
    first, second = candidate(kube, namespace, "first"), candidate(kube, namespace, "second")
    await first.win()
    await first.release()
    async with asyncio.timeout(1):
        await second.win()


async def test_leader_learns_at_its_next_renewal_that_somebody_else_leads(kube: KubeClient, namespace: str) -> None:
    first = candidate(kube, namespace, "first")
    await first.win()
    usurper = {"spec": {"holderIdentity": "usurper"}}
    await kube.merge_patch(LEASES, LEASE_NAME, usurper, namespace)
    with pytest.raises(LeadershipLost, match="held by usurper"):
        async with asyncio.timeout(SECONDS):
            await first.keep()


async def test_leader_goes_on_when_only_the_answer_to_its_renewal_was_lost(kube: KubeClient, namespace: str) -> None:
    first = candidate(kube, namespace, "first")
    await first.win()
    await kube.merge_patch(LEASES, LEASE_NAME, {"metadata": {"labels": {"touched": "yes"}}}, namespace)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SECONDS):
            await first.keep()
    first.assert_held()


async def test_leader_goes_on_when_its_right_to_renew_was_away_for_a_moment(
    sandbox: Sandbox, kube: KubeClient, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    lead = ("create", "role", "leads", "--verb=*", "--resource=leases.coordination.k8s.io")
    here = f"--namespace={namespace}"
    await sandbox.kubectl("create", "serviceaccount", "leader", here)
    await sandbox.kubectl(*lead, here)
    allow = ("create", "rolebinding", "leads", "--role=leads", f"--serviceaccount={namespace}:leader", here)
    await sandbox.kubectl(*allow)
    account = await sandbox.service_account_kubeconfig(namespace, "leader")
    async with KubeClient.connect(account) as client:
        leader = Leadership(client, namespace=namespace, identity="leader", duration_seconds=12, clock=SystemClock())
        await leader.win()
        keeping = asyncio.create_task(leader.keep())
        await sandbox.kubectl("delete", "rolebinding", "leads", here)
        with caplog.at_level(logging.WARNING):
            async with asyncio.timeout(8):
                while "the lease could not be renewed" not in caplog.text and not keeping.done():
                    await asyncio.sleep(0.05)
        await sandbox.kubectl(*allow)
        before = (await kube.get(LEASES, LEASE_NAME, namespace))["spec"]["renewTime"]
        async with asyncio.timeout(8):
            while (await kube.get(LEASES, LEASE_NAME, namespace))["spec"]["renewTime"] == before:
                await asyncio.sleep(0.1)
        assert not keeping.done()
        leader.assert_held()
        keeping.cancel()


async def test_one_candidate_wins_when_two_come_at_once(kube: KubeClient, namespace: str) -> None:
    candidates = [candidate(kube, namespace, name) for name in ("a", "b", "c")]
    tasks = [asyncio.create_task(one.win()) for one in candidates]
    await asyncio.wait(tasks, timeout=SECONDS / 2)
    assert sum(task.done() for task in tasks) == 1
    for task in tasks:
        task.cancel()
