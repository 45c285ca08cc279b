"""Real programs are started, replaced, ended and started again."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from backstay.adapters.node.durable import replace_link, write_file
from backstay.adapters.node.supervision import Patience, Running, Supervisor

QUICK = Patience(timedelta(milliseconds=100), timedelta(milliseconds=800), timedelta(seconds=30), timedelta(seconds=1))
WAITS = "while :; do sleep 0.1; done"


class Programs:
    """Scripts that note each start, behind one link."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.link = directory / "current"

    def choose(self, name: str, body: str = WAITS) -> Path:
        path = self.directory / name
        write_file(path, f'#!/bin/sh\necho "{name} $1" >> {self.directory / "starts"}\n{body}\n'.encode(), mode=0o755)
        replace_link(self.link, path)
        return path

    @property
    def starts(self) -> list[str]:
        path = self.directory / "starts"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


@asynccontextmanager
async def supervised(programs: Programs, patience: Patience = QUICK) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(programs.link, ("now",), patience=patience)
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], object], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


def lives(process_id: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


async def running(programs: Programs, supervisor: Supervisor, start: str) -> Running:
    # A program may say that it has started before its supervisor has noted that it runs.
    await until(lambda: start in programs.starts and supervisor.running is not None)
    assert supervisor.running is not None
    return supervisor.running


async def test_program_runs_with_its_arguments_until_the_supervisor_ends(programs: Programs) -> None:
    path = programs.choose("one")
    async with supervised(programs) as supervisor:
        found = await running(programs, supervisor, "one now")
        assert (found.program, found.starts) == (path, 1)
        assert lives(found.process_id)
    assert not lives(found.process_id)
    assert supervisor.running is None


async def test_program_is_replaced_when_the_link_leads_to_another_one(programs: Programs) -> None:
    programs.choose("one")
    async with supervised(programs) as supervisor:
        one = await running(programs, supervisor, "one now")
        programs.choose("two")
        two = await running(programs, supervisor, "two now")
        assert not lives(one.process_id)
        assert lives(two.process_id)
    assert programs.starts == ["one now", "two now"]


async def test_program_is_started_when_the_link_comes_to_be(programs: Programs) -> None:
    async with supervised(programs) as supervisor:
        await asyncio.sleep(0.3)
        programs.choose("one")
        await running(programs, supervisor, "one now")


async def test_program_is_started_again_with_longer_pauses_when_it_keeps_ending(programs: Programs) -> None:
    programs.choose("one", "exit 1")
    clock = asyncio.get_running_loop().time
    times: list[float] = []
    async with supervised(programs):
        for number in range(1, 6):
            await until(lambda number=number: len(programs.starts) >= number)
            times.append(clock())
    pauses = [after - before for before, after in itertools.pairwise(times)]
    for pause, least in zip(pauses, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert pause > least * 0.8, pauses


async def test_program_is_started_again_when_somebody_kills_it(programs: Programs) -> None:
    programs.choose("one")
    async with supervised(programs) as supervisor:
        first = await running(programs, supervisor, "one now")
        os.kill(first.process_id, signal.SIGKILL)
        await until(lambda: len(programs.starts) == 2)
        await until(lambda: supervisor.running is not None and supervisor.running.starts == 2)


async def test_next_program_does_not_wait_when_the_one_before_kept_ending(programs: Programs) -> None:
    programs.choose("one", "exit 1")
    slow = Patience(timedelta(minutes=5), timedelta(minutes=5), timedelta(minutes=5), timedelta(seconds=1))
    async with supervised(programs, slow) as supervisor:
        await until(lambda: programs.starts)
        programs.choose("two")
        await running(programs, supervisor, "two now")


async def test_program_is_killed_when_it_does_not_end_by_itself(programs: Programs) -> None:
    programs.choose("deaf", f"trap '' TERM\n{WAITS}")
    async with supervised(programs) as supervisor:
        deaf = await running(programs, supervisor, "deaf now")
        await asyncio.sleep(0.2)
        programs.choose("two")
        await running(programs, supervisor, "two now")
    assert not lives(deaf.process_id)


async def test_what_a_program_started_ends_with_it(programs: Programs) -> None:
    child = programs.directory / "child"
    programs.choose("parent", f"sleep 1000 & echo $! > {child}\nexit 0")
    async with supervised(programs):
        await until(lambda: child.exists() and child.read_text(encoding="utf-8").strip())
        process_id = int(child.read_text(encoding="utf-8"))
        await until(lambda: not lives(process_id))


async def test_pause_comes_when_the_program_cannot_even_be_started(programs: Programs) -> None:
    path = programs.choose("one")
    write_file(path, b"#!/no/such/interpreter\n", mode=0o755)
    async with supervised(programs) as supervisor:
        await asyncio.sleep(0.5)
        programs.choose("two")
        await running(programs, supervisor, "two now")


async def test_program_ends_when_its_supervisor_is_killed(programs: Programs) -> None:
    programs.choose("one", f"echo $$ > {programs.directory / 'pid'}\n{WAITS}")
    script = (
        "import asyncio, sys; from pathlib import Path\n"
        "from backstay.adapters.node.supervision import Supervisor\n"
        "asyncio.run(Supervisor(Path(sys.argv[1])).run())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, programs.link)
    noted = programs.directory / "pid"
    await until(lambda: noted.exists() and noted.read_text(encoding="utf-8").strip())
    process_id = int(noted.read_text(encoding="utf-8"))
    process.kill()
    await process.wait()
    await until(lambda: not lives(process_id))
