"""The build around Go; Go itself is played by a small program, because the real one takes minutes."""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.errors import Refused
from backstay.sandbox import golang
from backstay.sandbox.build import COSIGN, HELM, KUBERNETES, cosign_binaries, kubernetes_binaries
from backstay.sandbox.command import CommandFailed
from backstay.sandbox.golang import Go, find_go

GO = """#!/bin/sh
echo "$@" >> {calls}
case "$1" in
env) echo go{version} ;;
list) if [ "$2" = -m ]; then echo {calls}.module; else printf 'a\\nb\\n'; fi ;;
mod) printf '{{\\n}}\\n' ;;
build) {build}
    ;;
esac
"""
BUILD = """
while [ "$1" != -o ]; do shift; done
for program in kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet; do : >"$2/$program"; done
"""


class Machine:
    """A machine with a Go and an empty cache."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.calls = directory / "calls"
        self.said: list[str] = []
        monkeypatch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
        self.install_go("1.26.1")

    def install_go(self, version: str, build: str = BUILD) -> Go:
        program = self.directory / "go"
        program.write_text(GO.format(calls=self.calls, version=version, build=build))
        program.chmod(0o755)
        find_go.cache_clear()
        return Go(str(program), f"go{version}")

    def builds(self) -> int:
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        return sum(call.startswith("build ") for call in calls)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    yield Machine(tmp_path, monkeypatch)
    # What was found on this machine must not outlive it: the next test in this process wants the real Go.
    find_go.cache_clear()


def test_programs_are_built_once_when_nothing_changes(machine: Machine):
    first = KUBERNETES.build(find_go(), machine.said.append)
    second = KUBERNETES.build(find_go(), machine.said.append)

    assert first == second == kubernetes_binaries()
    assert {path.name for path in first.iterdir()} == set(KUBERNETES.programs)
    assert machine.builds() == 1
    assert any(line.startswith("building Kubernetes, once: 2 packages") for line in machine.said)
    assert any("building Kubernetes, once: done in 0:0" in line for line in machine.said)


def test_programs_are_built_anew_when_go_is_another(machine: Machine):
    first = KUBERNETES.build(find_go(), machine.said.append)

    second = KUBERNETES.build(machine.install_go("1.26.2"), machine.said.append)

    assert first != second
    assert machine.builds() == 2


def test_programs_are_not_there_when_the_build_failed(machine: Machine):
    go = machine.install_go("1.26.1", build="echo no space left on device; exit 2")

    with pytest.raises(CommandFailed, match="no space left on device"):
        KUBERNETES.build(go, machine.said.append)

    with pytest.raises(Refused, match="make setup"):
        kubernetes_binaries()
    cached = [path.name for path in (machine.directory / "cache/backstay/kubernetes").iterdir() if path.is_dir()]
    assert cached == []


def test_second_build_waits_and_uses_the_first_when_two_run_at_once(machine: Machine):
    home = machine.directory / "cache/backstay/kubernetes"
    home.mkdir(parents=True)
    program = """
from backstay.sandbox.build import KUBERNETES
from backstay.sandbox.golang import find_go
KUBERNETES.build(find_go(), lambda line: print(line, flush=True))
"""
    with (home / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "another process is building Kubernetes: waiting for it\n"
            assert machine.builds() == 0
            fcntl.flock(lock, fcntl.LOCK_UN)
            second.communicate()

    assert second.returncode == 0
    assert machine.builds() == 1


def test_files_of_the_upstream_module_stand_beside_the_programs_and_a_build_without_them_does_not_count(
    machine: Machine,
):
    upstream = machine.directory / "calls.module"
    upstream.mkdir()
    (upstream / "install.yaml").write_text("kind: Namespace")
    (upstream / "install.yaml").chmod(0o444)
    whole = replace(KUBERNETES, files=("install.yaml",))

    programs = KUBERNETES.build(find_go(), machine.said.append)
    binaries = whole.build(find_go(), machine.said.append)

    assert programs != binaries
    assert (binaries / "install.yaml").read_text() == "kind: Namespace"
    (binaries / "install.yaml").unlink()
    with pytest.raises(Refused, match="make setup"):
        whole.built()


def test_version_is_the_one_that_the_module_requires():
    assert KUBERNETES.flags()[-1].endswith("component-base/version.gitVersion=v1.35.4")
    assert COSIGN.flags()[-1].endswith("release-utils/version.gitVersion=v2.6.5")
    assert HELM.flags()[-1].endswith("helm/v4/internal/version.version=v4.1.4")


def test_programs_name_the_command_that_builds_them_when_they_are_not_built(machine: Machine):
    with pytest.raises(Refused, match=r"Kubernetes is not built yet.*`make setup` builds it"):
        kubernetes_binaries()
    with pytest.raises(Refused, match=r"cosign is not built yet.*`make setup-tests` builds it"):
        cosign_binaries()


def test_programs_are_built_anew_when_a_source_of_ours_changes(machine: Machine, tmp_path: Path):
    ours = tmp_path / "cosign"
    shutil.copytree(COSIGN.directory, ours)
    module = replace(COSIGN, directory=ours)
    before = module._cached(find_go())
    (ours / COSIGN.sources[0]).write_text("package main")
    assert module._cached(find_go()) != before


@pytest.mark.parametrize("version", ["1.19.8", "1.24.9", "0.1"])
def test_go_of_the_machine_is_not_used_when_it_is_too_old(machine: Machine, version: str):
    machine.install_go(version)

    with pytest.raises(Refused, match=r"Go 1\.25 or later.*make setup"):
        find_go()


def test_own_go_is_used_when_the_machine_has_none(machine: Machine):
    (machine.directory / "go").unlink()
    own = golang._own()
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\necho go1.27.3\n")
    own.chmod(0o755)
    find_go.cache_clear()

    assert find_go() == Go(str(own), "go1.27.3")
