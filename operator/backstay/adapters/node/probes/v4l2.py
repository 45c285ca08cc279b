"""The part of Video4Linux2 that takes one frame from a camera.

Source: Linux, include/uapi/linux/videodev2.h and include/uapi/asm-generic/ioctl.h (64-bit), and
Documentation/userspace-api/media/v4l/mmap.rst for the order of calls.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

U8, U16, U32, S32 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_int32

CAP_VIDEO_CAPTURE: Final = 0x0000_0001
CAP_VIDEO_CAPTURE_MPLANE: Final = 0x0000_1000
CAP_STREAMING: Final = 0x0400_0000
CAP_DEVICE_CAPS: Final = 0x8000_0000
BUF_TYPE_VIDEO_CAPTURE: Final = 1
BUF_TYPE_VIDEO_CAPTURE_MPLANE: Final = 9
MEMORY_MMAP: Final = 1
BUF_FLAG_ERROR: Final = 0x40
MOST_PLANES: Final = 8
BUFFERS: Final = 3
"""Most drivers want two queued before they start, some three."""
DAMAGED_FRAMES: Final = 5
"""So many damaged frames are passed over: the first after the start often are."""

_WRITE, _READ = 1, 2


class Capability(ctypes.Structure):
    """struct v4l2_capability."""

    _fields_: ClassVar = [
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", U32),
        ("capabilities", U32),
        ("device_caps", U32),
        ("reserved", U32 * 3),
    ]


class RequestBuffers(ctypes.Structure):
    """struct v4l2_requestbuffers."""

    _fields_: ClassVar = [
        ("count", U32),
        ("type", U32),
        ("memory", U32),
        ("capabilities", U32),
        ("flags", U8),
        ("reserved", U8 * 3),
    ]


class Timecode(ctypes.Structure):
    """struct v4l2_timecode."""

    _fields_: ClassVar = [
        ("type", U32),
        ("flags", U32),
        ("frames", U8),
        ("seconds", U8),
        ("minutes", U8),
        ("hours", U8),
        ("userbits", U8 * 4),
    ]


class Timeval(ctypes.Structure):
    """struct timeval."""

    _fields_: ClassVar = [("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long)]


class PlaneMemory(ctypes.Union):
    """The union in struct v4l2_plane."""

    _fields_: ClassVar = [("mem_offset", U32), ("userptr", ctypes.c_ulong), ("fd", S32)]


class PlaneBuffer(ctypes.Structure):
    """struct v4l2_plane."""

    _fields_: ClassVar = [
        ("bytesused", U32),
        ("length", U32),
        ("m", PlaneMemory),
        ("data_offset", U32),
        ("reserved", U32 * 11),
    ]


class BufferMemory(ctypes.Union):
    """The union in struct v4l2_buffer."""

    _fields_: ClassVar = [
        ("offset", U32),
        ("userptr", ctypes.c_ulong),
        ("planes", ctypes.POINTER(PlaneBuffer)),
        ("fd", S32),
    ]


class Buffer(ctypes.Structure):
    """struct v4l2_buffer."""

    _fields_: ClassVar = [
        ("index", U32),
        ("type", U32),
        ("bytesused", U32),
        ("flags", U32),
        ("field", U32),
        ("timestamp", Timeval),
        ("timecode", Timecode),
        ("sequence", U32),
        ("memory", U32),
        ("m", BufferMemory),
        ("length", U32),
        ("reserved2", U32),
        ("request_fd", S32),
    ]


def _request(direction: int, number: int, argument: type[ctypes.Structure | ctypes.c_int32]) -> int:
    return direction << 30 | ctypes.sizeof(argument) << 16 | ord("V") << 8 | number


QUERYCAP: Final = _request(_READ, 0, Capability)
REQBUFS: Final = _request(_READ | _WRITE, 8, RequestBuffers)
QUERYBUF: Final = _request(_READ | _WRITE, 9, Buffer)
QBUF: Final = _request(_READ | _WRITE, 15, Buffer)
DQBUF: Final = _request(_READ | _WRITE, 17, Buffer)
STREAMON: Final = _request(_WRITE, 18, ctypes.c_int32)
STREAMOFF: Final = _request(_WRITE, 19, ctypes.c_int32)

Ioctl = Callable[[int, int, "ctypes.Structure | ctypes.c_int32"], object]


class CannotCapture(Exception):
    """The device is no camera that streams; the message says what it is."""


class InUse(Exception):
    """Another program streams from the device now."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: whose it is, and how long."""

    card: str
    driver: str
    size_bytes: int
    sequence: int


