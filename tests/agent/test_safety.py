"""A node in safe mode: by an order, by a file and by starts that came to nothing; and how it comes out of it again."""

from pathlib import Path

import pytest

from backstay.core.device import Reason
from backstay.core.devices import PlaneState, StepType
from backstay.core.planes import Plane
from backstay.core.safe_mode import MOST_STARTS, STEADY
from tests.agent.bench import Bench, Cut, cut_power, digest, order

OLD, NEW = b"#!/bin/sh\n# old\n", b"#!/bin/sh\n# new\n"
MODEL = b"a model"


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    """A node that runs a confirmed program and a confirmed model, and has run for long enough."""
    made = Bench(tmp_path, runs_program=True)
    await started(made)
    await made.carry_out(order(1, OLD, Plane.FIRMWARE), OLD)
    await made.carry_out(order(2, MODEL), MODEL)
    made.time.seconds += STEADY.total_seconds()
    await made.safety.look(ordered=False)
    assert (made.program, made.file()) == ("# old", MODEL)
    return made


async def started(bench: Bench, *, ordered: bool | None = None, reboots: bool = False) -> None:
    """Start an agent, as a node does."""
    await (bench.reboot() if reboots else bench.started())
    await bench.safety.begin()
    await bench.safety.look(ordered=ordered)


def is_safe(bench: Bench) -> bool:
    """Whether the node is in safe mode, by its words and by what runs."""
    stopped = bench.program is None
    assert stopped == bool(bench.safety.why) == bool(bench.machine.resting)
    assert bench.file() == MODEL, "a model stays where it is"
    found = bench.machine.storage(Plane.FIRMWARE).running
    assert found is not None
    return stopped


async def test_workload_is_stopped_by_order_and_runs_again_by_order(bench: Bench) -> None:
    await bench.safety.look(ordered=True)
    assert is_safe(bench)
    assert bench.safety.why == ("spec.mode is Safe",)
    await bench.safety.look(ordered=False)
    assert not is_safe(bench)
    assert bench.program == "# old"


async def test_order_holds_through_a_reboot_without_a_network(bench: Bench) -> None:
    await bench.safety.look(ordered=True)
    await started(bench, reboots=True)
    assert is_safe(bench)
    await bench.safety.look(ordered=None)
    assert is_safe(bench)
    await bench.safety.look(ordered=False)
    assert not is_safe(bench)


async def test_file_on_the_disk_stops_the_workload_as_long_as_it_is_there(bench: Bench) -> None:
    bench.safety.file.touch()
    await bench.safety.look(ordered=False)
    assert is_safe(bench)
    await bench.safety.recover(1)
    await bench.safety.look(ordered=False)
    assert is_safe(bench), "only who put it there takes it away"
    bench.safety.file.unlink()
    await bench.safety.look(ordered=None)
    assert not is_safe(bench)


async def test_node_that_keeps_starting_for_nothing_gives_up_until_a_person_recovers_it(bench: Bench) -> None:
    for _ in range(MOST_STARTS):
        await started(bench, reboots=True)
        assert not is_safe(bench)
    await started(bench, reboots=True)
    assert is_safe(bench)
    bench.time.seconds += STEADY.total_seconds()
    await bench.safety.look(ordered=False)
    await started(bench, reboots=True)
    assert is_safe(bench), "to run quietly with everything stopped proves nothing"
    assert await bench.safety.recover(1)
    await bench.safety.look(ordered=False)
    assert not is_safe(bench)
    await started(bench)
    assert not is_safe(bench)


async def test_agent_that_was_told_to_end_has_not_failed(bench: Bench) -> None:
    for _ in range(3 * MOST_STARTS):
        await started(bench)
        bench.safety.end()
    await started(bench)
    assert not is_safe(bench)


async def test_step_on_trial_is_undone_and_none_begins_in_safe_mode(bench: Bench) -> None:
    bench.payloads[digest(NEW)] = NEW
    await bench.machine.order(order(3, NEW, Plane.FIRMWARE))
    await bench.fetch()
    assert bench.program == "# new"
    await bench.safety.look(ordered=True)
    assert is_safe(bench)
    progress = bench.machine.entry(Plane.FIRMWARE).progress
    assert (progress.state, str(progress.cause)) == (PlaneState.ROLLED_BACK, "Canceled")
    for number, kind in ((4, StepType.INSTALL), (5, StepType.RETURN)):
        await bench.machine.order(order(number, NEW, Plane.FIRMWARE, type=kind))
        progress = bench.machine.entry(Plane.FIRMWARE).progress
        assert (progress.state, str(progress.cause)) == (PlaneState.FAILED, "SafeMode: spec.mode is Safe")
    await bench.safety.look(ordered=False)
    assert bench.program == "# old"
    await bench.carry_out(order(6, NEW, Plane.FIRMWARE), NEW)
    assert bench.program == "# new", "what was withdrawn has not failed"


