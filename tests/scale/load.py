"""Asks one server as many devices would, over a few connections kept open: `python -m tests.scale.load < plan.json`.

It is a process of its own, so that what it costs is not counted as the server's. The plan names the requests; they are
sent in order, each connection taking the next. What comes out is JSON: statuses, seconds, and latencies.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any


@dataclass(slots=True)
class Told:
    """What the server answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)


def request(asked: dict[str, Any]) -> bytes:
    """One request on the wire."""
    body = str(asked.get("body", "")).encode()
    headers = {"Host": "bridge", **asked.get("headers", {})}
    if body:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{asked['method']} {asked['path']} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, "", "")).encode() + body


async def take_body(reader: asyncio.StreamReader, head: bytes) -> None:
    """Read what belongs to an answer, whole or in chunks."""
    if (at := head.find(b"content-length:")) >= 0:
        if length := int(head[at + 15 : head.index(b"\r\n", at)]):
            await reader.readexactly(length)
    elif b"transfer-encoding: chunked" in head:
        while length := int(await reader.readline(), 16):
            await reader.readexactly(length + 2)
        await reader.readline()


async def connection(host: str, port: int, requests: Iterator[bytes], told: Told) -> None:
    """Send what is left, one after the other."""
    reader, writer = await asyncio.open_connection(host, port)
    for raw in requests:
        began = perf_counter()
        writer.write(raw)
        head = await reader.readuntil(b"\r\n\r\n")
        await take_body(reader, head.lower())
        told.latencies.append(perf_counter() - began)
        told.statuses[int(head[9:12])] += 1
    writer.close()


async def play(plan: dict[str, Any]) -> dict[str, Any]:
    """Send every request of the plan as often as it says."""
    raw = [request(asked) for asked in plan["requests"]]
    every = (one for _ in range(plan.get("rounds", 1)) for one in raw)
    told = Told()
    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(plan.get("connections", 32)):
            group.create_task(connection(plan["host"], plan["port"], every, told))
    latencies = sorted(told.latencies)
    return {
        "seconds": perf_counter() - began,
        "statuses": told.statuses,
        "median_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[len(latencies) * 99 // 100],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(play(json.load(sys.stdin)))))
