"""Cameras. No machine of ours has one, and its kernel has no driver that plays one.

So the layout is compared with what a C compiler makes of the kernel's own header (`v4l2_layout.c`; `v4l2_layout.txt` is
its output for linux-libc-dev 6.1 on a 64-bit machine, made anew where there is a compiler), and the calls are played
against `Driver`, which is constructed from Documentation/userspace-api/media/v4l/mmap.rst and reads the bytes by the
offsets of that file; its memory is mapped for real.
"""

import ctypes
import errno
import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.adapters.node.probes import v4l2
from backstay.adapters.node.probes.v4l2 import CannotCapture, InUse, capture_frame
from tests.adapters.node.probes.surroundings import measure

HERE = Path(__file__).parent
LAYOUT = dict(line.rsplit(" ", 1) for line in (HERE / "v4l2_layout.txt").read_text(encoding="ascii").splitlines())
STRUCTURES = {
    "v4l2_capability": v4l2.Capability,
    "v4l2_requestbuffers": v4l2.RequestBuffers,
    "v4l2_buffer": v4l2.Buffer,
    "v4l2_plane": v4l2.PlaneBuffer,
}
SIZE = 614_400


def ours(name: str) -> int:
    if name.startswith("sizeof "):
        return ctypes.sizeof(STRUCTURES[name.removeprefix("sizeof ")])
    structure, _, field = name.partition(".")
    if field:
        return int(getattr(STRUCTURES[structure], field).offset)
    return int(getattr(v4l2, name.removeprefix("VIDIOC_").removeprefix("V4L2_")))


@pytest.mark.parametrize("name", LAYOUT)
def test_layout_is_that_of_the_kernels_header(name: str) -> None:
    assert ours(name) == int(LAYOUT[name])


