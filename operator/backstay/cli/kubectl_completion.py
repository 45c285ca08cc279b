"""`kubectl_complete-backstay`: what kubectl runs to complete `kubectl backstay`.

It gets the words after the plugin's name, the last of which is to be completed, and prints a candidate a line, with a
description behind a tab, and `:DIRECTIVE` at the end.

Source: https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/#completion
"""

import os
import shlex
import sys
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Final

from backstay.cli.program import COMPLETION_VARIABLE

NO_FILES: Final = 4
"""cobra's ShellCompDirectiveNoFileComp; 0 lets the shell offer files.

Source: https://pkg.go.dev/github.com/spf13/cobra#ShellCompDirective
"""


def main() -> None:
    """Print the candidates."""
    *typed, last = sys.argv[1:] or [""]
    found = _candidates(typed, last)
    for line in found:
        print(line)
    print(f":{NO_FILES if found else 0}")


def _candidates(typed: list[str], last: str) -> list[str]:
    # fish's form is the one with a description behind a tab.
    from backstay.cli.main import complete

    line = shlex.join(["backstay", *typed, *([last] if last else [])]) + ("" if last else " ")
    os.environ |= {
        COMPLETION_VARIABLE: "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": line,
    }
    with redirect_stdout(StringIO()) as printed, suppress(SystemExit):
        complete([*typed, last])
    return [one for one in printed.getvalue().splitlines() if one]