def capture_frame(path: Path, timeout_seconds: float, ioctl: Ioctl = fcntl.ioctl) -> Frame:
    """Take one frame that the driver does not call damaged; the device is left as it was found.

    Raises:
        CannotCapture: it is no camera, or gives only damaged or empty frames.
        InUse: another program has the camera.
        TimeoutError: no frame came in time.
        OSError: the device or the driver refused.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        capability = Capability()
        ioctl(descriptor, QUERYCAP, capability)
        kind = _buffer_type(capability)
        with _streaming(descriptor, kind, ioctl):
            size_bytes, sequence = _next_frame(descriptor, kind, timeout_seconds, ioctl)
    finally:
        os.close(descriptor)
    return Frame(
        capability.card.decode(errors="replace"), capability.driver.decode(errors="replace"), size_bytes, sequence
    )


def _buffer_type(capability: Capability) -> int:
    told = capability.capabilities
    able = capability.device_caps if told & CAP_DEVICE_CAPS else told
    card = capability.card.decode(errors="replace")
    if not able & CAP_STREAMING:
        raise CannotCapture(f"{card} does not stream (capabilities {able:#010x})")
    if able & CAP_VIDEO_CAPTURE:
        return BUF_TYPE_VIDEO_CAPTURE
    if able & CAP_VIDEO_CAPTURE_MPLANE:
        return BUF_TYPE_VIDEO_CAPTURE_MPLANE
    raise CannotCapture(f"{card} does not capture video (capabilities {able:#010x})")


@contextmanager
def _streaming(descriptor: int, kind: int, ioctl: Ioctl) -> Iterator[None]:
    with _buffers(descriptor, kind, ioctl) as count:
        for index in range(count):
            buffer = _buffer(kind, index)
            ioctl(descriptor, QBUF, buffer)
        with _claimed():
            ioctl(descriptor, STREAMON, ctypes.c_int32(kind))
        try:
            yield
        finally:
            ioctl(descriptor, STREAMOFF, ctypes.c_int32(kind))


@contextmanager
def _buffers(descriptor: int, kind: int, ioctl: Ioctl) -> Iterator[int]:
    """Let the driver allocate buffers and map them, which some drivers want before they fill any."""
    asked = RequestBuffers(count=BUFFERS, type=kind, memory=MEMORY_MMAP)
    with _claimed():
        ioctl(descriptor, REQBUFS, asked)
    maps: list[mmap.mmap] = []
    try:
        for index in range(asked.count):
            buffer = _buffer(kind, index)
            ioctl(descriptor, QUERYBUF, buffer)
            maps += [
                mmap.mmap(descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)
                for length, offset in _memory(buffer)
            ]
        yield asked.count
    finally:
        for mapped in maps:
            mapped.close()
        ioctl(descriptor, REQBUFS, RequestBuffers(count=0, type=kind, memory=MEMORY_MMAP))


@contextmanager
def _claimed() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise InUse from error
        raise


def _next_frame(descriptor: int, kind: int, timeout_seconds: float, ioctl: Ioctl) -> tuple[int, int]:
    for _ in range(DAMAGED_FRAMES):
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        if not poller.poll(timeout_seconds * 1000):
            raise TimeoutError
        buffer = _buffer(kind, 0)
        ioctl(descriptor, DQBUF, buffer)
        size_bytes = _used_bytes(buffer)
        if size_bytes and not buffer.flags & BUF_FLAG_ERROR:
            return size_bytes, buffer.sequence
        ioctl(descriptor, QBUF, buffer)
    raise CannotCapture(f"gave {DAMAGED_FRAMES} frames, all of them empty or damaged")


def _buffer(kind: int, index: int) -> Buffer:
    buffer = Buffer(index=index, type=kind, memory=MEMORY_MMAP)
    if kind == BUF_TYPE_VIDEO_CAPTURE_MPLANE:
        planes = (PlaneBuffer * MOST_PLANES)()
        buffer.m.planes = ctypes.cast(planes, ctypes.POINTER(PlaneBuffer))
        buffer.length = MOST_PLANES
    return buffer


def _memory(buffer: Buffer) -> list[tuple[int, int]]:
    """The length and offset of each piece of memory of a buffer."""
    if buffer.type == BUF_TYPE_VIDEO_CAPTURE_MPLANE:
        planes = [buffer.m.planes[index] for index in range(buffer.length)]
        return [(plane.length, plane.m.mem_offset) for plane in planes]
    return [(buffer.length, buffer.m.offset)]


def _used_bytes(buffer: Buffer) -> int:
    if buffer.type == BUF_TYPE_VIDEO_CAPTURE_MPLANE:
        return sum(buffer.m.planes[index].bytesused for index in range(buffer.length))
    return int(buffer.bytesused)
