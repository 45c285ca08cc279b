"""Leadership on a real Lease: never two at a time, and no waiting where nobody is left."""

import asyncio

import pytest

from backstay.adapters.kube.client import LEASES, KubeClient
from backstay.adapters.kube.lease import LEASE_NAME, Leadership, LeadershipLost
from backstay.adapters.system_clock import SystemClock

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


async def test_one_candidate_wins_when_two_come_at_once(kube: KubeClient, namespace: str) -> None:
    candidates = [candidate(kube, namespace, name) for name in ("a", "b", "c")]
    tasks = [asyncio.create_task(one.win()) for one in candidates]
    await asyncio.wait(tasks, timeout=SECONDS / 2)
    assert sum(task.done() for task in tasks) == 1
    for task in tasks:
        task.cancel()
