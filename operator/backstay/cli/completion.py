"""`backstay completion`: the script that lets a shell complete commands, options, and names from the cluster."""

from enum import StrEnum
from typing import Annotated

import typer

from backstay.cli.program import COMPLETION_VARIABLE


class Shell(StrEnum):
    """The shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that you use.")]) -> None:
    """Print the script that lets a shell complete commands, options, and names from the cluster.

    bash: `source <(backstay completion bash)` in ~/.bashrc.

    zsh: `source <(backstay completion zsh)` in ~/.zshrc, after compinit.

    fish: `backstay completion fish > ~/.config/fish/completions/backstay.fish`.

    For `kubectl backstay` nothing more is needed than kubectl's own completion: it finds the program
    `kubectl_complete-backstay`, which is installed with this one.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # typer prints it only by an option

    print(get_completion_script(prog_name="backstay", complete_var=COMPLETION_VARIABLE, shell=shell.value))
