"""Under which name the command line was called, and what the shell wants completed."""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

COMPLETION_VARIABLE: Final = "_BACKSTAY_COMPLETE"
"""Set by the scripts of `backstay completion`, and read by typer."""


def program() -> str:
    """What people type: `backstay`, or `kubectl backstay` for kubectl's plugin."""
    return "kubectl backstay" if Path(sys.argv[0]).name.startswith("kubectl") else "backstay"


def words_to_complete(environment: Mapping[str, str] = os.environ) -> list[str] | None:
    """The words after the program's name, as far as they have been typed; None where nothing is to be completed."""
    if COMPLETION_VARIABLE not in environment:
        return None
    line = environment.get("COMP_WORDS") or environment.get("_TYPER_COMPLETE_ARGS") or ""
    try:
        return shlex.split(line)[1:]
    except ValueError:
        # A quotation that is still open: what stands before it is enough to know the command.
        return line.split()[1:]
