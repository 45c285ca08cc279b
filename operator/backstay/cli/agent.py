"""`backstay agent`: change a Linux node, and undo what does not prove itself."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Run the agent of a Linux node, read its journal, and recover it.", no_args_is_help=True)

DATA = Path("/var/lib/backstay")
SAFE_MODE = Path("/etc/backstay/safe-mode")

Data = Annotated[Path, typer.Option(help="Where the agent keeps its journal, artifacts, models and configs.")]
SafeModeFile = Annotated[
    Path, typer.Option(help="While this file is there, the node is in safe mode; only root may write where it is.")
]


@app.callback()
def agent() -> None:
    """Run the agent of a Linux node, read its journal, and recover it."""


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def run(context: typer.Context) -> None:
    """Follow the node's EdgeDevice until ended by SIGTERM or Ctrl-C."""
    from backstay.cli import agent_run

    agent_run.main(context.args)


@app.command()
def recover(data: Data = DATA) -> None:
    """Bring this node back, where `backstay recover` cannot reach it: the agent does it within a second of running."""
    from backstay.agent.journal import Journal

    Journal(data / "state").ask_to_recover()
    print("asked; see `backstay agent journal`")


@app.command()
def journal(data: Data = DATA, safe_mode_file: SafeModeFile = SAFE_MODE) -> None:
    """Show what has happened on this node, the oldest first, and where it and each of its planes stand."""
    from backstay.agent.journal import Journal
    from backstay.agent.reading import lines

    for line in lines(Journal(data / "state"), safe_mode_file):
        print(line)
