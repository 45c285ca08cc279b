"""Control groups, as directories that look like the kernel's."""

import os
import time
from pathlib import Path

import pytest

from backstay.sandbox.node import cgroups

OLD = time.time() - 60


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    """A tree with a hierarchy for each controller, one of them named twice."""
    for name in ("cpu", "cpuset"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.procs").touch()
    (tmp_path / "cpuset" / "cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpu,cpuacct").symlink_to("cpu")
    (tmp_path / "no-hierarchy").mkdir()
    return tmp_path


def group(path: Path, *, processes: str = "", age: float = OLD) -> Path:
    path.mkdir(parents=True)
    # The kernel's files go with their directory; here a file would keep it, so an empty group has none.
    if processes:
        (path / "cgroup.procs").write_text(processes)
    os.utime(path, (age, age))
    return path


def test_hierarchies_are_those_of_the_controllers_when_the_version_is_one(first_version: Path):
    assert cgroups.hierarchies(first_version) == (first_version / "cpu", first_version / "cpuset")


def test_hierarchy_is_the_root_when_the_version_is_two(tmp_path: Path):
    (tmp_path / "cgroup.controllers").touch()

    assert cgroups.hierarchies(tmp_path) == (tmp_path,)


def test_groups_are_made_in_every_hierarchy_with_the_process_in_them(first_version: Path):
    cgroups.create("backstay-node-a", 7, first_version)

    for hierarchy in ("cpu", "cpuset"):
        procs = first_version / hierarchy / "backstay-node-a" / cgroups.MACHINE / "cgroup.procs"
        assert procs.read_text() == "7"


def test_groups_of_a_node_go_when_they_are_removed_and_others_stay(first_version: Path):
    deep = group(first_version / "cpu" / "backstay-node-a" / "kubepods" / "pod1")
    other = group(first_version / "cpu" / "backstay-node-b")

    cgroups.remove("backstay-node-a", first_version)

    assert not deep.parents[1].exists()
    assert other.exists()


def test_group_stays_when_it_is_used(first_version: Path):
    used = group(first_version / "cpu" / "backstay-node-a" / "kubepods", processes="7\n")

    cgroups.remove("backstay-node-a", first_version)

    assert used.exists()


def test_orphans_go_when_no_hierarchy_has_a_process_of_theirs(first_version: Path):
    dead = [group(first_version / hierarchy / "backstay-node-dead") for hierarchy in ("cpu", "cpuset")]
    alive = group(first_version / "cpu" / "backstay-node-alive")
    first = group(first_version / "cpuset" / "backstay-node-alive" / "machine", processes="7\n")
    os.utime(first.parent, (OLD, OLD))

    cgroups.remove_orphans(first_version)

    assert alive.exists()
    assert first.exists()
    assert not any(path.exists() for path in dead)


def test_orphan_stays_when_it_may_just_have_been_made(first_version: Path):
    young = group(first_version / "cpu" / "backstay-node-young", age=time.time())

    cgroups.remove_orphans(first_version)

    assert young.exists()


def test_nothing_is_done_when_the_machine_has_no_control_groups(tmp_path: Path):
    cgroups.remove_orphans(tmp_path / "absent")
