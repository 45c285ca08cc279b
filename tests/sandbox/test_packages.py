from pathlib import Path

import pytest

from backstay.errors import Refused
from backstay.sandbox import packages
from backstay.sandbox.packages import OUR_POLICY, install, missing


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packages, "POLICY", tmp_path / "policy-rc.d")
    return tmp_path / "policy-rc.d"


def test_packages_are_missing_when_their_program_is_not_there():
    assert missing({"coreutils": "ls", "grafana": "no-such-program"}) == ("grafana",)


def test_nothing_is_said_when_nothing_is_missing(tmp_path: Path):
    said: list[str] = []

    install((), tmp_path / "log", said.append)

    assert said == []


def test_command_is_given_when_the_user_is_not_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(Refused) as refusal:
        install(("etcd-server", "gcc-riscv64-unknown-elf"), tmp_path / "log", print)
    commands = [line.strip() for line in str(refusal.value).splitlines() if line.startswith("    ")]
    assert commands == [
        "sudo apt-get update",
        "sudo apt-get install --no-install-recommends etcd-server gcc-riscv64-unknown-elf",
        "sudo systemctl disable --now etcd",
    ]


def test_no_service_is_stopped_when_none_comes_with_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(Refused) as refusal:
        install(("python3-venv",), tmp_path / "log", print)
    assert "systemctl" not in str(refusal.value)


def test_programs_are_named_when_the_machine_is_not_a_debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Refused, match="lacks riscv64-unknown-elf-gcc"):
        install(("gcc-riscv64-unknown-elf",), tmp_path / "log", print)


def test_services_are_known_when_packages_bring_them_for_benchmarks_alone():
    assert packages.COMPARED.keys() <= packages.SERVICES.keys()
    assert not packages.COMPARED.keys() & packages.PROGRAMS.keys()


@pytest.mark.parametrize("earlier", [None, "#!/bin/sh\nexit 0\n"])
def test_policy_of_the_machine_comes_back_when_packages_are_installed(policy: Path, earlier: str | None):
    if earlier is not None:
        policy.write_text(earlier)
        policy.chmod(0o700)

    with packages._services_held_back():
        assert policy.read_text() == OUR_POLICY
        assert policy.stat().st_mode & 0o111

    if earlier is None:
        assert not policy.exists()
    else:
        assert policy.read_text() == earlier
        assert policy.stat().st_mode & 0o777 == 0o700


def test_policy_goes_when_a_killed_set_up_has_left_it(policy: Path):
    policy.write_text(OUR_POLICY)

    with packages._services_held_back():
        pass

    assert not policy.exists()
