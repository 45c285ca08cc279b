"""Makes docs/reference/cli.md of the commands' own help; `--check` fails where it is out of date."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from backstay.cli.agent_run import parser
from backstay.cli.main import COMMANDS, application
from backstay.cli.statuses import MEANINGS

WRITTEN = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
HEAD = """\
<!-- Generated from backstay.cli by `python scripts/cli_reference.py`; do not edit. -->
# Command line

`backstay COMMAND`, or as kubectl's plugin `kubectl backstay COMMAND`: it is the same program. Whatever asks a cluster
works with the caller's own kubeconfig, namespace and rights; it has none of its own.

- `-o text|wide|json|yaml|name` says how something is printed. JSON, YAML and names are for programs: nothing else is on
  standard output then. JSON of objects is what the API server says of them.
- `--dry-run=server` lets the API server check everything, admission and rights included, and changes nothing.
- What cannot be undone is asked about first. `--yes` answers; where nobody can be asked, the command refuses.
- `DURATION` is a number of seconds, or a duration such as `90s` or `10m`.

## Exit statuses

| status | when |
|---|---|
"""
ENVIRONMENT = """
## Environment

| variable | what it does |
|---|---|
| `KUBECONFIG` | the kubeconfig, or several joined by `:`, without `--kubeconfig`; without either `~/.kube/config` |
| `NO_COLOR` | where it is set, nothing is coloured |
| `COLUMNS` | how wide a terminal is taken to be; what goes to a file or a pipe is never cut |

## Completion

`backstay completion bash|zsh|fish` prints the script, and `backstay completion --help` says where it goes. Names come
from the cluster, with the caller's rights: plans, rings, devices, groups, holds, gateways and namespaces; where it does
not answer within two seconds, there are none. `kubectl backstay` is completed by kubectl's own completion, with the
same candidates.
"""


def reference() -> str:
    """The whole page, whatever the terminal."""
    os.environ["COLUMNS"] = "100"
    statuses = "".join(f"| {status.value} | {meaning} |\n" for status, meaning in MEANINGS.items())
    commands = "\n".join(line for name in sorted(COMMANDS) for line in _command(name))
    return f"{HEAD}{statuses}{ENVIRONMENT}\n{commands}\n"


def _command(name: str) -> Iterator[str]:
    root: Any = typer.main.get_command(application([name]))
    yield from _pages(root.commands[name], f"backstay {name}", 2)


def _pages(command: Any, path: str, level: int) -> Iterator[str]:  # noqa: ANN401 - its types are private to typer
    yield f"{'#' * level} {path}\n"
    if path == "backstay agent run":
        yield f"```text\n{parser().format_help().rstrip()}\n```\n"
        return
    yield f"{_text(command.help)}\n"
    if inner := getattr(command, "commands", None):
        for name, one in inner.items():
            yield from _pages(one, f"{path} {name}", level + 1)
        return
    context = command.make_context(path, [], resilient_parsing=True)
    yield f"```text\n{' '.join((path, *command.collect_usage_pieces(context)))}\n```\n"
    rows = [_row(one, context) for one in command.params if not getattr(one, "hidden", False)]
    if rows:
        yield "| | |\n|---|---|\n" + "".join(rows)


def _row(parameter: Any, context: Any) -> str:  # noqa: ANN401 - as above
    record = parameter.get_help_record(context)
    names, words = record if record is not None else (parameter.human_readable_name, "")
    names, words = (" ".join(text.split()).replace("|", "\\|") for text in (names, words))
    return f"| `{names}` | {words} |\n"


def _text(words: str | None) -> str:
    return "\n".join(line.strip() for line in (words or "").strip().splitlines())


def main() -> None:
    """Write the page, or say that it is out of date."""
    if "--check" not in sys.argv:
        WRITTEN.write_text(reference(), encoding="utf-8")
    elif WRITTEN.read_text(encoding="utf-8") != reference():
        sys.exit(f"{WRITTEN} is out of date: python scripts/cli_reference.py")


if __name__ == "__main__":
    main()