async def test_recovery_forgets_what_is_frozen_and_gives_up_what_is_on_trial_once(bench: Bench) -> None:
    bench.passes = False
    await bench.carry_out(order(3, NEW, Plane.FIRMWARE), NEW)
    assert [one.content for one in bench.machine.notebook.memory.frozen] == [digest(NEW)]
    await bench.machine.order(order(4, b"another model"))
    bench.payloads[digest(b"another model")] = b"another model"
    await bench.fetch()
    assert bench.machine.entry(Plane.MODEL).progress.state is PlaneState.PENDING_CONFIRM
    assert await bench.safety.recover(1)
    assert not bench.machine.notebook.memory.frozen
    assert (bench.machine.entry(Plane.MODEL).progress.state, bench.file()) == (PlaneState.ROLLED_BACK, MODEL)
    bench.passes = True
    await bench.carry_out(order(5, NEW, Plane.FIRMWARE), NEW)
    assert bench.program == "# new"
    await started(bench)
    assert not await bench.safety.recover(1), "what was carried out is not carried out again"
    assert bench.machine.notebook.memory.recovered == 1


async def test_node_is_recovered_by_somebody_who_stands_before_it(bench: Bench) -> None:
    for _ in range(MOST_STARTS + 1):
        await started(bench, reboots=True)
    assert is_safe(bench)
    bench.journal.ask_to_recover()
    await bench.safety.look(ordered=None)
    assert not is_safe(bench)
    assert not bench.journal.is_asked_to_recover()
    assert bench.machine.notebook.memory.recovered == 0, "what is ordered later is carried out all the same"
    assert await bench.safety.recover(1)


async def test_recovery_leaves_a_return_on_trial_alone(bench: Bench) -> None:
    await bench.carry_out(order(3, NEW, Plane.FIRMWARE), NEW)
    await bench.machine.order(order(4, OLD, Plane.FIRMWARE, type=StepType.RETURN))
    assert bench.program == "# old"
    assert await bench.safety.recover(1)
    await bench.settle()
    assert bench.machine.entry(Plane.FIRMWARE).progress.state is PlaneState.CONFIRMED
    assert bench.program == "# old"


async def test_history_tells_people_why_and_when(bench: Bench) -> None:
    await bench.safety.look(ordered=True)
    await bench.safety.look(ordered=True)
    await bench.safety.recover(1)
    await bench.safety.look(ordered=False)
    told = [entry["what"] for entry in bench.journal.history() if entry["plane"] == "node"]
    assert told == ["safe mode: spec.mode is Safe", "recovered as a person asked (recover 1)", "safe mode is over"]


@pytest.mark.parametrize("again", [False, True], ids=["same-boot", "reboot"])
@pytest.mark.parametrize("after", range(8))
async def test_node_ends_safe_or_running_wherever_the_power_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, after: int, again: bool
) -> None:
    bench.payloads[digest(NEW)] = NEW
    await bench.machine.order(order(3, NEW, Plane.FIRMWARE))
    await bench.fetch()
    cut_power(monkeypatch, after)
    cut, ordered = False, True
    try:
        await bench.safety.look(ordered=True)
        ordered = False
        await bench.safety.look(ordered=False)
        await bench.safety.recover(1)
    except Cut:
        cut = True
    monkeypatch.undo()
    assert cut, "the sweep reaches beyond the end of its script"
    # The order stands in the API server, which the node may not reach yet; then it does.
    await started(bench, reboots=again)
    assert (bench.program is None) == bool(bench.safety.why)
    assert bench.program in {None, "# old", "# new"}
    await bench.safety.look(ordered=ordered)
    assert is_safe(bench) == ordered
    await bench.safety.look(ordered=False)
    await bench.settle()
    progress, storage = bench.machine.entry(Plane.FIRMWARE).progress, bench.machine.storage(Plane.FIRMWARE)
    assert storage.on_trial is None
    assert bench.program == ("# new" if progress.state is PlaneState.CONFIRMED else "# old")
    assert Reason.CANCELED in str(progress.cause) or progress.state is PlaneState.CONFIRMED
