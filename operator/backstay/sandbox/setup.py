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
from pathlib import Path

from backstay.errors import BackstayError
from backstay.sandbox import packages
from backstay.sandbox.build import ARGO_CD, COSIGN, HELM, KUBERNETES
from backstay.sandbox.command import run_watched
from backstay.sandbox.golang import install_go
from backstay.sandbox.progress import Progress, Report, report_to_terminal

ROOT = Path(__file__).parents[3]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
LOGS = ROOT / "build" / "setup"
INTERRUPTED = 130
FOR_DEMO = "--for-demo"
FOR_TESTS = "--for-tests"
FOR_BENCHMARKS = "--for-benchmarks"


def prepare(report: Report, *, for_demo: bool = False, for_tests: bool, for_benchmarks: bool = False) -> None:
    """Make everything ready, or do nothing if it is; also what only the demo, tests or benchmarks need.

    Raises `BackstayError` if something has to be done by hand first, or fails.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "lock").open("w") as lock:
        # Two runs at once would install over each other.
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only root can make nodes, and without nodes nothing is installed on any.
        installs = for_tests or (for_demo and os.geteuid() == 0)
        wanted = _packages(for_demo=installs, for_tests=for_tests, for_benchmarks=for_benchmarks)
        packages.install(wanted, LOGS / "apt.log", report)
        _install_environment(report)
        go = install_go(PYTHON, report)
        for module in (KUBERNETES, *((HELM,) if installs else ()), *((COSIGN, ARGO_CD) if for_tests else ())):
            module.build(go, report)


def _packages(*, for_demo: bool, for_tests: bool, for_benchmarks: bool) -> tuple[str, ...]:
    # Debian packs this part of Python by itself.
    venv = () if PYTHON.exists() or importlib.util.find_spec("ensurepip") else ("python3-venv",)
    shown = packages.missing(packages.SHOWN) if for_demo else ()
    tested = packages.missing(packages.TESTED) if for_tests else ()
    compared = packages.missing(packages.COMPARED) if for_benchmarks else ()
    # Only root can make the machine's image; for anybody else these tests are skipped.
    booted = packages.missing(packages.MACHINE) if for_tests and os.geteuid() == 0 else ()
    return (*venv, *packages.missing(), *shown, *tested, *booted, *compared)


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
        asked = sys.argv[1:]
        prepare(
            report_to_terminal,
            for_demo=FOR_DEMO in asked,
            for_tests=FOR_TESTS in asked,
            for_benchmarks=FOR_BENCHMARKS in asked,
        )
    except BackstayError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
