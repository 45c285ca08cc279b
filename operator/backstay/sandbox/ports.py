"""Free loopback ports."""

import random
import socket
from dataclasses import fields

from backstay.errors import Unavailable
from backstay.sandbox.components import Ports

# Below the range from which the kernel takes the near end of outgoing connections, so that a component which is stopped
# for a while finds its port free when it comes back.
RANGE = range(20_000, 32_000)
ATTEMPTS = 200


def free_ports() -> Ports:
    """Pick a port for every listener; a port may still be taken before its listener opens it."""
    chosen: set[int] = set()
    for _ in range(ATTEMPTS):
        if len(chosen) == len(fields(Ports)):
            return Ports(*chosen)
        # Not a secret: only spread, so that two sandboxes that start together rarely meet.
        port = random.choice(RANGE)  # noqa: S311
        if is_free(port):
            chosen.add(port)
    msg = f"no free ports on 127.0.0.1 between {RANGE.start} and {RANGE.stop}: end some of the servers there"
    raise Unavailable(msg)


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
