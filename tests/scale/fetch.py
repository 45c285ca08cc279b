"""Fetches one file over many connections at once: `python -m tests.scale.fetch < plan.json`.

A thread for each connection, because receiving into one buffer lets go of the interpreter's lock: the load must not be
what is measured. Each file is counted to its last byte; with a hash in the plan, one is fetched and hashed
before the clock runs.
"""

import hashlib
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, Final

BUFFER_BYTES: Final = 1024 * 1024
SILENCE_SECONDS: Final = 60.0


def fetched(connection: socket.socket, raw: bytes, buffer: memoryview, sha256: str | None) -> int:
    """Ask for a file and take it all; how many bytes it had."""
    content = hashlib.sha256()
    connection.sendall(raw)
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(4096)
    head, _, first = head.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise AssertionError(head.decode())
    at = head.lower().index(b"content-length:")
    length = left = int(head[at + 15 :].split(b"\r\n", 1)[0])
    left -= len(first)
    content.update(first)
    while left:
        if not (count := connection.recv_into(buffer[: min(left, BUFFER_BYTES)])):
            raise AssertionError(f"the server ended with {left} bytes to go")
        left -= count
        if sha256:
            content.update(buffer[:count])
    if sha256 and content.hexdigest() != sha256:
        raise AssertionError("the file has other bytes")
    return length


def all_fetched(plan: dict[str, Any], asked: dict[str, Any], rounds: int, sha256: str | None = None) -> int:
    """Fetch a file some times over one connection; how many bytes that were."""
    headers = {"Host": "bridge", **asked.get("headers", {})}
    lines = [f"GET {asked['path']} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    raw = "\r\n".join((*lines, "", "")).encode()
    buffer = memoryview(bytearray(BUFFER_BYTES))
    with socket.create_connection((plan["host"], plan["port"]), SILENCE_SECONDS) as connection:
        return sum(fetched(connection, raw, buffer, sha256) for _ in range(rounds))


def play(plan: dict[str, Any]) -> dict[str, Any]:
    """Fetch as often as the plan says over each of its connections, which all begin at once."""
    requests = plan["requests"]
    if sha256 := plan.get("sha256"):
        all_fetched(plan, requests[0], 1, sha256)
    began = perf_counter()
    with ThreadPoolExecutor(len(requests)) as threads:
        done = threads.map(lambda asked: all_fetched(plan, asked, plan["rounds"]), requests)
        total = sum(done)
    return {"seconds": perf_counter() - began, "bytes": total}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(play(json.load(sys.stdin))))
