import stat
from pathlib import Path

import pytest

from backstay.errors import Refused
from backstay.sandbox import places
from backstay.sandbox.endpoint import Endpoint
from backstay.sandbox.places import DATA_PREFIX, Places, discard_data, discard_orphans
from backstay.sandbox.process import Identity
from backstay.sandbox.state import Component, State

NOBODY = Identity(pid=2**22 + 1, started=1)


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(places, "MEMORY", memory)
    monkeypatch.setattr("os.path.ismount", lambda path: path == memory)
    monkeypatch.setattr(places, "MEMORY_NEEDED_BYTES", 0)
    return memory


def state(owner: Identity | None, component: Identity | None = None) -> State:
    return State(
        owner=owner,
        directory="/d",
        kubeconfig="/d/kubeconfig",
        kubectl="/k/kubectl",
        api_url="https://127.0.0.1:1",
        ca="/d/ca.crt",
        prometheus_url="http://127.0.0.1:2",
        alertmanager_url="http://127.0.0.1:3",
        registry="127.0.0.1:4",
        audit_log=None,
        components=(Component("etcd", Endpoint("https://127.0.0.1:5", "/health"), "/d/logs/etcd.log", component),),
        ready=True,
    )


def ourselves() -> Identity:
    found = Identity.of(places.os.getpid())
    assert found is not None
    return found


def test_data_lie_in_memory_when_there_is_room(memory: Path, tmp_path: Path):
    made = Places.create(tmp_path / "sandbox")

    assert made.data.parent == memory
    assert (made.directory / "data").resolve() == made.data
    assert stat.S_IMODE(made.data.stat().st_mode) == 0o700
    made.discard(everything=False)
    assert list(memory.iterdir()) == []
    assert made.logs.is_dir()


def test_data_lie_on_disk_when_memory_is_short(memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places, "MEMORY_NEEDED_BYTES", 2**80)

    made = Places.create(tmp_path / "sandbox")

    assert made.data == tmp_path / "sandbox" / "data"
    assert not made.data.is_symlink()
    made.discard(everything=True)
    assert not made.directory.exists()


def test_directory_is_refused_when_another_has_it(memory: Path, tmp_path: Path):
    first = Places.create(tmp_path / "sandbox")

    with pytest.raises(Refused, match="is up already"):
        Places.create(tmp_path / "sandbox")

    first.discard(everything=False)
    Places.create(tmp_path / "sandbox").discard(everything=True)


def test_directory_is_refused_when_kept_processes_are_in_it(memory: Path, tmp_path: Path):
    first = Places.create(tmp_path / "sandbox")
    state(None, ourselves()).save(first.data)
    first.release()

    with pytest.raises(Refused, match="backstay sandbox down --directory"):
        Places.create(tmp_path / "sandbox")


def test_earlier_logs_go_when_a_sandbox_starts_anew(memory: Path, tmp_path: Path):
    first = Places.create(tmp_path / "sandbox")
    (first.logs / "etcd.log").write_text("old")
    first.audit_log.write_text("old")
    first.discard(everything=False)

    second = Places.create(tmp_path / "sandbox")

    assert list(second.logs.iterdir()) == []
    assert not second.audit_log.exists()
    second.discard(everything=True)


def test_memory_is_freed_when_every_process_of_a_sandbox_was_killed(memory: Path):
    dead, alive, silent = (memory / f"{DATA_PREFIX}{name}" for name in ("dead", "alive", "silent"))
    for data in (dead, alive, silent):
        data.mkdir()
    state(NOBODY, NOBODY).save(dead)
    state(NOBODY, ourselves()).save(alive)

    discard_orphans()

    assert sorted(memory.iterdir()) == [alive, silent]


def test_nothing_but_our_own_is_deleted_when_the_link_points_elsewhere(memory: Path, tmp_path: Path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / "data").symlink_to(precious)

    discard_data(tmp_path / "sandbox")

    assert precious.is_dir()
    assert not (tmp_path / "sandbox" / "data").is_symlink()


def test_state_is_the_same_when_it_is_read_again(tmp_path: Path):
    written = state(ourselves(), NOBODY)
    (tmp_path / "data").mkdir()

    written.save(tmp_path / "data")

    assert State.load(tmp_path) == written
    assert written.processes() == (ourselves(),)


def test_state_is_none_when_there_is_no_sandbox(tmp_path: Path):
    (tmp_path / "file").touch()

    assert State.load(tmp_path / "absent") is None
    assert State.of_data(tmp_path / "file") is None
