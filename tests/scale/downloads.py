"""What downloads cost a bridge, beside nginx with the same file."""

import hashlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import aiohttp

from backstay.adapters.kube.client import KubeClient
from backstay.core.planes import Plane
from backstay.sandbox import Sandbox
from tests.scale.nginx import nginx
from tests.scale.serving import CONNECTIONS, Json, Server, Throughput, played
from tests.scale.tenant import NAMESPACE, NAMESPACES, Fleet, bridge, pushed, until_offered

SIZE_BYTES: Final = 64 * 1024**2
ROUNDS: Final = 6
"""Files over each connection."""
TURNS: Final = 3
"""How often each server has its turn, so that a busy moment of the machine is not held against one of them."""
MIB: Final = 1024**2


async def throughputs(sandbox: Sandbox) -> AsyncIterator[Throughput]:
    """The bridge and nginx, with the same bytes, over as many connections."""
    async with KubeClient.connect(sandbox.kubeconfig) as kube:
        fleet = Fleet(kube, CONNECTIONS)
        await fleet.create(sandbox)
        with TemporaryDirectory(prefix="backstay-bench-") as name:
            directory = Path(name)
            file, sha256 = _file(directory)
            artifact = await pushed(sandbox, directory, Plane.MODEL, file)
            async with bridge(sandbox, directory) as ours, nginx(directory, directory) as theirs:
                await fleet.order(artifact, Plane.MODEL)
                await until_offered(ours, fleet)
                of_bridge = await _links(ours, fleet)
                of_nginx = [{"path": f"/{file.name}"}] * CONNECTIONS
                bests = [Throughput(what, CONNECTIONS, 0, 0) for what in ("nginx", "a bridge")]
                for _ in range(TURNS):
                    turns = ((theirs, of_nginx), (ours, of_bridge))
                    bests = [
                        await _better(best, server, asked, sha256)
                        for best, (server, asked) in zip(bests, turns, strict=True)
                    ]
        await kube.delete(NAMESPACES, NAMESPACE)
    for best in bests:
        yield best


def _file(directory: Path) -> tuple[Path, str]:
    file, content = directory / "model.bin", secrets.token_bytes(SIZE_BYTES)
    file.write_bytes(content)
    return file, hashlib.sha256(content).hexdigest()


async def _better(best: Throughput, server: Server, requests: list[Json], sha256: str) -> Throughput:
    """The better of what was measured before and what is now, each figure by itself."""
    # Twice: what is only checked is not counted.
    await played("tests.scale.fetch", server, {"requests": requests[:1], "rounds": 1, "sha256": sha256})
    before = server.cpu_seconds()
    told = await played("tests.scale.fetch", server, {"requests": requests, "rounds": ROUNDS})
    sent, used = told["bytes"] / MIB, server.cpu_seconds() - before
    return Throughput(
        best.what,
        len(requests),
        max(best.per_cpu_second, sent / used),
        max(best.per_second, sent / told["seconds"]),
    )


async def _links(server: Server, fleet: Fleet) -> list[Json]:
    """Where each device fetches its file, as its deployment tells it."""
    found = []
    async with aiohttp.ClientSession(f"http://{server.host}:{server.port}") as session:
        for asked in fleet.asked("GET", "/deploymentBase/1"):
            async with session.get(asked["path"], headers=asked["headers"]) as response:
                (chunk,) = (await response.json())["deployment"]["chunks"]
            href = chunk["artifacts"][0]["_links"]["download-http"]["href"]
            found.append(asked | {"path": href.removeprefix(f"http://{server.host}:{server.port}")})
    return found
