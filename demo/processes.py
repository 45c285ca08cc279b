"""The demo's own processes: the operator, a bridge for each gateway, the simulated devices. None is left behind."""

import asyncio
import json
import os
import random
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from backstay.sandbox.ports import RANGE, is_free
from backstay.sandbox.process import Child, Identity, end

GRACE_SECONDS: Final = 5.0
LIST: Final = "processes.json"


class Processes:
    """Children that are ended, last first, when the block ends; with `keep` they go on, and are listed in a file."""

    def __init__(self, directory: Path, *, keep: bool) -> None:
        """Keep logs in `directory / "logs"`."""
        self.logs: Final = directory / "logs"
        self._list = directory / LIST
        self._keep = keep
        self._children: list[Child] = []
        self.logs.mkdir(parents=True, exist_ok=True)

    async def __aenter__(self) -> Self:
        """Begin with none."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        """End them all, unless they are to be kept and nobody has interrupted."""
        is_interrupted = kind is not None and not issubclass(kind, Exception)
        if not self._keep or is_interrupted:
            await self.end()

    def start(self, name: str, *arguments: str) -> Child:
        """Start `backstay …` under a name; all it writes is in the log of that name."""
        return self.run(name, str(Path(sys.executable).with_name("backstay")), *arguments)

    def run(self, name: str, *command: str) -> Child:
        """Start any program under a name; all it writes is in the log of that name."""
        log = self.logs / f"{name}.log"
        log.unlink(missing_ok=True)
        child = Child(name, command, log, environment=os.environ, outlives=self._keep)
        child.start()
        self._children.append(child)
        self._save()
        return child

    def check(self) -> None:
        """Raise `ComponentFailed`, with the end of its log, if one of them has ended."""
        for child in self._children:
            child.check()

    async def stop(self, name: str) -> None:
        """End one of them, which is then no longer missed."""
        child = next(child for child in self._children if child.name == name)
        await child.stop(GRACE_SECONDS)
        self._children.remove(child)
        self._save()

    async def end(self) -> None:
        """End them, the last one first."""
        for child in reversed(self._children):
            await child.stop(GRACE_SECONDS)
        self._children.clear()
        self._list.unlink(missing_ok=True)

    def _save(self) -> None:
        known = [asdict(identity) for child in self._children if (identity := child.identity)]
        self._list.write_text(json.dumps(known), encoding="utf-8")


async def end_earlier(directory: Path) -> bool:
    """End what an earlier demo has kept or lost in this directory, and nothing else; whether there was anything."""
    file = directory / LIST
    if not await asyncio.to_thread(file.exists):
        return False
    known = [Identity(**one) for one in json.loads(file.read_text(encoding="utf-8"))]
    alive = [identity for identity in reversed(known) if identity.alive()]
    for identity in alive:
        await end(identity, GRACE_SECONDS)
    file.unlink()
    return bool(alive)


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended, and what it wrote."""

    status: int | None
    told: str
    complaint: str


async def carried_out(*command: str, cwd: Path, environment: Mapping[str, str] | None = None) -> Done:
    """Run a program to its end, in this environment or in ours; whoever stops waiting for it ends it.

    Raises:
        FileNotFoundError: there is no such program.
    """
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        told, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Done(process.returncode, told.decode(), complaint.decode())


def free_port() -> int:
    """A loopback port that nobody listens on now, outside the range that outgoing connections take."""
    # Not a secret: only spread, so that two demos rarely meet.
    return next(port for port in random.sample(RANGE, len(RANGE)) if is_free(port))
