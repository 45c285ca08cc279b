"""What a node makes of its orders, and what is left of it wherever the agent ends."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from backstay.agent.machine import MOST_STARTS
from backstay.core.device import Reason
from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import Plane
from tests.agent.bench import Bench, Cut, cut_power, digest, order

OLD, NEW, CONFIG = b"old model", b"new model", b'{"threshold": 0.5}'


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    """A node that runs a confirmed model."""
    made = Bench(tmp_path)
    await made.started()
    await made.carry_out(order(1, OLD), OLD)
    assert made.machine.entry(Plane.MODEL).progress.state is PlaneState.CONFIRMED
    return made


def state(bench: Bench, plane: Plane = Plane.MODEL) -> tuple[PlaneState, str]:
    progress = bench.machine.entry(plane).progress
    return progress.state, str(progress.cause or "")


async def test_step_is_confirmed_when_its_probes_pass_after_the_change(bench: Bench) -> None:
    await bench.carry_out(order(2, NEW), NEW)
    assert state(bench) == (PlaneState.CONFIRMED, "")
    storage = bench.machine.storage(Plane.MODEL)
    assert storage.running is not None
    assert storage.fallback is not None
    assert (storage.running.content, storage.fallback.content, storage.on_trial) == (digest(NEW), digest(OLD), None)
    assert bench.file() == NEW


async def test_step_is_undone_without_a_network_when_a_probe_fails(bench: Bench) -> None:
    bench.passes = False
    await bench.carry_out(order(2, NEW), NEW)
    assert state(bench) == (PlaneState.ROLLED_BACK, "ProbeFailed: inference")
    assert bench.file() == OLD


async def test_answer_stands_only_beside_what_runs_then(bench: Bench) -> None:
    seen = set()

    async def watch() -> None:
        while True:
            running = bench.machine.storage(Plane.MODEL).running
            seen.add((bench.machine.is_acting, state(bench)[0], running and running.content))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    bench.passes = False
    await bench.carry_out(order(2, NEW), NEW)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    watching.cancel()
    answered = {(acting, running) for acting, found, running in seen if found is PlaneState.ROLLED_BACK}
    assert (True, digest(NEW)) in answered, "it is decided before it is done"
    assert {running for acting, running in answered if not acting} == {digest(OLD)}


async def test_return_needs_no_download_when_the_node_holds_the_content(bench: Bench) -> None:
    await bench.carry_out(order(2, NEW), NEW)
    bench.payloads.clear()
    await bench.machine.order(order(3, OLD, type=StepType.RETURN))
    await bench.settle()
    assert (state(bench)[0], bench.file()) == (PlaneState.CONFIRMED, OLD)


async def test_order_for_what_runs_already_is_proved_and_changes_nothing(bench: Bench) -> None:
    bench.payloads.clear()
    await bench.machine.order(order(2, OLD))
    await bench.settle()
    assert (state(bench)[0], bench.file()) == (PlaneState.CONFIRMED, OLD)


async def test_order_is_refused_by_name_before_anything_is_fetched(bench: Bench) -> None:
    await bench.machine.order(order(2, NEW), expired=True)
    assert state(bench) == (PlaneState.FAILED, "Expired")
    await bench.machine.order(order(3, NEW, Plane.FIRMWARE))
    assert state(bench, Plane.FIRMWARE) == (
        PlaneState.FAILED,
        "Rejected: this node has nothing to change its firmware with",
    )
    assert bench.machine.download is None


async def test_config_is_not_activated_before_the_model_that_it_needs(bench: Bench) -> None:
    await bench.carry_out(order(2, CONFIG, Plane.CONFIG, requires={"model": ">=2.0.0"}), CONFIG)
    assert state(bench, Plane.CONFIG)[0] is PlaneState.FAILED
    assert state(bench, Plane.CONFIG)[1].startswith(Reason.INCOMPATIBLE)
    assert bench.file(Plane.CONFIG) is None
    await bench.carry_out(order(3, NEW), NEW)
    await bench.carry_out(order(4, CONFIG, Plane.CONFIG, requires={"model": ">=2.0.0"}), CONFIG)
    assert (state(bench, Plane.CONFIG)[0], bench.file(Plane.CONFIG)) == (PlaneState.CONFIRMED, CONFIG)


async def test_newer_order_replaces_a_download_and_waits_for_a_trial(bench: Bench) -> None:
    await bench.machine.order(order(2, NEW))
    await bench.machine.order(order(3, CONFIG, Plane.CONFIG))
    assert state(bench) == (PlaneState.FAILED, "Canceled")
    bench.payloads[digest(CONFIG)] = CONFIG
    await bench.fetch()
    assert state(bench, Plane.CONFIG)[0] is PlaneState.PENDING_CONFIRM
    await bench.machine.order(order(4, NEW))
    assert bench.machine.progress_of(order(4, NEW)) is None, "what is on trial is left to its end"
    await bench.settle()
    assert state(bench, Plane.CONFIG)[0] is PlaneState.CONFIRMED


async def test_trial_is_undone_at_once_when_a_return_replaces_it(bench: Bench) -> None:
    bench.payloads[digest(NEW)] = NEW
    await bench.machine.order(order(2, NEW))
    await bench.fetch()
    assert bench.file() == NEW
    assert await bench.machine.makes_way_for(order(3, OLD, type=StepType.RETURN))
    assert (state(bench), bench.file()) == ((PlaneState.ROLLED_BACK, "Canceled"), OLD)


async def test_content_that_failed_here_is_not_installed_again(bench: Bench) -> None:
    bench.passes = False
    await bench.carry_out(order(2, NEW), NEW)
    bench.passes = True
    await bench.started()
    await bench.carry_out(order(3, NEW, version="3.0.0"), NEW)
    assert state(bench) == (PlaneState.FAILED, "Frozen: it failed on this device before, ProbeFailed: inference")
    assert (bench.file(), bench.machine.download) == (OLD, None)


async def test_content_that_failed_here_is_tried_again_when_a_person_asks_for_it(bench: Bench) -> None:
    bench.passes = False
    await bench.carry_out(order(2, NEW), NEW)
    bench.passes = True
    await bench.carry_out(order(3, NEW, again=True), NEW)
    assert (state(bench)[0], bench.file()) == (PlaneState.CONFIRMED, NEW)
    await bench.carry_out(order(4, OLD, type=StepType.RETURN), OLD)
    await bench.carry_out(order(5, NEW), NEW)
    assert bench.file() == NEW, "what was confirmed since is not frozen any more"


async def test_return_to_content_that_failed_here_is_not_refused(bench: Bench) -> None:
    bench.passes = False
    await bench.carry_out(order(2, NEW), NEW)
    bench.passes = True
    await bench.carry_out(order(3, NEW, type=StepType.RETURN), NEW)
    assert (state(bench)[0], bench.file()) == (PlaneState.CONFIRMED, NEW)


async def test_rehearsal_of_falling_back_freezes_nothing(bench: Bench) -> None:
    bench.passes = False
    await bench.carry_out(order(2, NEW, rehearsal=True), NEW)
    assert state(bench)[0] is PlaneState.ROLLED_BACK
    bench.passes = True
    await bench.carry_out(order(3, NEW), NEW)
    assert (state(bench)[0], bench.file()) == (PlaneState.CONFIRMED, NEW)


async def test_window_is_not_lengthened_when_the_agent_is_started_again(bench: Bench) -> None:
    bench.passes = False
    bench.payloads[digest(NEW)] = NEW
    await bench.machine.order(order(2, NEW, window=timedelta(seconds=60)))
    await bench.fetch()
    bench.time.seconds += 50
    await bench.started()
    await bench.machine.tick(bench.prove)
    assert state(bench)[0] is PlaneState.PENDING_CONFIRM
    bench.time.seconds += 11
    await bench.machine.tick(bench.prove)
    assert (state(bench)[0], bench.file()) == (PlaneState.ROLLED_BACK, OLD)


async def test_trial_ends_when_the_node_keeps_rebooting(bench: Bench) -> None:
    bench.payloads[digest(NEW)] = NEW
    await bench.machine.order(order(2, NEW))
    await bench.fetch()
    for _ in range(MOST_STARTS):
        await bench.reboot()
        assert state(bench)[0] is PlaneState.PENDING_CONFIRM
    await bench.reboot()
    await bench.machine.tick(bench.prove)
    assert (state(bench)[0], bench.file()) == (PlaneState.ROLLED_BACK, OLD)


async def _script(bench: Bench, name: str) -> None:
    bench.passes = name != "fails"
    await bench.carry_out(order(2, NEW), NEW)
    if name == "returns":
        await bench.machine.order(order(3, OLD, type=StepType.RETURN))
        await bench.settle()


def cuts() -> list[object]:
    return [
        pytest.param(name, after, id=f"{name}-{after}")
        for name, changes in (("succeeds", 14), ("fails", 18), ("returns", 24))
        for after in range(changes)
    ]


@pytest.mark.parametrize("again", [False, True], ids=["same-boot", "reboot"])
@pytest.mark.parametrize(("name", "after"), cuts())
async def test_node_ends_in_one_of_two_versions_wherever_the_power_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, after: int, again: bool
) -> None:
    cut_power(monkeypatch, after)
    cut = False
    try:
        await _script(bench, name)
    except Cut:
        cut = True
    monkeypatch.undo()
    assert cut, "the sweep reaches beyond the end of its script"
    await (bench.reboot() if again else bench.started())
    assert bench.file() in {OLD, NEW}, "there is always something to serve"
    await bench.settle()
    progress = bench.machine.entry(Plane.MODEL).progress
    storage = bench.machine.storage(Plane.MODEL)
    assert storage.running is not None
    assert storage.on_trial is None, "nobody is left on trial"
    assert progress.order is not None
    match progress.state:
        case PlaneState.CONFIRMED:
            assert storage.running.content == progress.order.content
        case PlaneState.ROLLED_BACK | PlaneState.FAILED:
            assert storage.running.content == digest(OLD)
        case other:
            raise AssertionError(other)
    assert bench.file() == {digest(OLD): OLD, digest(NEW): NEW}[storage.running.content]
    seen_to_fail = progress.cause is not None and progress.cause.reason in {
        Reason.PROBE_FAILED, Reason.CONFIRM_TIMEOUT, Reason.BOOT_FAILED
    }  # fmt: skip
    frozen = {one.content for one in bench.machine.notebook.memory.frozen}
    assert frozen == ({digest(NEW)} if seen_to_fail and progress.changed else set()), "never one without the other"
