"""What every installer of a node promises, whatever its artifact is made of; each is the real one."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.core.device import Reason
from backstay.core.devices import StepType
from backstay.ports.installer import CannotInstall, Storage
from tests.contracts.grub_node import GrubNode
from tests.contracts.installers import CHILD, Bench, Delivery, config_bench, process_bench, static_pod_bench, unit_bench
from tests.contracts.rauc_node import RaucNode

METHODS = ("stage", "switch", "confirm", "fall_back", "trim")
PLACED = {"static-pod": static_pod_bench, "process": process_bench, "unit": unit_bench, "config": config_bench}
EVERY_THIRD = 3
"""Of the touches of a disk that are enough where every one of them is swept elsewhere."""


@pytest.fixture(params=["static-pod", "process", "unit", "config", "rauc", "rauc-grub"])
async def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    if request.param in {"rauc", "rauc-grub"}:
        node = GrubNode(tmp_path) if request.param == "rauc-grub" else RaucNode(tmp_path)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        try:
            await node.begin()
            yield node
        finally:
            await node.end()
        return
    placed = PLACED[request.param](tmp_path)
    await placed.begin()
    yield placed


async def staged(bench: Bench, version: str = "2.0.0", number: int = 2) -> Delivery:
    one = bench.deliver(version, number)
    await bench.installer.stage(one.order, one.artifact, one.payload)
    return one


async def on_trial(bench: Bench, version: str = "2.0.0", number: int = 2) -> Delivery:
    one = await staged(bench, version, number)
    await bench.take_effect(await bench.installer.switch(one.order))
    return one


async def confirmed(bench: Bench, version: str = "2.0.0", number: int = 2) -> Delivery:
    one = await on_trial(bench, version, number)
    await bench.installer.confirm(one.order)
    return one


async def refused(bench: Bench, method: str, *arguments: Any) -> Reason:
    """The reason of a refusal, after which everything is as before."""
    before, truth = await bench.installer.look(), bench.truth()
    with pytest.raises(CannotInstall) as refusal:
        await getattr(bench.installer, method)(*arguments)
    assert (await bench.installer.look(), bench.truth()) == (before, truth)
    return refusal.value.cause.reason


async def test_installer_tells_what_runs_when_nothing_was_ordered(bench: Bench) -> None:
    assert await bench.installer.look() == Storage(running=bench.first)
    assert bench.truth() == "1.0.0"


async def test_installer_lists_content_as_held_when_it_was_staged(bench: Bench) -> None:
    two = await staged(bench)
    await bench.power_cut()
    assert await bench.installer.look() == Storage(running=bench.first, held=frozenset({two.order.content}))
    assert bench.truth() == "1.0.0"


async def test_installer_runs_content_on_trial_when_it_was_switched_to(bench: Bench) -> None:
    two = await on_trial(bench)
    found = await bench.installer.look()
    assert (found.running, found.fallback, found.on_trial, found.ended) == (two.release, bench.first, 2, None)
    assert bench.truth() == "2.0.0"


async def test_installer_ends_the_trial_when_it_is_confirmed(bench: Bench) -> None:
    two = await confirmed(bench)
    await bench.power_cut()
    found = await bench.installer.look()
    assert (found.running, found.fallback, found.on_trial, found.ended) == (two.release, bench.first, None, None)
    assert bench.truth() == "2.0.0"


async def test_installer_goes_back_to_what_ran_when_the_trial_fails(bench: Bench) -> None:
    two = await on_trial(bench)
    await bench.take_effect(await bench.installer.fall_back())
    found = await bench.installer.look()
    assert (found.running, found.on_trial, found.ended) == (bench.first, None, None)
    assert found.fallback is None, "what failed is no fallback"
    assert two.order.content in found.held, "it can be tried again without a download"
    assert bench.truth() == "1.0.0"


async def test_installer_has_the_fallback_of_before_when_a_trial_fails_and_there_is_room_for_three(
    bench: Bench,
) -> None:
    two = await confirmed(bench)
    await on_trial(bench, "3.0.0", 3)
    await bench.installer.trim(())
    await bench.take_effect(await bench.installer.fall_back())
    await bench.installer.trim(())
    found = await bench.installer.look()
    # RAUC has two slots, and the failed release lies where the first one was.
    assert (found.running, found.fallback) == (two.release, None if isinstance(bench, RaucNode) else bench.first)


async def test_installer_tries_content_again_when_it_had_fallen_back_from_it(bench: Bench) -> None:
    two = await on_trial(bench)
    await bench.take_effect(await bench.installer.fall_back())
    again = replace(two.order, number=3)
    await bench.take_effect(await bench.installer.switch(again))
    found = await bench.installer.look()
    assert (found.running, found.on_trial, found.fallback) == (two.release, 3, bench.first)
    await bench.installer.confirm(again)
    assert (await bench.installer.look()).on_trial is None


async def test_installer_goes_back_when_what_runs_was_confirmed(bench: Bench) -> None:
    await confirmed(bench)
    await bench.take_effect(await bench.installer.fall_back())
    assert (await bench.installer.look()).running == bench.first
    assert bench.truth() == "1.0.0"
    assert await refused(bench, "fall_back") is Reason.REJECTED


async def test_installer_returns_on_trial_when_a_step_orders_the_fallback(bench: Bench) -> None:
    two = await confirmed(bench)
    back = replace(two.order, number=3, type=StepType.RETURN, content=bench.first.content, version="1.0.0")
    await bench.take_effect(await bench.installer.switch(back))
    found = await bench.installer.look()
    assert (found.running, found.fallback, found.on_trial) == (bench.first, two.release, 3)
    assert bench.truth() == "1.0.0"
    await bench.take_effect(await bench.installer.fall_back())
    assert (await bench.installer.look()).running == two.release
    assert bench.truth() == "2.0.0"


async def test_installer_keeps_the_last_two_when_one_release_follows_another(bench: Bench) -> None:
    two = await confirmed(bench)
    three = await confirmed(bench, "3.0.0", 3)
    await bench.installer.trim(())
    found = await bench.installer.look()
    assert (found.running, found.fallback) == (three.release, two.release)
    assert bench.first.content not in found.held
    await bench.take_effect(await bench.installer.fall_back())
    assert bench.truth() == "2.0.0"


async def test_installer_keeps_what_is_needed_when_it_trims(bench: Bench) -> None:
    two = await staged(bench)
    three = await staged(bench, "3.0.0", 3)
    await bench.installer.trim({three.order.content})
    assert (await bench.installer.look()).held == {three.order.content}
    await staged(bench)
    await bench.take_effect(await bench.installer.switch(two.order))
    await bench.installer.trim(())
    await bench.take_effect(await bench.installer.fall_back())
    assert bench.truth() == "1.0.0"


async def test_installer_refuses_to_switch_when_the_content_is_not_held(bench: Bench) -> None:
    assert await refused(bench, "switch", bench.deliver("2.0.0", 2).order) is Reason.REJECTED


async def test_installer_refuses_to_switch_when_what_runs_is_on_trial(bench: Bench) -> None:
    await on_trial(bench)
    three = await staged(bench, "3.0.0", 3)
    assert await refused(bench, "switch", three.order) is Reason.REJECTED


async def test_installer_refuses_to_fall_back_when_there_is_no_fallback(bench: Bench) -> None:
    assert await refused(bench, "fall_back") is Reason.REJECTED


async def test_installer_refuses_bytes_when_they_are_not_what_the_order_names(bench: Bench) -> None:
    two, three = bench.deliver("2.0.0", 2), bench.deliver("3.0.0", 3)
    assert await refused(bench, "stage", two.order, two.artifact, three.payload) is Reason.DIGEST_MISMATCH


async def test_installer_refuses_bytes_when_they_are_not_what_their_type_says(bench: Bench) -> None:
    two = bench.deliver("2.0.0", 2)
    assert await refused(bench, "stage", two.order, two.artifact, bench.nonsense()) is Reason.REJECTED


async def test_installer_objects_when_there_is_no_room(bench: Bench) -> None:
    two = bench.deliver("2.0.0", 2)
    large = replace(two.artifact, payload=replace(two.artifact.payload, size_bytes=2**60))
    cause = await bench.installer.objection(two.order, large)
    assert cause is not None
    assert cause.reason is Reason.NO_SPACE
    assert await bench.installer.objection(two.order, two.artifact) is None


async def before(bench: Bench, method: str) -> Delivery:
    """Bring the bench to where a method is called."""
    match method:
        case "stage":
            return bench.deliver("2.0.0", 2)
        case "switch":
            return await staged(bench)
        case "confirm" | "fall_back":
            return await on_trial(bench)
        case _:
            await confirmed(bench)
            return await staged(bench, "3.0.0", 3)


async def killed_at(bench: Bench, method: str, number: int, one: Delivery) -> bool:
    """Let another process carry the method out, killed at the n-th touch; tell whether it was."""
    what = (json.dumps(bench.settings), method, str(number), one.payload, one.order.version, str(one.order.number))
    process = await asyncio.create_subprocess_exec(*CHILD, *map(str, what))
    status = await process.wait()
    assert status in {0, -signal.SIGKILL}
    return status != 0


@pytest.mark.parametrize("every", [EVERY_THIRD, pytest.param(1, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.timeout(600)
async def test_installer_tells_the_truth_and_goes_on_when_the_power_goes_at_any_touch(
    bench: Bench, method: str, every: int
) -> None:
    one = await before(bench, method)
    await bench.save()
    number, was, seen = 1, await bench.installer.look(), []
    before_the_cut = was.on_trial
    while await killed_at(bench, method, number, one):
        await bench.power_cut()
        found = await bench.installer.look()
        assert found.running is not None
        assert found.running.version == bench.truth()
        if bench.tries_once and before_the_cut is not None and found.running == bench.first:
            assert found.ended in {before_the_cut, None}, "the one boot that the bootloader gave the trial is over"
        else:
            assert found.ended is None
        assert found.running in {was.running, was.fallback, one.release}
        seen.append((found.running.version, found.on_trial))
        await goes_on(bench, method, one, found)
        await bench.restore()
        number += every
    assert number > 1, "it was killed at least once"
    assert len(set(seen)) <= 2, "it was as before, or as after"
    assert seen == sorted(seen, key=seen.index), seen


async def goes_on(bench: Bench, method: str, one: Delivery, found: Storage) -> None:
    """Whatever a power cut left, the step can be carried to its end, and undone."""
    if found.ended is not None:
        assert bench.truth() == "1.0.0"
        return
    match method:
        case "trim":
            assert found.fallback is not None, "what is needed stays"
            await bench.installer.trim(())
            return
        case "stage" | "switch" if found.on_trial is None:
            await bench.installer.stage(one.order, one.artifact, one.payload)
            await bench.take_effect(await bench.installer.switch(one.order))
        case "fall_back" if found.on_trial is None:
            assert bench.truth() == "1.0.0"
            return
    now = await bench.installer.look()
    assert (now.running, now.fallback) == (one.release, bench.first)
    if now.on_trial is not None:
        assert now.on_trial == one.order.number
        await bench.take_effect(await bench.installer.fall_back())
        assert (await bench.installer.look()).running == bench.first
        assert bench.truth() == "1.0.0"
