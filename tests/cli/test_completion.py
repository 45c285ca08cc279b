"""Shells complete, as whoever presses TAB in them sees it."""

import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backstay.sandbox.build import kubernetes_binaries

PROGRAMS = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "TERM": "dumb", "KUBECONFIG": "/nowhere"}
PATIENCE_SECONDS = 20


class Terminal:
    """A shell at a terminal, and what stands there."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._shown = ""

    def types(self, text: str, shows: str) -> None:
        """Type something, and wait until the shell has answered with what was expected."""
        self._shown = ""
        os.write(self._descriptor, text.encode())
        while shows not in self._shown:
            ready, _, _ = select.select([self._descriptor], [], [], PATIENCE_SECONDS)
            assert ready, f"after {text!r} there is {self._shown!r}, and no {shows!r}"
            self._shown += os.read(self._descriptor, 65536).decode()


@contextmanager
def shell(*command: str) -> Iterator[Terminal]:
    process, descriptor = pty.fork()
    if process == 0:
        os.execvpe(command[0], command, ENVIRONMENT)
    try:
        yield Terminal(descriptor)
    finally:
        os.close(descriptor)
        os.kill(process, 9)
        os.waitpid(process, 0)


def complete_at(terminal: Terminal, folder: Path) -> None:
    (folder / "release.yaml").write_text("")
    terminal.types(f"cd {folder}; echo at''ready\n", "atready")
    terminal.types("backstay sta\t", "status ")
    terminal.types("--wat\t", "--watch ")
    terminal.types("--outp\tj\t", "json ")
    terminal.types("\x15backstay plan rel\t", "release.yaml ")


def test_bash_completes_commands_options_values_and_files(tmp_path: Path) -> None:
    with shell("bash", "--norc", "--noprofile", "-i") as bash:
        bash.types("source <(backstay completion bash); echo re''ady\n", "ready")
        complete_at(bash, tmp_path)


def test_zsh_completes_commands_options_values_and_files(tmp_path: Path) -> None:
    with shell("zsh", "-f", "-i") as zsh:
        zsh.types("autoload -U compinit; compinit -u -D; source <(backstay completion zsh); echo re''ady\n", "ready")
        complete_at(zsh, tmp_path)


def test_fish_completes_with_what_each_is_for() -> None:
    asked = "backstay completion fish | source; complete -C 'backstay sta'; complete -C 'backstay devices --sort r'"
    done = subprocess.run(["fish", "-c", asked], env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "status\tShow how far releases have come.\nreason\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sta"], "status\tShow how far releases have come.\n:4\n"),
        (["devices", "--sort", "fi"], "firmware\n:4\n"),
        (["plan", ""], ":0\n"),
        (["status", ""], ":0\n"),
    ],
)
def test_kubectl_is_given_candidates_and_whether_files_may_be_offered(words: list[str], said: str) -> None:
    program = PROGRAMS / "kubectl_complete-backstay"
    done = subprocess.run([program, *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr, done.returncode) == (said, "", 0)


def test_kubectl_completes_its_plugin_and_the_plugin_speaks_of_itself_as_one() -> None:
    kubectl = kubernetes_binaries() / "kubectl"
    asked = (kubectl, "__complete", "backstay", "lin")
    done = subprocess.run(asked, env=ENVIRONMENT, capture_output=True, text=True, timeout=30)
    assert done.stdout == "lint\tCheck manifests without a cluster.\n:4\n"
    usage = subprocess.run(
        [kubectl, "backstay", "lint", "--help"], env=ENVIRONMENT, capture_output=True, text=True, timeout=30
    )
    assert "Usage: kubectl backstay lint" in usage.stdout


def test_script_names_no_program_of_this_machine() -> None:
    for name in ("bash", "zsh", "fish"):
        done = subprocess.run([PROGRAMS / "backstay", "completion", name], capture_output=True, text=True, timeout=30)
        assert shutil.which("backstay", path=str(PROGRAMS)) not in done.stdout
        assert "_BACKSTAY_COMPLETE" in done.stdout
