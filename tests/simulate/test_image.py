"""The ESP32-C3 image format, and the bootloader's way through the slots."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.core.otadata import ImageState
from backstay.core.planes import Plane
from backstay.simulate.application import ResetCause
from backstay.simulate.bootloader import NothingToBoot, boot
from backstay.simulate.factory import provision
from backstay.simulate.flash import Flash
from backstay.simulate.image import BadImage, Behaviour, verify_image
from backstay.simulate.partitions import FACTORY, LAYOUT, read_table
from backstay.simulate.selector import Selector
from backstay.simulate.slots import Slot
from tests.simulate import workbench
from tests.simulate.workbench import CHIP_BYTES, Bench, image

IMAGE = image("1.2.3", Behaviour.CAMERA_FAILS)


def test_image_says_its_version_size_and_behaviour() -> None:
    found = verify_image(IMAGE + b"what follows in the slot")
    assert (found.version, found.size, found.behaviour) == ("1.2.3", len(IMAGE), Behaviour.CAMERA_FAILS)


@given(st.integers(0, len(IMAGE) - 1), st.integers(0, 7))
def test_image_is_refused_when_any_bit_flips(byte: int, bit: int) -> None:
    broken = bytearray(IMAGE)
    broken[byte] ^= 1 << bit
    with pytest.raises(BadImage):
        verify_image(bytes(broken))


@given(st.integers(0, len(IMAGE) - 1))
def test_image_is_refused_when_it_is_cut_short(size: int) -> None:
    with pytest.raises(BadImage):
        verify_image(IMAGE[:size])


@given(st.binary(max_size=300))
def test_image_is_refused_when_it_is_noise(noise: bytes) -> None:
    for data in (noise, b"\xe9\x01" + noise):
        with pytest.raises(BadImage):
            verify_image(data)


@pytest.mark.skipif(shutil.which("riscv64-unknown-elf-gcc") is None, reason="no compiler for the demo's firmware")
def test_image_is_accepted_when_esptool_made_it(tmp_path: Path) -> None:
    build = pytest.importorskip("demo.firmware.build")
    data = build.build_firmware("2.4.1", build.Behaviour.HANGS_BEFORE_CONFIRM, tmp_path / "image.bin").read_bytes()
    found = verify_image(data)
    assert (found.version, found.size, found.behaviour) == ("2.4.1", len(data), Behaviour.HANGS)


def test_bootloader_takes_the_other_slot_when_the_chosen_image_is_bad() -> None:
    bench = Bench()
    selector = bench.app.board.banks[Plane.FIRMWARE].selector
    selector.choose(1, ImageState.NEW)
    bench.power_on()
    assert str(bench.app.board.app) == "ota_0"
    assert bench.resets == [ResetCause.POWER_ON] * 2
    assert selector.slot() == 0
    assert selector.condemned(1)


def test_bootloader_writes_otadata_when_it_is_blank_and_there_is_no_factory_app() -> None:
    bench = Bench()
    otadata = next(x for x in LAYOUT if x.label == "otadata")
    bench.flash.erase(otadata.offset, otadata.size)
    app = boot(bench.flash, read_table(bench.flash))
    assert str(app) == "ota_0"
    assert Selector(bench.flash, otadata).confirmed(0)


def test_bootloader_starts_the_factory_app_when_nothing_else_is_valid() -> None:
    flash = Flash(bytearray(CHIP_BYTES + FACTORY.size))
    provision(flash, {}, (*LAYOUT, FACTORY))
    table = read_table(flash)
    with pytest.raises(NothingToBoot):
        boot(flash, table)
    rescue = workbench.Payload(image("0.1.0"), "0.1.0")
    Slot(flash, FACTORY, Plane.FIRMWARE).fill(rescue.release(Plane.FIRMWARE), rescue.data)
    app = boot(flash, table)
    assert (str(app), app.image.version) == ("factory", "0.1.0")
