"""What a node deletes of itself: versions that nobody needs, and more when its disk fills."""

from datetime import timedelta
from pathlib import Path

import pytest

from backstay.agent.keeping import Keeping, free_on
from backstay.core.devices import PlaneState
from backstay.core.keeping import LEAST
from backstay.core.planes import ContentDigest, Plane
from tests.agent.bench import Bench, Cut, cut_power, digest, order

GIB = 1024**3
WEEKS = timedelta(weeks=2)
MODELS = [f"model {number}".encode() for number in range(1, 6)]


class Disk:
    """A disk on which each kept model takes 1 GiB of the 4 GiB that are free without any."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def __call__(self) -> tuple[int, int]:
        return (6 - len(kept(self.bench))) * GIB, 100 * GIB


def kept(bench: Bench) -> list[bytes]:
    """The models that are on the disk, the oldest first."""
    names = {path.name for path in (bench.directory / Plane.MODEL / "releases").iterdir() if path.name[0] != "."}
    return [data for data in MODELS if digest(data).removeprefix("sha256:") in names]


def retain(_: Plane) -> timedelta:
    return WEEKS


def nothing(_: Plane) -> timedelta:
    return timedelta(0)


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    """A node that has run four models, one after another, for a day each."""
    made = Bench(tmp_path)
    await made.started()
    keeping = keeper(made)
    for number, data in enumerate(MODELS[:4], 1):
        await made.carry_out(order(number, data), data)
        await keeping.tidy(retain)
        made.time.seconds += 24 * 3600
    assert kept(made) == MODELS[:4]
    return made


def keeper(bench: Bench, headroom: int = 0) -> Keeping:
    return Keeping(bench.machine, bench.time, Disk(bench), headroom)


async def test_version_goes_when_it_was_left_for_longer_than_it_is_retained(bench: Bench) -> None:
    keeping = keeper(bench)
    await keeping.tidy(retain)
    assert kept(bench) == MODELS[:4]
    # The first was left when the third came, because until then it was the fallback of the second.
    bench.time.seconds += (WEEKS - timedelta(days=2)).total_seconds() + 60
    await keeping.tidy(retain)
    assert kept(bench) == MODELS[1:4]
    bench.time.seconds += WEEKS.total_seconds()
    await keeping.tidy(retain)
    assert kept(bench) == MODELS[2:4], "what runs and its fallback stay whatever the time"
    told = [entry["what"] for entry in bench.journal.history() if "deleted" in entry["what"]]
    assert told == [f"{digest(data)[:19]} was deleted: it is not retained any longer" for data in MODELS[:2]]


async def test_time_goes_on_while_the_node_is_off(bench: Bench) -> None:
    await bench.reboot()
    bench.time.seconds += (4 * WEEKS).total_seconds()
    await keeper(bench).tidy(retain)
    assert kept(bench) == MODELS[2:4]


async def test_nothing_is_retained_for_longer_than_an_hour_when_no_plan_asks_for_it(bench: Bench) -> None:
    await keeper(bench).tidy(nothing)
    assert kept(bench) == MODELS[2:4]
    await bench.carry_out(order(5, MODELS[4]), MODELS[4])
    await keeper(bench).tidy(nothing)
    assert kept(bench) == MODELS[2:]
    bench.time.seconds += LEAST.total_seconds()
    await keeper(bench).tidy(nothing)
    assert kept(bench) == MODELS[3:]


async def test_oldest_goes_first_and_only_as_many_when_the_disk_has_too_little_room(bench: Bench) -> None:
    await keeper(bench, headroom=3 * GIB).tidy(retain)
    assert kept(bench) == MODELS[1:4]
    await keeper(bench, headroom=5 * GIB).tidy(retain)
    assert kept(bench) == MODELS[2:4], "what runs and its fallback stay whatever the disk says"
    (told,) = {entry["what"].partition(": ")[2] for entry in bench.journal.history() if "deleted" in entry["what"]}
    assert told == "it makes room: the disk has too little"


async def test_step_finds_room_by_what_is_only_retained(bench: Bench) -> None:
    await bench.machine.order(order(5, MODELS[4]))
    keeping = keeper(bench)
    assert await keeping.make_room()
    assert kept(bench) == MODELS[2:4]
    assert not await keeping.make_room(), "nothing more can go"
    bench.payloads[digest(MODELS[4])] = MODELS[4]
    await bench.settle()
    assert bench.file() == MODELS[4]


async def test_version_that_failed_here_is_not_kept(bench: Bench) -> None:
    bench.passes = False
    await bench.carry_out(order(5, MODELS[4]), MODELS[4])
    await keeper(bench).tidy(retain)
    assert kept(bench) == MODELS[:4]


async def test_nothing_is_deleted_while_something_changes_or_in_safe_mode_or_without_a_clock(bench: Bench) -> None:
    keeping = keeper(bench, headroom=5 * GIB)
    bench.payloads[digest(MODELS[4])] = MODELS[4]
    await bench.machine.order(order(5, MODELS[4]))
    await bench.fetch()
    await keeping.tidy(nothing)
    await bench.settle()
    await bench.safety.look(ordered=True)
    await keeping.tidy(nothing)
    await bench.safety.look(ordered=False)
    at = bench.time.seconds
    bench.time.seconds = -56 * 365 * 24 * 3600
    await keeping.tidy(nothing)
    bench.time.seconds = at
    assert kept(bench) == MODELS
    await keeping.tidy(nothing)
    assert kept(bench) == MODELS[3:]


def test_room_is_measured_before_the_directory_is_there(tmp_path: Path) -> None:
    free_bytes, total_bytes = free_on(tmp_path / "not" / "yet")()
    assert 0 < free_bytes <= total_bytes


@pytest.mark.parametrize("after", range(5))
async def test_node_serves_and_can_go_back_wherever_the_power_goes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    cut_power(monkeypatch, after)
    with pytest.raises(Cut):
        await keeper(bench).tidy(nothing)
    monkeypatch.undo()
    await bench.started()
    storage = bench.machine.storage(Plane.MODEL)
    found = [release.content if release else ContentDigest("") for release in (storage.running, storage.fallback)]
    assert found == [digest(MODELS[3]), digest(MODELS[2])]
    await keeper(bench).tidy(nothing)
    assert kept(bench) == MODELS[2:4]
    assert bench.file() == MODELS[3]
    assert bench.machine.entry(Plane.MODEL).progress.state is PlaneState.CONFIRMED
