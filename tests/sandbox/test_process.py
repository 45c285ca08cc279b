import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backstay.sandbox.process import Child, ComponentFailed, Identity, end, last_lines

ENVIRONMENT = {"PATH": os.environ["PATH"]}


def child(tmp_path: Path, *command: str, outlives: bool = False) -> Child:
    return Child("thing", command, tmp_path / "thing.log", environment=ENVIRONMENT, outlives=outlives)


def test_identity_is_none_when_there_is_no_such_process():
    with subprocess.Popen(["true"]) as process:
        process.wait()

    assert Identity.of(process.pid) is None


def test_identity_differs_when_the_number_was_given_anew():
    ours = Identity.of(os.getpid())

    assert ours is not None
    assert ours.alive()
    assert not Identity(ours.pid, ours.started - 1).alive()


def test_identity_is_none_when_the_process_is_a_zombie():
    process = subprocess.Popen(["true"])
    try:
        deadline = time.monotonic() + 5
        while Identity.of(process.pid) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.wait()


def test_signal_reaches_nobody_when_the_number_was_given_anew():
    process = subprocess.Popen(["sleep", "60"], process_group=0)
    found = Identity.of(process.pid)
    assert found is not None

    Identity(found.pid, found.started - 1).send(signal.SIGKILL)

    assert found.alive()
    process.kill()
    process.wait()


async def test_child_is_killed_when_it_does_not_end_in_its_grace(tmp_path: Path):
    stubborn = child(tmp_path, "sh", "-c", "trap '' TERM; echo stubborn; while :; do sleep 0.05; done")
    stubborn.start()
    while "stubborn" not in stubborn.log.read_text():
        await asyncio.sleep(0.01)

    await stubborn.stop(grace_seconds=0.2)

    assert not stubborn.running()
    with pytest.raises(ComponentFailed, match="was ended by SIGKILL"):
        stubborn.check()


async def test_child_ends_when_it_was_stopped_by_a_signal_before(tmp_path: Path):
    sleeper = child(tmp_path, "sleep", "60")
    sleeper.start()
    sleeper.send(signal.SIGSTOP)

    began = time.monotonic()
    await sleeper.stop(grace_seconds=10)

    assert time.monotonic() - began < 5


async def test_stop_does_nothing_when_the_child_is_gone(tmp_path: Path):
    gone = child(tmp_path, "true")
    gone.start()
    while gone.running():
        await asyncio.sleep(0.01)

    await gone.stop()
    await gone.stop()


async def test_check_shows_status_and_last_words_when_a_child_has_died(tmp_path: Path):
    dying = child(tmp_path, "sh", "-c", "echo the disk is full; exit 3")
    dying.start()
    while dying.running():
        await asyncio.sleep(0.01)

    with pytest.raises(ComponentFailed) as failure:
        dying.check()

    assert str(failure.value) == (
        f"thing ended with status 3; its log is {tmp_path}/thing.log and ends:\n    the disk is full"
    )


def test_start_says_what_is_missing_when_there_is_no_such_program(tmp_path: Path):
    with pytest.raises(ComponentFailed, match="no-such-program"):
        child(tmp_path, "no-such-program", outlives=True).start()


async def test_start_says_what_is_missing_when_the_child_is_tied_to_us(tmp_path: Path):
    absent = child(tmp_path, "no-such-program")
    absent.start()
    while absent.running():
        await asyncio.sleep(0.01)

    with pytest.raises(ComponentFailed, match="no-such-program: not found"):
        absent.check()


def test_signal_is_refused_when_the_child_does_not_run(tmp_path: Path):
    with pytest.raises(ComponentFailed, match="is not running"):
        child(tmp_path, "true").send(signal.SIGTERM)


async def test_end_waits_for_a_process_that_is_nobodys_child(tmp_path: Path):
    # The middle shell ends at once, so that the sleeper belongs to the machine's first process.
    program = f"setsid sleep 60 & echo $! > {tmp_path}/pid"
    middle = await asyncio.create_subprocess_exec("sh", "-c", program)
    await middle.wait()
    pid = int((tmp_path / "pid").read_text())
    while (found := Identity.of(pid)) is None or os.getpgid(pid) != pid:
        await asyncio.sleep(0.01)

    await end(found, grace_seconds=5)

    assert not found.alive()


@pytest.mark.parametrize("outlives", [False, True])
def test_child_lives_on_when_its_parent_is_killed_only_if_it_may(tmp_path: Path, outlives: bool):
    program = f"""
import os, signal
from pathlib import Path
from backstay.sandbox.process import Child
log = Path({str(tmp_path / "log")!r})
child = Child("thing", ("sleep", "60"), log, environment=dict(os.environ), outlives={outlives})
child.start()
print(child.identity.pid, flush=True)
signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        found = Identity.of(int(parent.stdout.readline()))
        parent.kill()
    assert found is not None

    deadline = time.monotonic() + (0.3 if outlives else 5)
    while found.alive() and time.monotonic() < deadline:
        time.sleep(0.02)

    assert found.alive() == outlives
    found.send(signal.SIGKILL)


def test_last_lines_are_few_when_the_log_is_long(tmp_path: Path):
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))

    assert last_lines(log, 2) == "    line 99998\n    line 99999"
    assert last_lines(tmp_path / "absent") == "    (nothing was written)"
