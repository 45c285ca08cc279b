"""What is unpacked is what runs, and is known by its bytes; the booted tests try it on a systemd."""

from pathlib import Path

import pytest

from backstay.adapters.node.unit import UnitInstaller
from backstay.ports.installer import Stoppable
from tests.contracts.installers import PlacedBench, unit_bench


@pytest.fixture
async def bench(tmp_path: Path) -> PlacedBench:
    made = unit_bench(tmp_path)
    await made.begin()
    return made


def state(bench: PlacedBench) -> Path:
    return bench.disk / "state"


async def test_unit_is_known_as_before_while_it_is_stopped(bench: PlacedBench) -> None:
    installer, before = bench.installer, await bench.installer.look()
    assert isinstance(installer, Stoppable)
    for _ in range(2):
        await installer.stop()
        assert not (state(bench) / "current").exists(), "systemd finds no file"
        assert await installer.look() == before
    two = bench.deliver("2.0.0", 2)
    await installer.stage(two.order, two.artifact, two.payload)
    await installer.switch(two.order)
    assert not (state(bench) / "current").exists()
    for _ in range(2):
        await installer.go_on()
        assert bench.truth() == "2.0.0"


async def test_what_runs_is_unknown_when_somebody_changed_what_was_unpacked(bench: PlacedBench) -> None:
    bench.running(bench.disk).write_bytes(b"#!/bin/sh\n# other\n")
    found = await bench.installer.look()
    assert found.running is not None
    assert (found.running.version, found.on_trial) == ("unknown", None)
    two = bench.deliver("2.0.0", 2)
    await bench.installer.stage(two.order, two.artifact, two.payload)
    await bench.installer.switch(two.order)
    found = await bench.installer.look()
    assert (found.running, found.fallback) == (two.release, None), "what nobody delivered is nothing to go back to"


async def test_release_is_unpacked_anew_when_it_was_changed_before_it_runs(bench: PlacedBench) -> None:
    two = bench.deliver("2.0.0", 2)
    await bench.installer.stage(two.order, two.artifact, two.payload)
    name = two.order.content.removeprefix("sha256:")
    (state(bench) / "unpacked" / name / "bin" / "says").unlink()
    await bench.installer.switch(two.order)
    assert bench.truth() == "2.0.0"


async def test_what_was_unpacked_goes_with_its_archive(bench: PlacedBench) -> None:
    two, three = bench.deliver("2.0.0", 2), bench.deliver("3.0.0", 3)
    for one in (two, three):
        await bench.installer.stage(one.order, one.artifact, one.payload)
    await bench.installer.trim({three.order.content})
    kept = {content.removeprefix("sha256:") for content in (bench.first.content, three.order.content)}
    assert {path.name for path in (state(bench) / "unpacked").iterdir()} == kept
    assert isinstance(bench.installer, UnitInstaller)
