"""Whether a file is an application image that an ESP32's bootloader would accept: magic, segments, checksum, hash.

Source: https://docs.espressif.com/projects/esptool/en/latest/esp32c3/advanced-topics/firmware-image-format.html
"""

import hashlib
import struct
from typing import Final

import numpy as np

MAGIC: Final = 0xE9
HEADER_BYTES: Final = 24
MOST_SEGMENTS: Final = 16
CHECKSUM_SEED: Final = 0xEF
BLOCK_BYTES: Final = 16
HASH_BYTES: Final = 32
_HASH_APPENDED: Final = 23


def fault_in(data: bytes) -> str | None:
    """Say what makes a bootloader refuse the image, or None if nothing does."""
    if len(data) < HEADER_BYTES or data[0] != MAGIC:
        return f"does not begin with the magic byte 0x{MAGIC:02X} of an ESP application image"
    if not 0 < data[1] <= MOST_SEGMENTS:
        return f"has {data[1]} segments, where 1 to {MOST_SEGMENTS} are allowed"
    at, checksum = HEADER_BYTES, CHECKSUM_SEED
    for number in range(data[1]):
        if len(data) < at + 8:
            return f"ends inside the header of segment {number}"
        (size,) = struct.unpack_from("<4xI", data, at)
        segment = data[at + 8 : at + 8 + size]
        if len(segment) < size:
            return f"ends inside segment {number}"
        checksum ^= int(np.bitwise_xor.reduce(np.frombuffer(segment, np.uint8), initial=0))
        at += 8 + size
    return _fault_at_end(data, at, checksum)


def _fault_at_end(data: bytes, at: int, checksum: int) -> str | None:
    # The checksum is the last byte of the block in which the segments end.
    end = at - at % BLOCK_BYTES + BLOCK_BYTES
    if len(data) < end:
        return "ends before its checksum"
    if data[end - 1] != checksum:
        return f"has the checksum 0x{data[end - 1]:02X} where its segments give 0x{checksum:02X}"
    if data[_HASH_APPENDED] and data[end : end + HASH_BYTES] != hashlib.sha256(data[:end]).digest():
        return "has a hash that is not that of its bytes"
    return None
