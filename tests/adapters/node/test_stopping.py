"""What is stopped does not run, loses nothing, and runs again: for each kind of place that can be stopped."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from backstay.adapters.node.supervision import Patience, Supervisor
from backstay.ports.installer import Stoppable
from tests.contracts.installers import PlacedBench, config_bench, process_bench, static_pod_bench


@pytest.fixture(params=[static_pod_bench, process_bench], ids=["static-pod", "process"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> PlacedBench:
    made: PlacedBench = request.param(tmp_path)
    await made.begin()
    return made


def stoppable(bench: PlacedBench) -> Stoppable:
    installer = bench.installer
    assert isinstance(installer, Stoppable)
    return installer


def runs(bench: PlacedBench) -> bool:
    """Whether whoever runs the place finds anything."""
    place = bench.running(bench.disk)
    seen = [name for name in place.parent.iterdir() if not name.name.startswith(".")]
    return place in seen


async def test_plane_is_known_as_before_while_it_is_stopped(bench: PlacedBench) -> None:
    before = await bench.installer.look()
    for _ in range(2):
        await stoppable(bench).stop()
        assert not runs(bench)
        assert await bench.installer.look() == before
    for _ in range(2):
        await stoppable(bench).go_on()
        assert runs(bench)
        assert (await bench.installer.look(), bench.truth()) == (before, "1.0.0")


async def test_change_stays_stopped_until_the_plane_goes_on(bench: PlacedBench) -> None:
    two = bench.deliver("2.0.0", 2)
    await stoppable(bench).stop()
    await bench.installer.stage(two.order, two.artifact, two.payload)
    await bench.installer.switch(two.order)
    assert not runs(bench)
    found = await bench.installer.look()
    assert (found.running, found.fallback, found.on_trial) == (two.release, bench.first, 2)
    await bench.installer.fall_back()
    assert not runs(bench)
    await stoppable(bench).go_on()
    assert bench.truth() == "1.0.0"


async def test_what_somebody_else_starts_while_it_is_stopped_is_what_runs(bench: PlacedBench) -> None:
    await stoppable(bench).stop()
    place, other = bench.running(bench.disk), bench.payload_of("3.0.0")
    place.write_bytes(other)
    assert (await bench.installer.look()).running is not None
    await stoppable(bench).go_on()
    assert place.read_bytes() == other
    await stoppable(bench).stop()
    assert not runs(bench)
    await stoppable(bench).go_on()
    assert place.read_bytes() == other


def test_model_and_config_cannot_be_stopped(tmp_path: Path) -> None:
    assert not isinstance(config_bench(tmp_path).installer, Stoppable)


async def test_program_ends_when_it_is_stopped_and_starts_when_it_goes_on(tmp_path: Path) -> None:
    bench = process_bench(tmp_path)
    await bench.begin()
    supervisor = Supervisor(bench.running(bench.disk), patience=Patience())
    task = asyncio.create_task(supervisor.run())

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not holds():
                await asyncio.sleep(0.02)

    try:
        await until(lambda: supervisor.running is not None)
        await stoppable(bench).stop()
        await until(lambda: supervisor.running is None)
        await stoppable(bench).go_on()
        await until(lambda: supervisor.running is not None)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
