"""Entering the kernel's namespaces of another process.

Source: setns(2), namespaces(7)
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)


def enter(namespace: Path) -> None:
    """Move this thread into the namespace that a file of `/proc/PID/ns` names; `pid` counts for children alone.

    Raises `OSError` if it is gone, or this user may not.
    """
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Python has a function of its own for this only from 3.12 on.
        if _LIBC.setns(descriptor, 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(namespace))
    finally:
        os.close(descriptor)


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Be in the network of another process for as long as the block runs; sockets made there stay there."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(Path(f"/proc/{pid}/ns/net"))
        try:
            yield
        finally:
            enter(Path(f"/proc/self/fd/{own}"))
    finally:
        os.close(own)
