"""kubectl, as the sandbox built it."""

import asyncio
import os
from pathlib import Path

from backstay.errors import (
    BackstayError,
    Conflict,
    Forbidden,
    NotFound,
    Refused,
    Unavailable,
)

SECONDS = 60.0

# The words by which kubectl's stderr tells its failures apart; its status is 1 for all of them.
KINDS: tuple[tuple[str, type[BackstayError]], ...] = (
    ("(NotFound)", NotFound),
    ("(Forbidden)", Forbidden),
    ("(Conflict)", Conflict),
    ("(AlreadyExists)", Conflict),
    ("Unable to connect", Unavailable),
    ("was refused", Unavailable),
    ("deadline exceeded", Unavailable),
    ("i/o timeout", Unavailable),
    ("(ServiceUnavailable)", Unavailable),
)


class Kubectl:
    """Runs kubectl with one kubeconfig and a discovery cache of its own."""

    def __init__(self, program: Path, kubeconfig: Path, cache: Path) -> None:
        """Use `program`. A cache shared between sandboxes would mix up clusters that had the same port in turn."""
        self.program = program
        self.kubeconfig = kubeconfig
        self._cache = cache

    async def run(self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """Run kubectl and return what it printed.

        Raises `Unavailable`, `NotFound`, `Forbidden`, `Conflict` or `Refused` with kubectl's own words.
        """
        process = await asyncio.create_subprocess_exec(
            self.program,
            f"--kubeconfig={kubeconfig or self.kubeconfig}",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "KUBECACHEDIR": str(self._cache)},
        )
        try:
            async with asyncio.timeout(SECONDS):
                stdout, stderr = await process.communicate(None if stdin is None else stdin.encode())
        except TimeoutError as error:
            msg = f"kubectl {' '.join(arguments)} did not end within {SECONDS:.0f} s"
            raise Unavailable(msg) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise _error(arguments, stderr.decode(errors="replace").strip())
        return stdout.decode()


def _error(arguments: tuple[str, ...], words: str) -> BackstayError:
    kind = next((kind for sign, kind in KINDS if sign in words), Refused)
    return kind(f"kubectl {' '.join(arguments)}: {words}")
