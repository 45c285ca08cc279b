"""kind makes a cluster for a sandbox, and deletes it.

There is no Docker here: programs in the place of both write down what they are asked.
"""

import os
from pathlib import Path

import pytest

from backstay.errors import Refused
from backstay.sandbox import kind
from backstay.sandbox.process import ComponentFailed


def placed(directory: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> Path:
    """Put shell scripts into the PATH, before everything else, and give the file that they write to."""
    asked = directory / "asked"
    binaries = directory / "bin"
    binaries.mkdir()
    for name, body in programs.items():
        script = binaries / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> {asked}\n{body}\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return asked


def test_cluster_is_made_used_and_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = placed(tmp_path, monkeypatch, docker="", kind='[ "$1" = delete ] || echo made > "$6"')
    home = tmp_path / "sandbox"

    kubeconfig = kind.create(home, print)
    assert kubeconfig.read_text() == "made\n"
    (told, created) = asked.read_text().splitlines()
    name = (home / "kind-cluster").read_text().strip()
    assert told == "docker info"
    assert created == f"kind create cluster --name {name} --kubeconfig {kubeconfig} --wait 180s"

    kind.delete(home, print)
    assert asked.read_text().splitlines()[-1] == f"kind delete cluster --name {name} --kubeconfig {kubeconfig}"
    assert not kubeconfig.exists()
    kind.delete(home, print)
    assert len(asked.read_text().splitlines()) == 3


def test_each_sandbox_has_a_cluster_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed(tmp_path, monkeypatch, docker="", kind='echo made > "$6"')
    names = {kind.create(tmp_path / home, print).with_name("kind-cluster").read_text() for home in ("a", "b")}
    assert len(names) == 2


def test_kind_is_refused_by_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed(tmp_path, monkeypatch, docker="")
    with pytest.raises(Refused, match="--cluster kind needs kind, not found here: install them, or leave --cluster"):
        kind.create(tmp_path / "sandbox", print)
    assert not (tmp_path / "sandbox").exists()


def test_kind_is_refused_when_docker_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed(tmp_path, monkeypatch, docker="echo Cannot connect to the Docker daemon >&2; exit 1", kind="")
    with pytest.raises(Refused, match=r"(?s)needs Docker, which does not answer.*Cannot connect to the Docker daemon"):
        kind.create(tmp_path / "sandbox", print)


def test_nothing_is_left_when_kind_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails = '[ "$1" = delete ] && exit 0; echo no space left >&2; exit 1'
    asked = placed(tmp_path, monkeypatch, docker="", kind=fails)
    with pytest.raises(ComponentFailed, match="no space left"):
        kind.create(tmp_path / "sandbox", print)
    assert asked.read_text().splitlines()[-1].startswith("kind delete cluster --name backstay-")
    assert not (tmp_path / "sandbox" / "kind-cluster").exists()
