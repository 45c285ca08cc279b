"""Everything that the two commands of the README need: run by make with the machine's own Python.

    Debian packages → the virtual environment → Go → Kubernetes → helm for the demo, and for tests also the rest

Each step looks first whether there is anything to do, and says nothing if there is not. Only the standard library is
at hand here.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is where older ones are turned away
    sys.exit("error: Backstay needs Python 3.11 or later; `make PYTHON=… …` takes another than python3")

import fcntl
import hashlib
import importlib.util
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from enum import StrEnum
from pathlib import Path

from backstay.errors import BackstayError
from backstay.sandbox import packages
from backstay.sandbox.build import ARGO_CD, ARGO_CD_WHOLE, COSIGN, HELM, KUBERNETES
from backstay.sandbox.command import run_watched
from backstay.sandbox.go_module import GoModule
from backstay.sandbox.golang import install_go
from backstay.sandbox.progress import Progress, Report, report_to_terminal

ROOT = Path(__file__).parents[3]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
LOGS = ROOT / "build" / "setup"
INTERRUPTED = 130


class Purpose(StrEnum):
    """What is to be done beyond what everything needs, as make asks for it."""

    DEMO = "--for-demo"
    TESTS = "--for-tests"
    ARGO_CD = "--for-argo-cd"
    BENCHMARKS = "--for-benchmarks"


Purposes = AbstractSet[Purpose]


def prepare(report: Report, purposes: Purposes) -> None:
    """Make everything ready, or do nothing if it is; also what only these purposes need.

    Raises `BackstayError` if something has to be done by hand first, or fails.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "lock").open("w") as lock:
        # Two runs at once would install over each other.
        fcntl.flock(lock, fcntl.LOCK_EX)
        packages.install(_packages(purposes), LOGS / "apt.log", report)
        _install_environment(report)
        go = install_go(PYTHON, report)
        for module in _modules(purposes):
            module.build(go, report)


def _installs(purposes: Purposes) -> bool:
    """Whether helm installs anything: in the demo only for root, who alone can make the nodes that it takes."""
    return Purpose.TESTS in purposes or (Purpose.DEMO in purposes and os.geteuid() == 0)


def _modules(purposes: Purposes) -> Iterator[GoModule]:
    yield KUBERNETES
    if _installs(purposes):
        yield HELM
    if Purpose.TESTS in purposes:
        yield from (COSIGN, ARGO_CD)
    if Purpose.ARGO_CD in purposes:
        yield ARGO_CD_WHOLE


def _packages(purposes: Purposes) -> tuple[str, ...]:
    # Debian packs this part of Python by itself.
    venv = () if PYTHON.exists() or importlib.util.find_spec("ensurepip") else ("python3-venv",)
    wanted = {
        **(packages.SHOWN if _installs(purposes) else {}),
        **(packages.TESTED if Purpose.TESTS in purposes else {}),
        # Only root can make the machine's image; for anybody else these tests are skipped.
        **(packages.MACHINE if Purpose.TESTS in purposes and os.geteuid() == 0 else {}),
        **(packages.ARGO_CD if Purpose.ARGO_CD in purposes else {}),
        **(packages.COMPARED if Purpose.BENCHMARKS in purposes else {}),
    }
    return (*venv, *packages.missing(), *packages.missing(wanted))


def _install_environment(report: Report) -> None:
    stamp = VENV / "backstay-setup"
    key = _environment_key()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == key and PYTHON.exists():
        return
    if not PYTHON.exists():
        making = Progress(report, "making the virtual environment .venv")
        run_watched((sys.executable, "-m", "venv", "--clear", str(VENV)), LOGS / "venv.log", making)
    stamp.unlink(missing_ok=True)
    pip = (str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input")
    locked = sum("==" in line for line in LOCK.read_text(encoding="utf-8").splitlines())
    installing = Progress(report, "installing Python packages", locked, "packages")
    run_watched((*pip, "--require-hashes", "-r", str(LOCK)), LOGS / "pip.log", installing, is_step=_is_package)
    ourselves = ("--no-index", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    run_watched((*pip, *ourselves), LOGS / "pip-backstay.log", Progress(report, "installing Backstay itself"))
    stamp.write_text(key, encoding="utf-8")


def _environment_key() -> str:
    """Changes with everything that the virtual environment is made from."""
    inputs = (LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), str(ROOT).encode(), sys.version.encode())
    return hashlib.sha256(b"\0".join(inputs)).hexdigest()


def _is_package(line: str) -> bool:
    """Whether a line of pip's tells of one more package."""
    return line.startswith(("Collecting ", "Requirement already satisfied: "))


def main() -> int:
    """Run the set-up; a failure is one clear message."""
    try:
        prepare(report_to_terminal, {Purpose(asked) for asked in sys.argv[1:]})
    except BackstayError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
