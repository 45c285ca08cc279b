"""The control groups of nodes: the one thing that outlives its processes, and so has to be cleared away.

A node's groups lie below one directory of the same name in every hierarchy, with the first process of the node's
machine in `machine` there. So a node is gone exactly when none of its groups holds a process.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "backstay-node-"
MACHINE = "machine"
# Between its making and its first process a group looks like one whose node is gone.
YOUNG_SECONDS = 30.0


def hierarchies(root: Path = ROOT) -> tuple[Path, ...]:
    """The top of every hierarchy: one with version 2, one for each controller with version 1."""
    if (root / "cgroup.controllers").exists():
        return (root,)
    mounted = (path for path in sorted(root.iterdir()) if not path.is_symlink())
    return tuple(path for path in mounted if (path / "cgroup.procs").exists())


def create(name: str, pid: int, root: Path = ROOT) -> None:
    """Make the groups of a node, with one process in them that lives as long as the node.

    Raises `OSError` if this user may not.
    """
    remove(name, root)
    for top in hierarchies(root):
        (top / name / MACHINE).mkdir(parents=True, exist_ok=True)
        for group in (top / name, top / name / MACHINE):
            _inherit_cpus(group)
        (top / name / MACHINE / "cgroup.procs").write_text(str(pid), encoding="ascii")


def remove(name: str, root: Path = ROOT) -> None:
    """Remove the groups of a node whose processes have ended; a group that is still used stays."""
    for top in hierarchies(root):
        for group in _deepest_first(top / name):
            with contextlib.suppress(OSError):
                group.rmdir()


def remove_orphans(root: Path = ROOT) -> None:
    """Remove the groups of nodes whose every process was killed before anybody could tidy up."""
    if not root.is_dir():
        return
    names = {path.name for top in hierarchies(root) for path in top.glob(f"{PREFIX}*")}
    for name in names:
        tops = [top / name for top in hierarchies(root) if (top / name).exists()]
        if not any(map(_is_young, tops)) and not any(map(_populated, tops)):
            remove(name, root)


def _inherit_cpus(group: Path) -> None:
    # With version 1 a new group has no processors and takes no process until it is given some.
    for name in ("cpuset.cpus", "cpuset.mems"):
        inherited = group.parent / name
        if (group / name).exists() and inherited.exists():
            (group / name).write_text(inherited.read_text(encoding="ascii"), encoding="ascii")


def _deepest_first(top: Path) -> Iterator[Path]:
    for directory, _, _ in os.walk(top, topdown=False):
        yield Path(directory)


def _populated(top: Path) -> bool:
    return any(map(_has_process, _deepest_first(top)))


def _has_process(group: Path) -> bool:
    try:
        return bool((group / "cgroup.procs").read_text(encoding="ascii"))
    except FileNotFoundError:
        # Somebody else has just removed it.
        return False


def _is_young(top: Path) -> bool:
    with contextlib.suppress(OSError):
        return time.time() - top.stat().st_mtime < YOUNG_SECONDS
    return False
