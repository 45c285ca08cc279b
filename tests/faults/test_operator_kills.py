"""The operator is killed at every named place and at random moments; the next one finishes the work, exactly once.

What was ordered is judged by the recount of the API server's audit log, not by anything that the operator says.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest

from backstay.adapters.failpoints import OPERATOR, VARIABLE
from backstay.adapters.kube.client import KubeClient
from backstay.sandbox import Sandbox
from tests.cluster.operator_stage import Operator, running_operator
from tests.faults.release import Release

PASSAGES = dict.fromkeys(OPERATOR, 1) | {"before-dispatch": 5, "after-dispatch": 6, "after-phase-write": 4}
"""At which passage each place kills in the short run: orders are in the middle of a ring then."""
KILLS, MORE_KILLS = 10, 200
LONGEST_LIFE_SECONDS = 1.5
LEADS = "leading as"
LOST_LEADERSHIP = 3
MORE_PASSAGES = {
    "revision": 2,
    "freeze": 2,
    "page": 2,
    "event": 8,
    "dispatch": 12,
    "phase-write": 10,
    "status-write": 8,
}


@pytest.fixture
async def releases(
    sandbox: Sandbox, kube: KubeClient, namespaces: tuple[str, str], tmp_path: Path
) -> AsyncIterator[tuple[Release, Release]]:
    good, bad = (Release(sandbox, kube, namespace, tmp_path) for namespace in namespaces)
    await asyncio.gather(good.prepare(), bad.prepare())
    async with good.devices.obeying(), bad.devices.obeying():
        yield good, bad


def passages() -> list[object]:
    found: list[object] = [pytest.param(name, PASSAGES[name], id=name) for name in OPERATOR]
    for name in OPERATOR:
        most = MORE_PASSAGES[name.split("-", 1)[1]]
        more = (number for number in range(1, most + 1) if number != PASSAGES[name])
        found += [pytest.param(name, number, id=f"{name}-{number}", marks=pytest.mark.sweep) for number in more]
    return found


@pytest.mark.parametrize(("failpoint", "passage"), passages())
async def test_rollouts_end_as_they_should_when_the_operator_was_killed_at(
    sandbox: Sandbox, identity: Path, releases: tuple[Release, Release], tmp_path: Path, failpoint: str, passage: int
) -> None:
    good, bad = releases
    wanted, unwanted = await good.begin(), await bad.begin(fails_in="half")
    environment = {VARIABLE: f"{failpoint}:{passage}"}
    async with running_operator(sandbox, tmp_path, kubeconfig=identity, environment=environment) as first:
        await first.hears(LEADS, 40)
        async with running_operator(sandbox, tmp_path, kubeconfig=identity):
            assert await first.ends(40) == -signal.SIGKILL, f"{failpoint} was not passed {passage} times"
            await asyncio.gather(good.ends("", wanted), bad.ends("half", unwanted))
            await _pages_rolled_back(bad)
    for release in releases:
        release.proved()
        assert await release.revisions() == [1]
    counted = good.proved()
    assert counted.most_in_flight["half"] > 1
    assert len(counted.orders) == 2 * len(good.devices.names)
    assert await good.frozen() == {"model": set(), "config": set()}
    assert await bad.frozen() == {plane: {content} for plane, content in unwanted.items()}
    assert await good.pages() == []


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(KILLS, marks=pytest.mark.timeout(400)),
        pytest.param(MORE_KILLS, marks=[pytest.mark.sweep, pytest.mark.timeout(3600)]),
    ],
)
async def test_rollouts_end_as_they_should_when_the_operator_is_killed_at_seeded_moments(
    sandbox: Sandbox, identity: Path, releases: tuple[Release, Release], tmp_path: Path, kills: int
) -> None:
    enough = asyncio.Event()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        traffic = [tasks.create_task(_keep_releasing(release, Random(i), enough)) for i, release in enumerate(releases)]
        operators = Operators(sandbox, identity, tmp_path, stack)
        for seed in range(kills):
            leader, busy = await _leader_and_its_last_moment(operators, releases, Random(seed))
            leader.process.kill()
            print(f"seed {seed}: killed with {busy} devices in flight")  # noqa: T201 - a failure shows the moments
            assert await leader.ends() == -signal.SIGKILL
        enough.set()
        await operators.leader()
        await asyncio.gather(*traffic)
    for release in releases:
        assert release.proved().most_in_flight["half"] == 3
        assert (await release.frozen())["model"] == release.bad
        kept = await release.revisions()
        # One record for each revision, and none that was never started; the operator forgets those that nothing needs.
        assert len(kept) == len(set(kept))
        assert set(kept) <= set(range(1, release.counter + 1))
        assert kept[-1] == release.counter


async def test_operator_orders_nothing_when_it_wakes_after_another_has_taken_over(
    sandbox: Sandbox, identity: Path, releases: tuple[Release, Release], tmp_path: Path
) -> None:
    good, bad = releases
    wanted, unwanted = await good.begin(), await bad.begin(fails_in="everyone")
    async with AsyncExitStack() as stack:
        operators = Operators(sandbox, identity, tmp_path, stack)
        sleeper = await operators.leader()
        await _moment_with_devices_in_flight(releases, Random(0))
        sleeper.process.send_signal(signal.SIGSTOP)
        await operators.another_than(sleeper)
        sleeper.process.send_signal(signal.SIGCONT)
        assert await sleeper.ends() == LOST_LEADERSHIP
        assert "lost leadership" in sleeper.said
        await asyncio.gather(good.ends("", wanted), bad.ends("everyone", unwanted))
    for release in releases:
        release.proved()


class Operators:
    """Two operators: one leads, the other waits for its lease; whoever has ended is replaced."""

    def __init__(self, sandbox: Sandbox, identity: Path, directory: Path, stack: AsyncExitStack) -> None:
        self._sandbox = sandbox
        self._identity = identity
        self._directory = directory
        self._stack = stack
        self._running: list[Operator] = []

    async def leader(self) -> Operator:
        """The operator that leads, once one does."""
        return await self._leading(self._running)

    async def another_than(self, former: Operator) -> Operator:
        """The operator that leads in another's place, once it does."""
        self._running.remove(former)
        return await self._leading(self._running)

    async def _leading(self, running: list[Operator]) -> Operator:
        async with asyncio.timeout(40):
            while True:
                running[:] = [operator for operator in running if operator.process.returncode is None]
                if leader := next((operator for operator in running if LEADS in operator.said), None):
                    return leader
                if len(running) < 2:
                    running.append(await self._started())
                await asyncio.sleep(0.05)

    async def _started(self) -> Operator:
        operator = running_operator(self._sandbox, self._directory, kubeconfig=self._identity)
        return await self._stack.enter_async_context(operator)


