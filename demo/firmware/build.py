"""Build the camera's firmware images: C by Debian's RISC-V gcc, the image format by Espressif's esptool.

The same version and flags give the same bytes on every machine with the same compiler.

Source: https://docs.espressif.com/projects/esptool/en/latest/esp32c3/advanced-topics/firmware-image-format.html
"""

import re
import shutil
import subprocess
import sys
import tempfile
from enum import IntFlag
from pathlib import Path
from typing import Final

from backstay.errors import BackstayError

SOURCES: Final = Path(__file__).parent
COMPILER: Final = "riscv64-unknown-elf-gcc"
COMPILER_FLAGS: Final = (
    "-march=rv32imc_zicsr",
    "-mabi=ilp32",
    "-nostdlib",
    "-ffreestanding",
    "-Os",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wl,-T,esp32c3.ld",
    "-Wl,--build-id=none",
    "-Wl,--fatal-warnings",
    "-s",
)
ELF_SHA256_OFFSET: Final = "0xb0"
TIMEOUT_SECONDS: Final = 60
_VERSION: Final = re.compile(r"[0-9A-Za-z.+-]{1,31}")


class Behaviour(IntFlag):
    """What a build does wrong on purpose, as its behaviour record says."""

    SOUND = 0
    HANGS_BEFORE_CONFIRM = 1 << 0
    FAILS_CAMERA_PROBE = 1 << 1
    CRASHES_AT_BOOT = 1 << 2


class FirmwareBuildFailed(BackstayError):
    """A tool is missing, or compiling, making or checking the image failed."""


def build_firmware(version: str, flags: Behaviour | int, out: Path) -> Path:
    """Build the image of one version into `out` and return it, once esptool has found its checksum and hash valid.

    Raises:
        FirmwareBuildFailed: a tool is missing or refused its input; the message holds what it said.
    """
    if not _VERSION.fullmatch(version):
        raise FirmwareBuildFailed(f"{version!r} does not fit an ESP image's version field: use at most 31 characters")
    if not shutil.which(COMPILER):
        raise FirmwareBuildFailed(f"{COMPILER} is not installed: run 'apt-get install gcc-riscv64-unknown-elf'")
    with tempfile.TemporaryDirectory(prefix="backstay-firmware-") as directory:
        elf, image = Path(directory, "camera.elf"), Path(directory, "camera.bin")
        _compile(version, Behaviour(flags), elf)
        _esptool("elf2image", "--flash-mode", "dio", "--flash-size", "4MB", "--elf-sha256-offset", ELF_SHA256_OFFSET,
                 "--output", str(image), str(elf))  # fmt: skip
        check_image(image)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, out)
    return out


def check_image(image: Path) -> str:
    """Return esptool's description of an image that it finds valid.

    Raises:
        FirmwareBuildFailed: the checksum or the hash is wrong, or this is no image.
    """
    # Its exit code is 0 for a wrong checksum as well: only the text tells.
    text = _esptool("image-info", str(image))
    for part in ("Checksum", "Validation hash"):
        if not re.search(rf"^{part}: [0-9a-fx]+ \(valid\)", text, re.MULTILINE):
            raise FirmwareBuildFailed(f"esptool does not find the {part.lower()} of {image} valid:\n{text}")
    return text


def _compile(version: str, behaviour: Behaviour, elf: Path) -> None:
    sources = sorted(path.name for path in SOURCES.iterdir() if path.suffix in {".c", ".S"})
    defines = (f'-DBACKSTAY_VERSION="{version}"', f"-DBACKSTAY_FLAGS={int(behaviour)}")
    # Relative names from the source directory: an absolute path would end up in the ELF file and so in its hash.
    _run(COMPILER, *COMPILER_FLAGS, *defines, "-o", str(elf), *sources, cwd=SOURCES)


def _esptool(*arguments: str) -> str:
    return _run(sys.executable, "-m", "esptool", "--chip", "esp32c3", *arguments)


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FirmwareBuildFailed(f"could not run {command[0]}: {error}") from error
    if done.returncode != 0:
        raise FirmwareBuildFailed(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
