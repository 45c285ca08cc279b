"""What is written is there whole or not at all; a full disk changes nothing, and flushes come in the right order."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from backstay.adapters.node.durable import (
    copy_file,
    digest_of,
    make_directory,
    remove,
    rename,
    replace_link,
    write_file,
)

OLD, NEW = b"old" * 1000, b"new" * 1000


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_file_holds_the_new_bytes_and_nothing_lies_beside_it_when_it_was_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_file(path, OLD)
    write_file(path, NEW, mode=0o755)
    assert path.read_bytes() == NEW
    assert path.stat().st_mode & 0o777 == 0o755
    assert names_in(path.parent) == ["file"]


def test_file_is_written_when_a_power_cut_left_something_beside_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(OLD)
    (tmp_path / ".file.new").symlink_to(victim)
    write_file(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW
    assert victim.read_bytes() == OLD


def test_copy_has_the_digest_of_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(NEW)
    digest = copy_file(tmp_path / "source", tmp_path / "copies" / "copy")
    assert digest == digest_of(tmp_path / "source") == digest_of(tmp_path / "copies" / "copy")


def test_file_is_as_before_when_there_is_no_room_for_the_new_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, OLD)
    script = (
        "import sys, signal; from pathlib import Path; from backstay.adapters.node.durable import write_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: write_file(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except OSError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.stdout == "refused\n", done.stderr
    assert path.read_bytes() == OLD
    assert names_in(tmp_path) == ["file"]


def test_link_points_to_the_new_target_when_there_was_another_one(tmp_path: Path) -> None:
    link = tmp_path / "current"
    replace_link(link, Path("releases/1"))
    replace_link(link, Path("releases/2"))
    assert link.readlink() == Path("releases/2")
    assert names_in(tmp_path) == ["current"]


def test_link_does_not_take_the_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_link(tmp_path / "current", Path("elsewhere"))
    assert (tmp_path / "current").is_dir()


def test_rename_moves_a_file_over_another_one(tmp_path: Path) -> None:
    write_file(tmp_path / "here" / "file", NEW)
    write_file(tmp_path / "there" / "file", OLD)
    rename(tmp_path / "here" / "file", tmp_path / "there" / "file")
    assert (tmp_path / "there" / "file").read_bytes() == NEW
    assert names_in(tmp_path / "here") == []


def test_nothing_is_left_when_a_file_a_link_or_a_directory_is_removed(tmp_path: Path) -> None:
    write_file(tmp_path / "full" / "directory" / "file", NEW)
    write_file(tmp_path / "file", NEW)
    replace_link(tmp_path / "dangling", Path("nowhere"))
    replace_link(tmp_path / "link", tmp_path / "file")
    for name in ("link", "dangling", "full", "never-there"):
        remove(tmp_path / name)
    assert names_in(tmp_path) == ["file"], "and a link's target stays"
    remove(tmp_path / "file")
    assert names_in(tmp_path) == []


def test_directory_is_there_when_it_was_made_twice(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_bytes_are_flushed_before_they_get_their_name_and_the_name_before_the_call_returns(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    script = (
        "import sys; from pathlib import Path; from backstay.adapters.node.durable import write_file\n"
        "write_file(Path(sys.argv[1]), b'x')\n"
    )
    calls = "trace=write,fsync,rename,renameat,renameat2"
    subprocess.run(
        ["strace", "-y", "-e", calls, "-o", trace, sys.executable, "-c", script, tmp_path / "a" / "file"], check=True
    )
    found = [line for line in trace.read_text(encoding="utf-8").splitlines() if str(tmp_path) in line]
    ours = [line.partition("(")[0].replace("renameat2", "rename").replace("renameat", "rename") for line in found]
    assert ours == ["fsync", "write", "fsync", "rename", "fsync"], found
    assert f"{tmp_path / 'a'}>" in found[-1], "the last one is the directory"
