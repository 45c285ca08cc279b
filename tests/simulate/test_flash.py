"""NOR flash: what an erase and a write can do, and what is left when the power goes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.simulate.flash import SECTOR_BYTES, Flash, OutOfRange, PowerCut


def chip(sectors: int = 2) -> Flash:
    return Flash(bytearray(sectors * SECTOR_BYTES))


def test_write_only_clears_bits() -> None:
    flash = chip()
    flash.erase(0)
    flash.write(0, b"\xf0\x0f")
    flash.write(0, b"\xaa\xff")
    assert flash.read(0, 3) == b"\xa0\x0f\xff"


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_write_twice_leaves_the_bits_that_both_left(first: bytes, second: bytes) -> None:
    flash = chip(1)
    flash.erase(0)
    flash.write(0, first)
    flash.write(0, second)
    size = max(len(first), len(second))
    both = zip(first.ljust(size, b"\xff"), second.ljust(size, b"\xff"), strict=True)
    assert flash.read(0, size) == bytes(a & b for a, b in both)


def test_erase_sets_a_sector_and_no_other() -> None:
    flash = chip()
    flash.erase(SECTOR_BYTES)
    assert flash.read(0, SECTOR_BYTES) == bytes(SECTOR_BYTES)
    assert flash.read(SECTOR_BYTES, SECTOR_BYTES) == b"\xff" * SECTOR_BYTES


@pytest.mark.parametrize(("offset", "size"), [(1, 4096), (0, 100), (8192, 4096), (-4096, 4096)])
def test_erase_refuses_what_is_not_a_sector_of_the_chip(offset: int, size: int) -> None:
    with pytest.raises(OutOfRange):
        chip().erase(offset, size)


def test_write_and_read_refuse_to_leave_the_chip() -> None:
    with pytest.raises(OutOfRange):
        chip().write(8190, b"abc")
    with pytest.raises(OutOfRange):
        chip().read(8190, 3)


@pytest.mark.parametrize(("torn", "left"), [(0.0, b"\xff\xff\xff\xff"), (0.5, b"ab\xff\xff"), (1.0, b"abcd")])
def test_power_cut_tears_the_write_at_a_byte(torn: float, left: bytes) -> None:
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


def test_power_cut_tears_an_erase_of_many_sectors_between_them() -> None:
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
