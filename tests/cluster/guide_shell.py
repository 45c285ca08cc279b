"""The commands of a guide, run as a reader would run them, against the sandbox and in a test's own namespace."""

import asyncio
import sys
from pathlib import Path

from backstay.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
TENANT = "acme"
"""The namespace that the guides speak of."""


class GuideShell:
    """A shell in the checkout with a kubectl for the sandbox, a backstay that finds it, and other programs."""

    def __init__(self, sandbox: Sandbox, namespace: str, home: Path, *programs: Path) -> None:
        self._namespace = namespace
        kubectl = home / "kubectl"
        kubectl.write_text(f'#!/bin/sh\nexec {sandbox._binaries}/kubectl --kubeconfig {sandbox.kubeconfig} "$@"\n')
        kubectl.chmod(0o755)
        # Without a home kubectl would keep its cache in the working directory.
        path = ":".join(map(str, (home, *programs, Path(sys.executable).parent, "/usr/bin", "/bin")))
        self._environment = {"PATH": path, "HOME": str(home), "KUBECONFIG": str(sandbox.kubeconfig)}

    async def run(self, *commands: str) -> str:
        """Run blocks one after the other, each of which must succeed, and return what the last printed."""
        told = b""
        for block in commands:
            done = await asyncio.create_subprocess_exec(
                *(
                    "sh",
                    "-euc",
                    block.replace(f"-n {TENANT}", f"-n {self._namespace}").replace(
                        f"/{TENANT}/", f"/{self._namespace}/"
                    ),
                ),
                cwd=ROOT,
                env=self._environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            told, _ = await done.communicate()
            assert done.returncode == 0, told.decode()
        return told.decode()
