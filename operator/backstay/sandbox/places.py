"""Where a sandbox keeps its files: what a person may want to read on disk, what must be fast in memory."""

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from backstay.errors import Refused
from backstay.sandbox.state import State

MEMORY = Path("/dev/shm")  # noqa: S108 - our directory in it is made by mkdtemp, for this user alone
MEMORY_NEEDED_BYTES = 2 * 1024**3
DATA_PREFIX = "backstay-sandbox-"


@dataclass(frozen=True, slots=True)
class Places:
    """The directories of one sandbox."""

    directory: Path
    """Logs, kubeconfigs, configuration, the audit log. Stays behind for whoever looks for a fault."""
    data: Path
    """What etcd, Prometheus, Alertmanager and the registry store, and private keys. Gone with the sandbox."""

    @classmethod
    def create(cls, directory: Path | None) -> "Places":
        """Make the directories of a new sandbox; what an earlier one left in `directory` is cleared away.

        Raises `Refused` if a sandbox is up there.
        """
        discard_orphans()
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix=DATA_PREFIX))
        directory = directory.absolute()
        link = directory / "data"
        if (state := State.load(directory)) and state.alive():
            msg = f"a sandbox is up already in {directory}; `backstay sandbox down --directory {directory}` ends it"
            raise Refused(msg)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in ("logs", "configuration", "identities"):
            shutil.rmtree(directory / leftover, ignore_errors=True)
            (directory / leftover).mkdir(mode=0o700)
        (directory / "audit.log").unlink(missing_ok=True)
        discard(link)
        places = cls(directory=directory, data=_data_directory(link))
        for name in ("etcd", "prometheus", "alertmanager", "registry", "api-server"):
            (places.data / name).mkdir()
        return places

    @property
    def logs(self) -> Path:
        """One log for each component."""
        return self.directory / "logs"

    @property
    def configuration(self) -> Path:
        """What the components are configured with."""
        return self.directory / "configuration"

    @property
    def identities(self) -> Path:
        """Kubeconfigs of service accounts."""
        return self.directory / "identities"

    @property
    def targets(self) -> Path:
        """Prometheus' scrape targets, one file for each job."""
        return self.configuration / "targets"

    @property
    def rules(self) -> Path:
        """Prometheus' recording and alerting rules."""
        return self.configuration / "rules"

    @property
    def audit_log(self) -> Path:
        """Every write to our resources, as the API server saw it."""
        return self.directory / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.directory / "kubeconfig"

    def discard_data(self) -> None:
        """Delete everything that nobody needs once the components have ended."""
        discard(self.directory / "data")

    def discard_everything(self) -> None:
        """Delete the logs too."""
        self.discard_data()
        shutil.rmtree(self.directory, ignore_errors=True)


def discard(link: Path) -> None:
    """Delete a data directory, and the link by which its sandbox knew it."""
    if link.is_symlink():
        target = link.resolve()
        link.unlink()
        # Only what one of us has made: the link could have been set by anybody who may write there.
        if target.parent == MEMORY and target.name.startswith(DATA_PREFIX):
            shutil.rmtree(target, ignore_errors=True)
    else:
        shutil.rmtree(link, ignore_errors=True)


def discard_orphans() -> None:
    """Free the memory of sandboxes whose every process was killed before it could tidy up."""
    with contextlib.suppress(FileNotFoundError):
        for data in MEMORY.glob(f"{DATA_PREFIX}*"):
            if data.is_dir() and data.stat().st_uid == os.getuid():
                state = State.of_data(data)
                if state is not None and not state.alive():
                    shutil.rmtree(data, ignore_errors=True)


def _data_directory(link: Path) -> Path:
    """Make `link` a directory in memory where there is room, else a plain one."""
    if os.path.ismount(MEMORY) and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED_BYTES:
        data = Path(tempfile.mkdtemp(prefix=DATA_PREFIX, dir=MEMORY))
        link.symlink_to(data)
        return data
    link.mkdir(mode=0o700)
    return link
