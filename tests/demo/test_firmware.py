"""The firmware that the demo ships is genuine, reproducible and says what it does wrong."""

import struct
from pathlib import Path

import pytest

from demo.firmware.build import Behaviour, FirmwareBuildFailed, build_firmware, check_image

APP_DESC_OFFSET = 0x20
APP_DESC_MAGIC = 0xABCD5432


def test_firmware_has_the_same_bytes_when_built_twice(tmp_path: Path) -> None:
    first = build_firmware("1.0.0", Behaviour.SOUND, tmp_path / "first.bin")
    second = build_firmware("1.0.0", Behaviour.SOUND, tmp_path / "second.bin")
    assert first.read_bytes() == second.read_bytes()


def test_firmware_carries_its_version_where_a_bootloader_looks(tmp_path: Path) -> None:
    data = build_firmware("2.4.1-rc.1", Behaviour.SOUND, tmp_path / "image.bin").read_bytes()
    magic, _, version, project = struct.unpack_from("<II8x32s32s", data, APP_DESC_OFFSET)
    assert magic == APP_DESC_MAGIC
    assert version.rstrip(b"\0") == b"2.4.1-rc.1"
    assert project.rstrip(b"\0") == b"backstay-camera"


@pytest.mark.parametrize("behaviour", [Behaviour.SOUND, *Behaviour])
def test_firmware_records_its_behaviour_once(tmp_path: Path, behaviour: Behaviour) -> None:
    data = build_firmware("1.0.0", behaviour, tmp_path / "image.bin").read_bytes()
    assert data.count(b"BSTY") == 1
    at = data.index(b"BSTY")
    assert tuple(data[at + 4 : at + 6]) == (1, behaviour)


def test_esptool_describes_the_image_when_it_is_sound(tmp_path: Path) -> None:
    text = check_image(build_firmware("1.0.0", Behaviour.SOUND, tmp_path / "image.bin"))
    assert "Project name: backstay-camera" in text
    assert "App version: 1.0.0" in text


def test_check_image_refuses_when_one_bit_is_flipped(tmp_path: Path) -> None:
    image = build_firmware("1.0.0", Behaviour.SOUND, tmp_path / "image.bin")
    data = bytearray(image.read_bytes())
    data[0x124] ^= 1
    image.write_bytes(data)
    with pytest.raises(FirmwareBuildFailed, match="valid"):
        check_image(image)


@pytest.mark.parametrize("version", ["", "1.0.0" + "0" * 32, '1"; rm'])
def test_build_firmware_refuses_when_the_version_does_not_fit(tmp_path: Path, version: str) -> None:
    with pytest.raises(FirmwareBuildFailed, match="version field"):
        build_firmware(version, Behaviour.SOUND, tmp_path / "image.bin")
