"""Compiled modules in a layer: its file system is read-only later, so each start would compile everything again."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from backstay.errors import Refused

VERSION: Final = (3, 11)
# Sixty megabytes of classes, one for each kind of Kubernetes, of which we load none.
SELDOM: Final = re.compile(r"/kubernetes/(?:aio/)?client/(?:api|models)/")


def compile_tree(tree: Path, inside: str) -> None:
    """Compile a tree that will be at `inside`; nothing is done where this Python is another version than the image's.

    Raises `Refused` if something cannot be compiled.
    """
    if sys.version_info[:2] != VERSION:
        return
    # Not by time: files have none in the image. In a process of its own, so that the result is always the same.
    command = (
        *(sys.executable, "-I", "-S", "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"),
        *("-x", SELDOM.pattern, "-s", str(tree), "-p", inside, str(tree)),
    )
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env={"PYTHONHASHSEED": "0"}
    )
    if done.returncode:
        raise Refused(f"{tree} cannot be compiled for the image: {(done.stderr + done.stdout).strip()[-2000:]}")
