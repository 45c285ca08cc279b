"""Programs built once from a Go module beside this file, and cached outside the checkout.

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
from dataclasses import dataclass
from pathlib import Path

from backstay.errors import Refused
from backstay.sandbox.command import CommandFailed, run_watched
from backstay.sandbox.golang import ENVIRONMENT, Go, cache_home, find_go
from backstay.sandbox.progress import Progress, Report


@dataclass(frozen=True, slots=True)
class GoModule:
    """A module whose `tool` block names the programs to build."""

    title: str
    """What is built, as people call it."""
    directory: Path
    programs: tuple[str, ...]
    builder: str
    """The command that builds them, for people who have not."""
    upstream: str
    """The module whose version the programs report …"""
    version_variable: str
    """… and the variable in which they keep it."""
    version_prefix: str = "v"
    """What the version begins with in that variable."""
    sources: tuple[str, ...] = ()
    """Files of ours that are built as well."""
    files: tuple[str, ...] = ()
    """Files of the upstream module that are kept beside the programs, under their last name."""

    @property
    def home(self) -> Path:
        """Where all builds of this module are cached."""
        return cache_home() / self.directory.name

    def built(self) -> Path:
        """The directory of the built programs.

        Raises `Refused` if they are not built yet.
        """
        binaries = self._cached(find_go())
        if not self._complete(binaries):
            msg = f"{self.title} is not built yet ({binaries} does not hold it): `{self.builder}` builds it"
            raise Refused(msg)
        return binaries

    def build(self, go: Go, report: Report) -> Path:
        """Build the programs unless they are built already, and return their directory.

        Raises `CommandFailed` with the compiler's last words; the whole output is in the log that it names.
        """
        binaries = self._cached(go)
        if not self._complete(binaries):
            self.home.mkdir(parents=True, exist_ok=True)
            with self._one_build_at_a_time(report):
                if not self._complete(binaries):
                    self._build(go, binaries, report)
        return binaries

    def flags(self) -> tuple[str, ...]:
        """What the programs are built with; they report the version that the module requires."""
        wanted = rf"^\s*{re.escape(self.upstream)} (v\S+)"
        required = re.search(wanted, self._text("go.mod"), re.MULTILINE)
        if required is None:
            msg = f"{self.directory / 'go.mod'} does not require {self.upstream}"
            raise CommandFailed(msg)
        version = required[1].replace("v", self.version_prefix, 1)
        return ("-trimpath", "-ldflags", f"-s -w -X {self.version_variable}={version}")

    def _cached(self, go: Go) -> Path:
        """The directory for what exactly these inputs make."""
        settings = (
            go.version,
            *self.flags(),
            *(f"{name}={value}" for name, value in sorted(ENVIRONMENT.items())),
            *self.files,
        )
        names = ("go.mod", "go.sum", *self.sources)
        inputs = [(self.directory / name).read_bytes() for name in names] + [part.encode() for part in settings]
        return self.home / hashlib.sha256(b"\0".join(inputs)).hexdigest()[:16]

    def _complete(self, binaries: Path) -> bool:
        # The directory appears by one rename: if any of it is there, all of it is, unless somebody deleted a part.
        names = (*self.programs, *(Path(file).name for file in self.files))
        return all((binaries / name).exists() for name in names)

    @contextmanager
    def _one_build_at_a_time(self, report: Report) -> Iterator[None]:
        with (self.home / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report(f"another process is building {self.title}: waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _build(self, go: Go, binaries: Path, report: Report) -> None:
        log = binaries.parent / f"{binaries.name}.log"
        target = Path(tempfile.mkdtemp(prefix=f"{binaries.name}.", dir=binaries.parent))
        try:
            fetching = Progress(report, f"fetching the Go modules of {self.title}", self._module_count(), "modules")
            download = (go.program, "mod", "download", "-json")
            run_watched(
                download,
                log,
                fetching,
                is_step=_ends_object,
                cwd=self.directory,
                environment=ENVIRONMENT,
            )
            building = Progress(report, f"building {self.title}, once", self._package_count(go), "packages")
            build = (go.program, "build", "-v", *self.flags(), "-o", str(target), "tool")
            run_watched(
                build,
                log,
                building,
                is_step=_is_package,
                cwd=self.directory,
                environment=ENVIRONMENT,
            )
            self._keep_files(go, target)
            target.chmod(0o755)
            shutil.rmtree(binaries, ignore_errors=True)
            target.rename(binaries)
        finally:
            shutil.rmtree(target, ignore_errors=True)

    def _keep_files(self, go: Go, target: Path) -> None:
        if self.files:
            module = Path(self._ask(go, "list", "-m", "-f", "{{.Dir}}", self.upstream).strip())
            for file in self.files:
                # The cache of modules is read-only, and so would be what keeps its mode.
                shutil.copyfile(module / file, target / Path(file).name)

    def _module_count(self) -> int:
        return len(re.findall(r"^\S+ v[^/\s]+ h1:", self._text("go.sum"), re.MULTILINE))

    def _package_count(self, go: Go) -> int:
        return len(self._ask(go, "list", "-deps", "tool").split())

    def _ask(self, go: Go, *arguments: str) -> str:
        """What `go` prints of this module, which is nothing where it fails."""
        asked = subprocess.run(
            (go.program, *arguments),
            cwd=self.directory,
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout

    def _text(self, name: str) -> str:
        return (self.directory / name).read_text(encoding="utf-8")


def _ends_object(line: str) -> bool:
    """Whether a line of `go mod download -json` ends the report on one module."""
    return line.rstrip("\n") == "}"


def _is_package(line: str) -> bool:
    """Whether a line of `go build -v` names a package that is now being compiled."""
    return re.fullmatch(r"[\w./~-]+\n", line) is not None
