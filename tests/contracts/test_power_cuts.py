"""Whatever a disk forgets when the power goes, an installer's plane is as before or as after, and done means done."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from backstay.adapters.node.durable import write_file
from backstay.ports.installer import Storage
from tests.contracts.installers import CHILD, PlacedBench, digest_of, process_bench, static_pod_bench
from tests.contracts.lossy_disk import LossyDisk, recorded
from tests.contracts.test_installers import METHODS, before

BENCHES = {"static-pod": static_pod_bench, "process": process_bench}
LEFT = (("seen", "seen"), ("sure", "sure"), ("seen", "sure"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", BENCHES)
@pytest.mark.timeout(300)
async def test_plane_is_as_before_or_as_after_when_the_disk_forgets_what_was_not_flushed(
    kind: str, method: str, tmp_path: Path
) -> None:
    bench = BENCHES[kind](tmp_path)
    await bench.begin()
    one = await before(bench, method)
    was, disk = await bench.installer.look(), LossyDisk(bench.disk)
    what = (json.dumps(bench.settings), method, "0", str(one.payload), one.order.version, str(one.order.number))
    await asyncio.to_thread(recorded, (*CHILD, *what), tmp_path / "trace")
    now = await bench.installer.look()
    calls = 0
    for line in disk.play(tmp_path / "trace"):
        calls += 1
        for names, data in LEFT:
            found = await left(bench, disk, names, data)
            if method != "trim":
                assert same(found, was) or same(found, now), f"after {calls} calls, {names} and {data}: {line[:300]}"
            assert found.running is not None
            assert found.running.version == bench.truth()
            assert found.fallback in {was.fallback, now.fallback}
            for content in found.held:
                kept = bench.disk / "state" / "releases" / content.removeprefix("sha256:")
                assert digest_of(kept.read_bytes()) == content, "what is held is whole"
    assert calls >= 3
    assert await left(bench, disk, "sure", "sure") == now, "what is done stays done"


async def left(bench: PlacedBench, disk: LossyDisk, names: str, data: str) -> Storage:
    """What an installer finds when the power is back."""
    shutil.rmtree(bench.disk)
    disk.leave(bench.disk, names=names, data=data)
    return await bench.installer.look()


def same(one: Storage, other: Storage) -> bool:
    """Whether no more differs than which contents are held beside."""
    return (one.running, one.fallback, one.on_trial) == (other.running, other.fallback, other.on_trial)


def test_disk_forgets_a_name_that_was_not_flushed(tmp_path: Path) -> None:
    root = tmp_path / "disk"
    write_file(root / "file", b"old")
    script = (
        "import os, sys; file = open(sys.argv[1] + '.new', 'wb'); file.write(b'new'); file.close()\n"
        "os.rename(file.name, sys.argv[1])\n"
    )
    disk = LossyDisk(root)
    recorded((CHILD[0], "-c", script, str(root / "file")), tmp_path / "trace")
    assert len(list(disk.play(tmp_path / "trace"))) == 3
    for number, (names, data) in enumerate(LEFT):
        disk.leave(tmp_path / str(number), names=names, data=data)
    assert [(tmp_path / str(number) / "file").read_bytes() for number in range(3)] == [b"new", b"old", b""]
