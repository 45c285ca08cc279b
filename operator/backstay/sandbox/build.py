"""The Kubernetes programs: built once from the Go module beside this file, and cached outside the checkout.

Only the standard library is used here: the set-up runs this before anything is installed.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backstay.errors import Refused
from backstay.sandbox.command import CommandFailed, run_watched
from backstay.sandbox.golang import ENVIRONMENT, Go, cache_home, find_go
from backstay.sandbox.progress import Progress, Report

MODULE = Path(__file__).parent / "kubernetes"
KUBERNETES = "k8s.io/kubernetes"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kubectl")


def kubernetes_binaries() -> Path:
    """The directory of the built programs.

    Raises `Refused` if they are not built yet.
    """
    binaries = _cached(find_go())
    if not _complete(binaries):
        msg = f"the Kubernetes programs are not built yet ({binaries} does not hold them): `make setup` builds them"
        raise Refused(msg)
    return binaries


def build_kubernetes(go: Go, report: Report) -> Path:
    """Build the programs unless they are built already, and return their directory.

    Raises `CommandFailed` with the compiler's last words; the whole output is in the log that it names.
    """
    binaries = _cached(go)
    if not _complete(binaries):
        binaries.parent.mkdir(parents=True, exist_ok=True)
        with _one_build_at_a_time(binaries.parent, report):
            if not _complete(binaries):
                _build(go, binaries, report)
    return binaries


def flags() -> tuple[str, ...]:
    """What the programs are built with; they report the version that the module requires."""
    required = re.search(
        rf"^\s*{re.escape(KUBERNETES)} (v\S+)",
        (MODULE / "go.mod").read_text(),
        re.MULTILINE,
    )
    if required is None:
        msg = f"{MODULE / 'go.mod'} does not require {KUBERNETES}"
        raise CommandFailed(msg)
    return (
        "-trimpath",
        "-ldflags",
        f"-s -w -X k8s.io/component-base/version.gitVersion={required[1]}",
    )


def _cached(go: Go) -> Path:
    """The directory for what exactly these inputs make."""
    settings = (
        go.version,
        *flags(),
        *(f"{name}={value}" for name, value in sorted(ENVIRONMENT.items())),
    )
    inputs = [(MODULE / name).read_bytes() for name in ("go.mod", "go.sum")] + [part.encode() for part in settings]
    return cache_home() / "kubernetes" / hashlib.sha256(b"\0".join(inputs)).hexdigest()[:16]


def _complete(binaries: Path) -> bool:
    # The directory appears by one rename: if any of it is there, all of it is, unless somebody deleted a part.
    return all((binaries / program).exists() for program in PROGRAMS)


@contextmanager
def _one_build_at_a_time(directory: Path, report: Report) -> Iterator[None]:
    with (directory / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is building Kubernetes: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(go: Go, binaries: Path, report: Report) -> None:
    log = binaries.parent / f"{binaries.name}.log"
    target = Path(tempfile.mkdtemp(prefix=f"{binaries.name}.", dir=binaries.parent))
    try:
        fetching = Progress(report, "fetching Kubernetes' Go modules", _module_count(), "modules")
        download = (go.program, "mod", "download", "-json")
        run_watched(
            download,
            log,
            fetching,
            is_step=_ends_object,
            cwd=MODULE,
            environment=ENVIRONMENT,
        )
        building = Progress(report, "building Kubernetes, once", _package_count(go), "packages")
        build = (go.program, "build", "-v", *flags(), "-o", str(target), "tool")
        run_watched(
            build,
            log,
            building,
            is_step=_is_package,
            cwd=MODULE,
            environment=ENVIRONMENT,
        )
        target.chmod(0o755)
        shutil.rmtree(binaries, ignore_errors=True)
        target.rename(binaries)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def _module_count() -> int:
    return len(re.findall(r"^\S+ v[^/\s]+ h1:", (MODULE / "go.sum").read_text(), re.MULTILINE))


def _package_count(go: Go) -> int:
    command = (go.program, "list", "-deps", "tool")
    environment = {**os.environ, **ENVIRONMENT}
    listed = subprocess.run(
        command,
        cwd=MODULE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return len(listed.stdout.split())


def _ends_object(line: str) -> bool:
    """Whether a line of `go mod download -json` ends the report on one module."""
    return line.rstrip("\n") == "}"


def _is_package(line: str) -> bool:
    """Whether a line of `go build -v` names a package that is now being compiled."""
    return re.fullmatch(r"[\w./~-]+\n", line) is not None
