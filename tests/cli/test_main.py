import subprocess
import sys
from importlib import metadata

import pytest

from backstay.cli import main as cli


def backstay(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    program = f"from backstay.cli import main\n{before}\nmain.main()"
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=30)


def test_help_names_every_command_and_loads_none():
    loaded = "import atexit, sys; atexit.register(lambda: print('kopf' in sys.modules, 'aiohttp' in sys.modules))"

    answer = backstay("--help", before=loaded)

    assert answer.returncode == 0
    assert all(name in answer.stdout for name in cli.COMMANDS)
    assert answer.stdout.splitlines()[-1] == "False False"


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_command_is_there(name: str):
    answer = backstay(name, "--help")

    assert answer.returncode == 0, answer.stderr
    assert "Usage" in answer.stdout


def test_agent_loads_neither_typer_nor_the_models_of_resources():
    program = "import sys; import backstay.cli.main, backstay.cli.agent_run; print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30).stdout.split()

    assert "backstay.agent.service" in loaded
    assert {"typer", "pydantic", "kubernetes", "kopf", "rich", "numpy", "prometheus_client"}.isdisjoint(loaded)


def test_agent_is_listed_and_explains_itself():
    assert "Follow the node's EdgeDevice" in backstay("agent", "--help").stdout
    assert "--lease-seconds" in backstay("agent", "run", "--help").stdout
    assert "/nowhere cannot be read" in backstay("agent", "run", "--commander", "/nowhere").stderr


def test_version_is_the_installed_one():
    answer = backstay("--version")

    assert (answer.returncode, answer.stdout) == (0, f"backstay {metadata.version('backstay')}\n")


def test_command_that_does_not_exist_is_refused_by_name():
    answer = backstay("fly")

    assert answer.returncode == 2
    assert "fly" in answer.stderr


@pytest.mark.parametrize(
    ("raised", "lines", "status"),
    [
        ("Refused('the plan has no rings')", ["error: the plan has no rings"], 1),
        ("Unavailable('nobody answers')", ["error: nobody answers"], 4),
        (
            "ExceptionGroup('tasks', [Refused('one'), ExceptionGroup('more', [Unavailable('two')])])",
            ["error: one", "error: two"],
            1,
        ),
    ],
)
def test_error_is_one_line_and_a_status_when_it_is_ours(raised: str, lines: list[str], status: int):
    failing = f"""
from backstay.errors import Refused, Unavailable
def fail(arguments):
    raise {raised}
main.application = lambda arguments: lambda **_: fail(arguments)
"""

    answer = backstay(before=failing)

    assert answer.returncode == status
    assert answer.stderr.splitlines() == lines


def test_status_is_that_of_an_interrupt_when_control_c_was_pressed():
    interrupted = """
def fail(**_):
    raise KeyboardInterrupt
main.application = lambda arguments: fail
"""

    assert backstay(before=interrupted).returncode == 130
