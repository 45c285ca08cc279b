"""ServiceHealthy: a systemd unit, or a process, works, and has for long enough not to be crashing again and again.

A unit is judged by the processes in its control group, which systemd names after it, so no bus is needed.

Source: systemd, docs/CGROUP_DELEGATION.md (a unit's group is SLICE/UNIT); Linux, admin-guide/cgroup-v2.rst
(`cgroup.procs` lists the processes, one number a line). In the hybrid and legacy layouts the tree is below `systemd`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from backstay.adapters.node.probes.probe import FileProbe, Finding, amiss, fine
from backstay.adapters.node.probes.processes import Process, process_of, processes_named
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.core.device import Probe
from backstay.core.quantities import seconds_of

DEFAULT_UPTIME: Final = "10s"
_BY: Final = ("unit", "process", "pidFile")
_TREES: Final = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")


class ServiceHealthy(FileProbe):
    """The oldest process of the unit, of the name or in the file is at work since `minUptime`."""

    def __init__(self, probe: Probe, surroundings: Surroundings) -> None:
        super().__init__(probe, surroundings)
        found = [(by, value) for by in _BY if (value := probe.setting(by))]
        if len(found) != 1:
            raise ValueError(f"ServiceHealthy needs one of {', '.join(_BY)}, not {len(found)}")
        self._by, self._what = found[0]
        if self._by == "unit" and "/" in self._what:
            raise ValueError(f"unit of ServiceHealthy: {self._what!r} is no unit's name")
        self._uptime_seconds = self.read("minUptime", seconds_of, DEFAULT_UPTIME)

    def examine(self) -> Finding:
        """Look for its processes."""
        found = sorted(self._processes(), key=lambda process: -process.age_seconds)
        works = [process for process in found if process.works]
        if not works:
            seen = f"; {found[0].name} ({found[0].pid}) is in state {found[0].state}" if found else ""
            return amiss("NotRunning", f"{self._by} {self._what} has no process at work{seen}")
        oldest = works[0]
        detail = f"{self._by} {self._what}: {oldest.name} ({oldest.pid}) runs for {oldest.age_seconds:.0f} s"
        if oldest.age_seconds >= self._uptime_seconds:
            return fine(detail)
        return amiss("JustStarted", f"{detail}, at least {self._uptime_seconds:g} s wanted")

    def _processes(self) -> Iterable[Process]:
        proc = self.surroundings.at("/proc")
        match self._by:
            case "process":
                return processes_named(proc, self._what)
            case "pidFile":
                return _numbered(proc, self.surroundings.at(self._what))
            case _:
                groups = [group for tree in _TREES for group in self._groups(self.surroundings.at(tree))]
                return (process for group in groups[:1] for process in _numbered(proc, *_lists(group)))

    def _groups(self, tree: Path) -> Iterator[Path]:
        """A unit's group: in a slice, or in a slice of that slice where it is one of several of a template."""
        for pattern in ("*.slice", "*.slice/*.slice"):
            yield from (slice_ / self._what for slice_ in sorted(tree.glob(pattern)) if (slice_ / self._what).is_dir())


def _lists(group: Path) -> list[Path]:
    """The unit's own list of processes, and those of the groups that it made below."""
    return sorted(group.rglob("cgroup.procs"))


def _numbered(proc: Path, *lists: Path) -> Iterator[Process]:
    for path in lists:
        text = path.read_text(encoding="ascii") if path.exists() else ""
        for word in text.split():
            if word.isdecimal() and (process := process_of(proc, int(word))) is not None:
                yield process
