"""Asked for JSON, each long-running command says in JSON too why it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backstay.cli.operator import app

BACKSTAY = Path(sys.executable).with_name("backstay")
NOWHERE = "/nowhere/at-all"
COMMANDS = {
    "operator": ("--prometheus", "http://p", "--alertmanager", "http://a", "--kubeconfig", NOWHERE),
    "bridge": ("--namespace", "acme", "--gateway", "gw", "--kubeconfig", NOWHERE, "--cache"),
    "agent": ("--commander", NOWHERE),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_says_in_json_why_it_ends_when_asked_to(command: str, tmp_path: Path) -> None:
    options = [*COMMANDS[command], *([str(tmp_path)] if command == "bridge" else [])]
    done = subprocess.run([BACKSTAY, command, "run", *options, "--log-format", "json"], capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert (done.returncode, lines[-1]["level"]) == (1, "error")
    assert NOWHERE in lines[-1]["message"]
    assert lines[-1]["error"].startswith("Refused: ")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--webhook-listen", "127.0.0.1:0"), "anybody could stop every release without a token"),
        (("--webhook-listen", "127.0.0.1:0", "--webhook-token-file", NOWHERE), "in which namespaces"),
        (("--webhook-namespace", "acme"), "it means nothing without --webhook-listen"),
        (
            ("--webhook-listen", "nowhere", "--webhook-token-file", NOWHERE, "--webhook-namespace", "*"),
            "is not HOST:PORT",
        ),
        (("--metrics-listen", "9464"), "is not HOST:PORT"),
    ],
)
def test_operator_does_not_start_when_its_addresses_are_half_said(options: tuple[str, ...], why: str) -> None:
    done = CliRunner().invoke(app, ["run", *COMMANDS["operator"], *options], env={"COLUMNS": "400"})
    assert done.exit_code == 2
    assert why in done.output
