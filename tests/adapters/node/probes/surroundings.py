"""The node that the probes of these tests look at."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from backstay.adapters.node.probes.registry import build
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.core.device import Probe
from backstay.core.probing import Measurement


def probe(kind: str, **settings: str) -> Probe:
    return Probe(kind.lower(), kind, tuple(settings.items()))


async def measure(
    kind: str, root: Path = Path("/"), *, given: Mapping[str, Any] | None = None, **settings: str
) -> Measurement:
    async with aiohttp.ClientSession() as session:
        return await build(probe(kind, **settings), Surroundings(session, root=root, **(given or {}))).run()


def plant(root: Path, files: Mapping[str, str]) -> Path:
    """Write a tree of files that stands for a machine."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
