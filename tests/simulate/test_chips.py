"""The flash of a fleet: in files that stay, or in memory that its devices share."""

from pathlib import Path

import pytest

from backstay.core.planes import Plane
from backstay.simulate.cells import SparseCells
from backstay.simulate.chips import Chips, chips_in_files, chips_in_memory
from backstay.simulate.factory import provision
from backstay.simulate.flash import SECTOR_BYTES, Flash
from backstay.simulate.image import digest_of
from demo.checker.flash import read_flash
from tests.simulate.workbench import FACTORY, Bench, model, order


@pytest.fixture(params=["files", "memory"])
def chips(request: pytest.FixtureRequest, tmp_path: Path) -> Chips:
    return chips_in_files(tmp_path, FACTORY) if request.param == "files" else chips_in_memory(FACTORY)


def installed(flash: Flash) -> Bench:
    """A device on this flash, with another model confirmed."""
    bench = Bench(flash=flash)
    bench.install(order(1, Plane.MODEL, model(2), "2.0.0"), model(2))
    bench.settle()
    return bench


def test_devices_of_a_fleet_change_their_own_flash_and_nobody_elses(chips: Chips) -> None:
    first, second = installed(chips("cam-1")), Bench(flash=chips("cam-2"))
    assert (first.running(Plane.MODEL), second.running(Plane.MODEL)) == ("2.0.0", "1.0.0")
    first.check_whole()
    second.check_whole()


def test_dump_is_what_a_checker_reads_wherever_the_flash_is(chips: Chips, tmp_path: Path) -> None:
    installed(chips("cam-1")).flash.dump(tmp_path / "dump")
    found = read_flash(tmp_path / "dump").planes["model"]
    assert (found.running.content, found.running.version, found.running.state) == (
        digest_of(model(2)),
        "2.0.0",
        "Valid",
    )
    assert found.spare.content == digest_of(model(1))


def test_device_finds_what_it_held_when_the_process_starts_again_on_its_file(tmp_path: Path) -> None:
    installed(chips_in_files(tmp_path, FACTORY)("cam-1")).flash.close()
    assert Bench(flash=chips_in_files(tmp_path, FACTORY)("cam-1")).running(Plane.MODEL) == "2.0.0"


def test_devices_hold_a_new_model_once_when_they_share_their_memory() -> None:
    factory = SparseCells()
    provision(Flash(factory), FACTORY)
    cells = [factory.fork() for _ in range(3)]
    chips = [installed(Flash(each)) for each in cells]
    assert all(chip.running(Plane.MODEL) == "2.0.0" for chip in chips)
    model_b = range(0x140000 // SECTOR_BYTES, 0x160000 // SECTOR_BYTES)
    for number in model_b:
        assert len({each._changed.get(number) for each in cells}) == 1
    assert any(number in cells[0]._changed for number in model_b)
