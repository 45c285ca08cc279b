"""The ESP32-C3 application image: what the bootloader verifies, and what the simulator reads of the compiled code.

The layout is a 24-byte header (magic 0xE9), segments (load address, length, data), zeros up to one byte before a
multiple of 16, a checksum byte (0xEF xor every segment byte) and the SHA-256 of everything before it.

What the code would do stands in a record that the demo's firmware carries: `b"BSTY"`, a version byte (1) and a byte of
flags. The machine code itself is not run.

Source: https://docs.espressif.com/projects/esptool/en/latest/esp32c3/advanced-topics/firmware-image-format.html and
esp-idf `esp_app_desc_t` (magic 0xABCD5432, version at offset 16).
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

import numpy as np

from backstay.core.planes import ContentDigest
from backstay.errors import Refused

_MAGIC: Final = 0xE9
_CHIP_ESP32C3: Final = 5
_SEGMENTS_MAX: Final = 16
_HEADER: Final = struct.Struct("<BBBBIB3sHBHH4sB")
_SEGMENT: Final = struct.Struct("<II")
_SHA256_BYTES: Final = 32
_APP_DESC: Final = struct.pack("<I", 0xABCD5432)
_BEHAVIOUR: Final = b"BSTY\x01"


class BadImage(Refused):
    """The bytes are not an image that the bootloader would start."""


class Behaviour(IntFlag):
    """What the compiled code does wrong."""

    NONE = 0
    HANGS = 1
    """It stops feeding the watchdog before it confirms."""
    CAMERA_FAILS = 2
    CRASHES = 4
    """It panics as soon as it starts."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that verified."""

    size: int
    content: ContentDigest
    version: str
    behaviour: Behaviour


def digest_of(data: bytes) -> ContentDigest:
    """Return the content digest of these bytes."""
    return ContentDigest(f"sha256:{hashlib.sha256(data).hexdigest()}")


def verify_image(data: bytes) -> Image:
    """Check an image as the bootloader does and read what it says of itself; bytes after its end are not looked at.

    Raises:
        BadImage: the header, a segment, the checksum or the hash is wrong; says which.
    """
    if len(data) < _HEADER.size or data[0] != _MAGIC:
        raise BadImage(f"no ESP32 image: it starts with {data[:1].hex() or 'nothing'}, not with e9")
    header = _HEADER.unpack_from(data)
    segments, chip, hashed = header[1], header[7], header[-1]
    if chip != _CHIP_ESP32C3:
        raise BadImage(f"the image is for chip id {chip}, this is an ESP32-C3 (5)")
    if not 1 <= segments <= _SEGMENTS_MAX or hashed != 1:
        raise BadImage(f"the image has {segments} segments and its hash flag is {hashed}; 1 to 16 and 1 are needed")
    end, checksum = _walk(data, segments)
    _check_sums(data, end, checksum)
    size = end + _SHA256_BYTES
    return Image(size, digest_of(data[:size]), _version(data[:size]), _behaviour(data[:size]))


def _walk(data: bytes, segments: int) -> tuple[int, int]:
    """Return where the checksum byte ends and what it has to be."""
    at, checksum = _HEADER.size, 0xEF
    for _ in range(segments):
        if at + _SEGMENT.size > len(data):
            raise BadImage(f"the image ends at {len(data)} bytes, inside its segments")
        _, length = _SEGMENT.unpack_from(data, at)
        at += _SEGMENT.size
        if at + length > len(data):
            raise BadImage(f"the image ends at {len(data)} bytes, inside a segment of {length} at {at}")
        checksum ^= int(np.bitwise_xor.reduce(np.frombuffer(data, np.uint8, length, at), initial=0))
        at += length
    return (at + 16) & ~15, checksum


def _check_sums(data: bytes, end: int, checksum: int) -> None:
    if end + _SHA256_BYTES > len(data):
        raise BadImage(f"the image ends at {len(data)} bytes, before its checksum and hash")
    if data[end - 1] != checksum:
        raise BadImage(f"the image's checksum is {data[end - 1]:#04x}, its bytes make {checksum:#04x}")
    if hashlib.sha256(data[:end]).digest() != data[end : end + _SHA256_BYTES]:
        raise BadImage("the image's appended SHA-256 is not that of its bytes")


def _version(image: bytes) -> str:
    at = image.find(_APP_DESC)
    if at < 0:
        raise BadImage("the image carries no esp_app_desc (0xABCD5432), so it has no version")
    return image[at + 16 : at + 48].split(b"\0")[0].decode(errors="replace")


def _behaviour(image: bytes) -> Behaviour:
    at = image.find(_BEHAVIOUR)
    return Behaviour(image[at + 5] & 7) if 0 <= at < len(image) - 5 else Behaviour.NONE