async def _leader_and_its_last_moment(
    operators: Operators, releases: tuple[Release, ...], random: Random
) -> tuple[Operator, int]:
    """A leader with devices in flight; one that lost its lease on a busy machine meanwhile is not the leader."""
    while True:
        leader = await operators.leader()
        busy = await _moment_with_devices_in_flight(releases, random)
        if leader.process.returncode is None:
            return leader, busy


async def _moment_with_devices_in_flight(releases: tuple[Release, ...], random: Random) -> int:
    """Let a random time pass, and then come back as soon as devices are in flight; say how many."""
    await asyncio.sleep(random.uniform(0, LONGEST_LIFE_SECONDS))
    async with asyncio.timeout(60):
        while not (busy := sum(release.devices.in_flight for release in releases)):
            await asyncio.sleep(0.005)
    return busy


async def _keep_releasing(release: Release, random: Random, enough: asyncio.Event) -> None:
    """Release good and bad versions, one after the other, each to its proper end, until it is enough."""
    while not enough.is_set():
        fails_in = random.choice(["", "", "canary", "half", "everyone"])
        contents = await release.begin(fails_in)
        await release.ends(fails_in, contents, seconds=240)


async def _pages_rolled_back(release: Release) -> None:
    """Wait for the page that a rollback ends with; no page may be there twice."""
    async with asyncio.timeout(20):
        pages = await release.pages()
        while "BackstayRolledBack" not in dict(pages):
            await asyncio.sleep(0.1)
            pages = await release.pages()
    assert len(set(pages)) == len(pages), pages
