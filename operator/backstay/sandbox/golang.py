"""The Go toolchain that builds Kubernetes: the machine's where it is new enough, else a pinned one of our own."""

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backstay.errors import Refused
from backstay.sandbox.command import run_watched
from backstay.sandbox.progress import Progress, Report

OLDEST = (1, 25)
LOCK = Path(__file__).parent / "kubernetes" / "requirements-go.lock"

# The same build everywhere: with or without a C compiler, and never a toolchain that go fetches by itself.
ENVIRONMENT: Mapping[str, str] = {
    "CGO_ENABLED": "0",
    "GOTOOLCHAIN": "local",
    "GOWORK": "off",
}


@dataclass(frozen=True, slots=True)
class Go:
    """A toolchain."""

    program: str
    version: str
    """As Go itself writes it, like `go1.26.1`."""


def cache_home() -> Path:
    """Where everything is cached that takes long to make and does not depend on the checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "backstay"


@functools.cache
def find_go() -> Go:
    """The machine's Go if it is new enough, else the one that the set-up has installed.

    Raises `Refused` if there is neither.
    """
    go = _of_the_machine() or _toolchain(_own())
    if go is None:
        oldest = ".".join(map(str, OLDEST))
        msg = f"Kubernetes is built with Go {oldest} or later, and there is none here: `make setup` installs one"
        raise Refused(msg)
    return go


def install_go(python: Path, report: Report) -> Go:
    """Install our own Go if the machine has none that is new enough, and return the one to use.

    `python` is one that has pip.
    """
    if go := _of_the_machine():
        return go
    own = _own()
    if go := _toolchain(own):
        return go
    home = own.parent.parent.parent
    home.parent.mkdir(parents=True, exist_ok=True)
    target = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=home.parent))
    pip = (
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--no-compile",
    )
    try:
        fetching = Progress(report, "fetching Go (the machine has none that is new enough)")
        run_watched(
            (*pip, "--target", str(target), "-r", str(LOCK)),
            home.parent / "pip.log",
            fetching,
        )
        for program in (
            *(target / "go" / "bin").iterdir(),
            *(target / "go" / "pkg" / "tool").glob("*/*"),
        ):
            program.chmod(0o755)
        shutil.rmtree(home, ignore_errors=True)
        target.rename(home)
    finally:
        shutil.rmtree(target, ignore_errors=True)
    find_go.cache_clear()
    return find_go()


def _own() -> Path:
    pinned = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    return cache_home() / "go" / pinned / "go" / "bin" / "go"


def _of_the_machine() -> Go | None:
    program = shutil.which("go")
    go = _toolchain(Path(program)) if program else None
    return go if go and _is_new_enough(go.version) else None


def _toolchain(program: Path) -> Go | None:
    if not program.exists():
        return None
    command = (str(program), "env", "GOVERSION")
    answer = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
    )
    return Go(str(program), answer.stdout.strip()) if answer.returncode == 0 else None


def _is_new_enough(version: str) -> bool:
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= OLDEST
