"""Where a sandbox keeps its files: what a person may want to read on disk, what must be fast in memory."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from backstay.errors import Refused
from backstay.sandbox.node import cgroups
from backstay.sandbox.node.record import records
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
    lock: int
    """An open file that is locked for as long as this process has the directory."""

    @classmethod
    def create(cls, directory: Path | None) -> "Places":
        """Make the directories of a new sandbox; what an earlier one left in `directory` is cleared away.

        Raises `Refused` if a sandbox is up there.
        """
        discard_orphans()
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix=DATA_PREFIX))
        directory = directory.absolute()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(directory)
        for leftover in ("logs", "configuration", "identities", "nodes"):
            shutil.rmtree(directory / leftover, ignore_errors=True)
            (directory / leftover).mkdir(mode=0o700)
        (directory / "audit.log").unlink(missing_ok=True)
        discard_data(directory)
        places = cls(directory=directory, data=_data_directory(directory / "data"), lock=lock)
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
    def nodes(self) -> Path:
        """A directory for each node: its kubeconfig, the manifests that it runs, what its containers write."""
        return self.directory / "nodes"

    @property
    def targets(self) -> Path:
        """Prometheus' scrape targets, one file for each job."""
        return targets_of(self.directory)

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

    def release(self) -> None:
        """Leave the directory to the processes that go on in it."""
        os.close(self.lock)

    def discard(self, *, everything: bool) -> None:
        """Delete what nobody needs once the components have ended, or `everything`: the logs too."""
        discard_data(self.directory)
        if everything:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.release()


def discard_data(directory: Path) -> None:
    """Delete what the sandbox in `directory` has stored, and what the kernel keeps of its nodes."""
    for record in records(directory):
        cgroups.remove(record.cgroup)
    link = directory / "data"
    if not link.is_symlink():
        shutil.rmtree(link, ignore_errors=True)
        return
    target = link.resolve()
    link.unlink()
    # Only what one of us has made: the link could have been set by anybody who may write there.
    if target.parent == MEMORY and target.name.startswith(DATA_PREFIX):
        shutil.rmtree(target, ignore_errors=True)


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / "lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        taken = (state := State.load(directory)) is not None and state.alive()
    except BlockingIOError:
        taken = True
    if taken:
        os.close(descriptor)
        raise Refused(
            f"a sandbox is up already in {directory}; `backstay sandbox down --directory {directory}` ends it"
        )
    return descriptor


def discard_orphans() -> None:
    """Free what sandboxes hold whose every process was killed before it could tidy up: memory, control groups."""
    cgroups.remove_orphans()
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


def targets_of(directory: Path) -> Path:
    """The scrape targets of the sandbox in `directory`."""
    return directory / "configuration" / "targets"