def test_layout_is_what_the_compiler_of_this_machine_says(tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not Path("/usr/include/linux/videodev2.h").exists():
        return  # the recorded answers stand for it
    subprocess.run([compiler, HERE / "v4l2_layout.c", "-o", tmp_path / "layout"], check=True)
    told = subprocess.run([tmp_path / "layout"], check=True, capture_output=True, text=True).stdout
    assert told == (HERE / "v4l2_layout.txt").read_text(encoding="ascii")


def at(name: str) -> int:
    return int(LAYOUT[name])


class Driver:
    """A camera's driver, as far as one frame needs it; it wants the calls in the documented order."""

    def __init__(self, *, planes: int = 0, capabilities: int | None = None) -> None:
        self.planes = planes
        kind = at("V4L2_CAP_VIDEO_CAPTURE_MPLANE") if planes else at("V4L2_CAP_VIDEO_CAPTURE")
        self.capabilities = kind | at("V4L2_CAP_STREAMING") if capabilities is None else capabilities
        self.frames = [(SIZE, 0)]
        """Bytes and flags of those to come."""
        self.busy = False
        self.buffers = 0
        self.queued: list[int] = []
        self.streaming = False
        self.calls: list[str] = []

    def ioctl(self, descriptor: int, request: int, argument: object) -> int:
        (name,) = [name for name, number in LAYOUT.items() if name.startswith("VIDIOC") and int(number) == request]
        self.calls.append(name.removeprefix("VIDIOC_"))
        memory = (ctypes.c_char * ctypes.sizeof(argument)).from_buffer(argument)  # type: ignore[arg-type]
        getattr(self, name.removeprefix("VIDIOC_").lower())(memory)
        return 0

    def querycap(self, memory: "ctypes.Array[ctypes.c_char]") -> None:
        struct.pack_into("16s32s", memory, 0, b"rkisp_v7", b"rkisp_mainpath")
        everything = 0xFFFF | at("V4L2_CAP_STREAMING") | at("V4L2_CAP_DEVICE_CAPS")
        struct.pack_into("I", memory, at("v4l2_capability.capabilities"), everything)
        struct.pack_into("I", memory, at("v4l2_capability.device_caps"), self.capabilities)

    def reqbufs(self, memory: "ctypes.Array[ctypes.c_char]") -> None:
        count, kind, how = struct.unpack_from("III", memory, 0)
        assert (kind, how) == (9 if self.planes else 1, at("V4L2_MEMORY_MMAP"))
        if self.busy:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        assert not self.streaming
        self.buffers, self.queued = count, []

    def querybuf(self, memory: "ctypes.Array[ctypes.c_char]") -> None:
        (index,) = struct.unpack_from("I", memory, at("v4l2_buffer.index"))
        assert index < self.buffers
        if not self.planes:
            struct.pack_into("I", memory, at("v4l2_buffer.length"), SIZE)
            struct.pack_into("I", memory, at("v4l2_buffer.m"), index * mmap.PAGESIZE)
            return
        for plane, place in enumerate(self.places(memory)):
            struct.pack_into("I", place, at("v4l2_plane.length"), SIZE)
            struct.pack_into("I", place, at("v4l2_plane.m"), (index * self.planes + plane) * mmap.PAGESIZE)
        struct.pack_into("I", memory, at("v4l2_buffer.length"), self.planes)

    def qbuf(self, memory: "ctypes.Array[ctypes.c_char]") -> None:
        (index,) = struct.unpack_from("I", memory, at("v4l2_buffer.index"))
        assert index not in self.queued
        self.queued.append(index)

    def streamon(self, _memory: object) -> None:
        assert len(self.queued) >= 2
        self.streaming = True

    def dqbuf(self, memory: "ctypes.Array[ctypes.c_char]") -> None:
        assert self.streaming
        size, flags = self.frames.pop(0)
        struct.pack_into("I", memory, at("v4l2_buffer.index"), self.queued.pop(0))
        struct.pack_into("I", memory, at("v4l2_buffer.flags"), flags)
        struct.pack_into("I", memory, at("v4l2_buffer.sequence"), 7)
        if not self.planes:
            struct.pack_into("I", memory, at("v4l2_buffer.bytesused"), size)
            return
        for place in self.places(memory):
            struct.pack_into("I", place, at("v4l2_plane.bytesused"), size)
        struct.pack_into("I", memory, at("v4l2_buffer.length"), self.planes)

    def streamoff(self, _memory: object) -> None:
        self.streaming, self.queued = False, []

    def places(self, memory: "ctypes.Array[ctypes.c_char]") -> "Iterator[ctypes.Array[ctypes.c_char]]":
        """The planes that the buffer points to, as the kernel would follow the pointer."""
        (address,) = struct.unpack_from("Q", memory, at("v4l2_buffer.m"))
        (length,) = struct.unpack_from("I", memory, at("v4l2_buffer.length"))
        assert length >= self.planes
        size = at("sizeof v4l2_plane")
        for plane in range(self.planes):
            yield (ctypes.c_char * size).from_address(address + plane * size)


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A file that can be opened and mapped; a file is always ready to read."""
    path = tmp_path / "dev" / "video0"
    path.parent.mkdir()
    path.write_bytes(b"\0" * (SIZE + 16 * mmap.PAGESIZE))
    return path


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("planes", [0, 1, 2])
def test_frame_is_taken_and_the_camera_left_as_it_was(device: Path, planes: int) -> None:
    driver, before = Driver(planes=planes), open_descriptors()
    frame = capture_frame(device, 1, driver.ioctl)
    assert (frame.card, frame.driver, frame.sequence) == ("rkisp_mainpath", "rkisp_v7", 7)
    assert frame.size_bytes == SIZE * (planes or 1)
    assert driver.calls == [
        *("QUERYCAP", "REQBUFS", "QUERYBUF", "QUERYBUF", "QUERYBUF", "QBUF", "QBUF", "QBUF", "STREAMON", "DQBUF"),
        *("STREAMOFF", "REQBUFS"),
    ]
    assert (driver.buffers, driver.streaming) == (0, False)
    assert open_descriptors() == before


def test_frame_that_is_damaged_or_empty_is_passed_over(device: Path) -> None:
    driver = Driver()
    driver.frames = [(SIZE, at("V4L2_BUF_FLAG_ERROR")), (0, 0), (SIZE, 0)]
    assert capture_frame(device, 1, driver.ioctl).size_bytes == SIZE
    assert driver.calls.count("DQBUF") == 3


def test_camera_fails_when_all_it_gives_is_damaged(device: Path) -> None:
    driver = Driver()
    driver.frames = [(SIZE, at("V4L2_BUF_FLAG_ERROR"))] * 9
    with pytest.raises(CannotCapture, match="gave 5 frames, all of them empty or damaged"):
        capture_frame(device, 1, driver.ioctl)
    assert (driver.buffers, driver.streaming) == (0, False)


def test_camera_is_told_to_be_in_use_when_the_driver_says_busy(device: Path) -> None:
    driver, before = Driver(), open_descriptors()
    driver.busy = True
    with pytest.raises(InUse):
        capture_frame(device, 1, driver.ioctl)
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("capabilities", "said"), [(0x0400_0002, "does not capture video"), (0x0000_0001, "does not stream")]
)
def test_device_is_refused_when_it_is_no_camera(device: Path, capabilities: int, said: str) -> None:
    with pytest.raises(CannotCapture, match=said):
        capture_frame(device, 1, Driver(capabilities=capabilities).ioctl)


async def test_input_fails_when_there_is_no_device() -> None:
    found = await measure("InputPresent", input="camera99")
    assert (found.passed, found.fault) == (False, "NoDevice")
    assert "there is no /dev/video99" in found.detail


async def test_input_fails_when_the_kernel_says_that_it_is_no_camera() -> None:
    # /dev/null is a real device whose driver knows no such call.
    found = await measure("InputPresent", input="null")
    assert (found.passed, found.fault) == (False, "OSError")
    assert "Inappropriate ioctl for device" in found.detail


async def test_input_passes_when_a_frame_comes(device: Path) -> None:
    given = {"inputs": {"camera0": device.name}, "ioctl": Driver().ioctl}
    found = await measure("InputPresent", device.parent.parent, given=given, input="camera0")
    assert found.passed
    assert found.detail == "camera0: a frame of 600.0 KiB from rkisp_mainpath (driver rkisp_v7)"


async def test_input_passes_when_another_program_has_the_camera(device: Path) -> None:
    driver = Driver()
    driver.busy = True
    found = await measure("InputPresent", device.parent.parent, given={"ioctl": driver.ioctl}, input=device.name)
    assert (found.passed, found.detail) == (True, "video0: /dev/video0 streams to another program")


async def test_input_may_not_lead_out_of_the_devices() -> None:
    with pytest.raises(ValueError, match="leads out of /dev"):
        await measure("InputPresent", input="v4l/../../etc/passwd")
