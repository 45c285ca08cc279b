"""NOR flash: what an erase and a write can do, and what is left when the power goes, wherever its cells are."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.simulate.cells import SparseCells
from backstay.simulate.flash import SECTOR_BYTES, Flash, OutOfRange, PowerCut

NewChip: TypeAlias = Callable[..., Flash]

STORES = ("bytearray", "file", "shared")


def chip_in(store: str, directory: Path, sectors: int = 2) -> Flash:
    size = sectors * SECTOR_BYTES
    match store:
        case "bytearray":
            return Flash(bytearray(size))
        case "file":
            return Flash.open(directory / "chip.flash", size)
        case _:
            return Flash(SparseCells(size))


@pytest.fixture(params=STORES)
def chip(request: pytest.FixtureRequest, tmp_path: Path) -> NewChip:
    """The contract: whatever holds the cells, the chip is the same."""
    return lambda sectors=2: chip_in(request.param, tmp_path, sectors)


def test_write_only_clears_bits(chip: NewChip) -> None:
    flash = chip()
    flash.erase(0)
    flash.write(0, b"\xf0\x0f")
    flash.write(0, b"\xaa\xff")
    assert flash.read(0, 3) == b"\xa0\x0f\xff"


@pytest.mark.parametrize("store", ["bytearray", "shared"])
@given(first=st.binary(max_size=64), second=st.binary(max_size=64))
def test_write_twice_leaves_the_bits_that_both_left(store: str, first: bytes, second: bytes) -> None:
    flash = chip_in(store, Path(), 1)
    flash.erase(0)
    flash.write(0, first)
    flash.write(0, second)
    size = max(len(first), len(second))
    both = zip(first.ljust(size, b"\xff"), second.ljust(size, b"\xff"), strict=True)
    assert flash.read(0, size) == bytes(a & b for a, b in both)


def test_erase_sets_a_sector_and_no_other(chip: NewChip) -> None:
    flash = chip()
    flash.erase(SECTOR_BYTES)
    assert flash.read(0, SECTOR_BYTES) == bytes(SECTOR_BYTES)
    assert flash.read(SECTOR_BYTES, SECTOR_BYTES) == b"\xff" * SECTOR_BYTES


@pytest.mark.parametrize(("offset", "size"), [(1, 4096), (0, 100), (8192, 4096), (-4096, 4096)])
def test_erase_refuses_what_is_not_a_sector_of_the_chip(chip: NewChip, offset: int, size: int) -> None:
    with pytest.raises(OutOfRange):
        chip().erase(offset, size)


def test_write_and_read_refuse_to_leave_the_chip(chip: NewChip) -> None:
    with pytest.raises(OutOfRange):
        chip().write(8190, b"abc")
    with pytest.raises(OutOfRange):
        chip().read(8190, 3)


@pytest.mark.parametrize(("torn", "left"), [(0.0, b"\xff\xff\xff\xff"), (0.5, b"ab\xff\xff"), (1.0, b"abcd")])
def test_power_cut_tears_the_write_at_a_byte(chip: NewChip, torn: float, left: bytes) -> None:
    flash = chip()
    flash.erase(0)
    flash.cut_power(1, torn)
    flash.write(100, b"before")
    with pytest.raises(PowerCut, match="after 3 flash operations"):
        flash.write(0, b"abcd")
    with pytest.raises(PowerCut):
        flash.read(0, 4)
    flash.power_on()
    assert flash.read(0, 4) == left


def test_power_cut_tears_an_erase_of_many_sectors_between_them(chip: NewChip) -> None:
    flash = chip(3)
    flash.cut_power(1, 0.25)
    with pytest.raises(PowerCut):
        flash.erase(0, 3 * SECTOR_BYTES)
    flash.power_on()
    assert flash.read(0, 3 * SECTOR_BYTES) == b"\xff" * 5120 + bytes(7168)


def test_chip_keeps_its_bytes_in_its_file(tmp_path: Path) -> None:
    flash = Flash.open(tmp_path / "chip.flash")
    flash.erase(4096)
    flash.write(4096, b"kept")
    flash.close()
    assert Flash.open(tmp_path / "chip.flash").read(4096, 5) == b"kept\xff"
    assert (tmp_path / "chip.flash").stat().st_size == 4 * 1024 * 1024


@given(
    operations=st.lists(
        st.one_of(
            st.tuples(st.just("erase"), st.integers(0, 3), st.just(b"")),
            st.tuples(st.just("write"), st.integers(0, 4 * SECTOR_BYTES - 9000), st.binary(max_size=9000)),
        ),
        max_size=12,
    ),
    cut=st.tuples(st.integers(0, 20), st.floats(0, 1)),
)
def test_shared_chip_holds_what_any_other_holds_when_operations_run_and_power_goes(
    operations: list[tuple[str, int, bytes]], cut: tuple[int, float]
) -> None:
    factory = SparseCells(4 * SECTOR_BYTES)
    Flash(factory).erase(SECTOR_BYTES)
    plain = Flash(bytearray(factory[:]))
    shared, untouched = Flash(factory.fork()), factory.fork()
    for flash in (plain, shared):
        flash.cut_power(*cut)
        for kind, at, data in operations:
            flash.power_on()
            try:
                flash.erase(at * SECTOR_BYTES) if kind == "erase" else flash.write(at, data)
            except PowerCut:
                continue
        flash.power_on()
    assert shared.read(0, len(shared)) == plain.read(0, len(plain))
    assert untouched[:] == bytes(SECTOR_BYTES) + b"\xff" * SECTOR_BYTES + bytes(2 * SECTOR_BYTES)


def test_chip_is_dumped_whole(chip: NewChip, tmp_path: Path) -> None:
    flash = chip(3)
    flash.erase(SECTOR_BYTES)
    flash.write(SECTOR_BYTES, b"kept")
    flash.dump(tmp_path / "dump")
    assert (tmp_path / "dump").read_bytes() == flash.read(0, 3 * SECTOR_BYTES)


def test_shared_chip_keeps_nothing_when_it_holds_what_the_factory_put_there() -> None:
    factory = SparseCells(3 * SECTOR_BYTES)
    Flash(factory).erase(0)
    Flash(factory).write(0, b"model")
    cells = factory.fork()
    flash = Flash(cells)
    flash.erase(0)
    assert cells.changed_sectors == 1
    flash.write(0, b"model")
    assert cells.changed_sectors == 0
