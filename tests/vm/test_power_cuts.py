"""The power goes at any write of an install: the machine comes up with one of two systems, and the agent says which."""

import asyncio
import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from backstay.sandbox.progress import Progress, report_to_terminal
from tests.contracts.rauc_node import Signer
from tests.vm.bundles import FINE, Builder
from tests.vm.conftest import Served
from tests.vm.image_builder import MIB, PARTITIONS, Image
from tests.vm.machine import Begun, Machine
from tests.vm.recorded_writes import Write, replay, writes
from tests.vm.snapshot import prepared


@dataclass(frozen=True)
class Install:
    """An install that was recorded: the disk before, and the writes in their order."""

    image: Image
    before: Path
    record: Path
    writes: tuple[Write, ...]


@pytest.fixture
async def install(tmp_path: Path, served: Served) -> Install:
    image, begun = await asyncio.to_thread(prepared)
    builder = Builder(served.directory, image, Signer.make(tmp_path, "builder"))
    bundle = builder.bundle("2.0.0", FINE)
    staged = Begun(tmp_path / "staged" / "disk.qcow2", tmp_path / "memory")
    async with Machine(staged.disk.parent, image, begun) as machine:
        await machine.go_on()
        await machine.write("/data/etc/keyring.pem", builder.signer.certificate.read_bytes())
        await machine.run(served.fetch(bundle.name, "/data/bundle"))
        content = (
            await machine.run("firmware stage /data/bundle 2.0.0 && rm /data/bundle && umount /opt && sync")
        ).strip()
        await machine.save(staged.memory)
    record = tmp_path / "writes"
    async with Machine(tmp_path / "recorded", image, staged, record) as machine:
        await machine.go_on()
        await machine.run(f"firmware switch {content} 2.0.0 && sync", seconds=400)
    before = tmp_path / "before.img"
    await asyncio.to_thread(subprocess.run, ("qemu-img", "convert", "-O", "raw", staged.disk, before), check=True)
    return Install(image, before, record, tuple(writes(record)))


def cut_disk(install: Install, done: int, directory: Path) -> Path:
    """The disk as it is after so many writes of the install."""
    directory.mkdir()
    disk = directory / "cut.img"
    subprocess.run(("cp", "--sparse=always", install.before, disk), check=True)
    replay(install.record, install.writes[:done], disk)
    return disk


async def comes_up(install: Install, done: int, directory: Path) -> dict[str, object]:
    """What the agent's installer says after so many writes of the install, and a boot."""
    disk = await asyncio.to_thread(cut_disk, install, done, directory)
    image = replace(install.image, disk=disk)
    async with Machine(directory / "machine", image) as machine:
        await machine.power_on()
        await machine.is_up()
        version = (await machine.run("cat /version 2>/dev/null || echo factory")).strip()
        said = json.loads(await machine.run("firmware look"))
    shutil.rmtree(directory)
    return {"truth": version, **said}


def check(said: dict[str, object]) -> None:
    assert said["truth"] in {"factory", "2.0.0"}
    assert said["running"] == (None if said["truth"] == "factory" else "2.0.0"), said
    assert said["ended"] is None, "nothing was tried that could have ended"
    assert said["on_trial"] == (None if said["truth"] == "factory" else 2), said


@pytest.mark.timeout(900)
async def test_machine_comes_up_and_says_with_what_when_the_power_goes_in_an_install(
    install: Install, tmp_path: Path
) -> None:
    first, length = PARTITIONS["boot"]
    at_the_counters = [
        number for number, one in enumerate(install.writes) if first * MIB <= one.at < (first + length) * MIB
    ]
    assert at_the_counters, "RAUC tells GRUB"
    slot = [one for one in install.writes if PARTITIONS["B"][0] * MIB <= one.at < PARTITIONS["data"][0] * MIB]
    assert sum(one.size_bytes for one in slot) > 32 * MIB, "the system was written to the other slot"
    truths = []
    for done in (at_the_counters[0] // 2, at_the_counters[-1] + 1):
        said = await comes_up(install, done, tmp_path / f"cut-{done}")
        check(said)
        truths.append(said["truth"])
    assert truths == ["factory", "2.0.0"]


@pytest.mark.sweep
@pytest.mark.timeout(3 * 3600)
async def test_machine_comes_up_and_says_with_what_when_the_power_goes_at_any_write_of_an_install(
    install: Install, tmp_path: Path
) -> None:
    two_at_once, truths = asyncio.Semaphore(2), {}
    places = range(len(install.writes) + 1)
    going = Progress(report_to_terminal, "cutting the power at each write of an install", len(places), "writes")

    async def cut(done: int) -> None:
        async with two_at_once:
            said = await comes_up(install, done, tmp_path / f"cut-{done}")
            check(said)
            truths[done] = said["truth"]
            going.at(len(truths))

    async with asyncio.TaskGroup() as cuts:
        for done in places:
            cuts.create_task(cut(done))
    going.done()
    in_order = [truths[done] for done in sorted(truths)]
    assert in_order == sorted(in_order, reverse=True), "once it has switched it stays so"
    assert set(in_order) == {"factory", "2.0.0"}
