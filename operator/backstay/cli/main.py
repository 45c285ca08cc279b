"""The root of the command line: what there is, and how errors end."""

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Annotated

from backstay.cli.program import COMPLETION_VARIABLE, program, words_to_complete
from backstay.cli.statuses import ExitStatus
from backstay.errors import BackstayError, Unavailable
from backstay.logs import last_words

if TYPE_CHECKING:
    import typer

COMMANDS = {
    "agent": "Run the agent of a Linux node, read its journal, and recover it.",
    "approve": "Let a ring start that waits for approval.",
    "bridge": "Serve the ESP32 devices of one gateway.",
    "completion": "Print the script that lets a shell complete.",
    "devices": "List devices with what they run.",
    "esp32": "Look into what an ESP32 holds, and run ESP32s in software.",
    "history": "Show how the last revisions of a plan ended.",
    "hold": "Stop changes: of some devices, of a version, or both.",
    "lift": "Lift a hold.",
    "lint": "Check manifests without a cluster.",
    "operator": "Run the operator.",
    "pause": "Let nothing new start in a plan's name.",
    "plan": "Show whom a release would reach, before anything ships.",
    "push": "Push an artifact to a registry.",
    "recover": "Bring one node back to normal.",
    "resume": "Go on with a plan that is paused or has halted.",
    "retry": "Order the devices again that failed.",
    "rollback": "Take a whole revision back.",
    "safe-mode": "Let a node keep only its agent and its connection.",
    "sandbox": "Run a real Kubernetes and its neighbours on this machine.",
    "simulate": "Play a whole release on a simulated clock.",
    "status": "Show how far releases have come.",
    "why": "Say why a plan or a device is where it is.",
}
MODULES = dict.fromkeys(("approve", "pause", "resume", "retry", "rollback"), "asking") | {
    "hold": "holding",
    "lift": "holding",
    "safe-mode": "safe_mode",
}
"""Where commands live that share a module; every other has one of its own name.

A module has a typer `app`, or a function of the command's name.
"""

LEAN = ["agent", "run"]
"""The one command that runs on devices all the time, where typer and what comes with it would take too much memory."""


def application(arguments: list[str]) -> "typer.Typer":
    """The command line. Only the command that the arguments name is loaded, so that `--help` is quick."""
    import typer

    app = typer.Typer(
        help="Release firmware, models and configuration to edge-AI fleets, and pull a bad release back.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    def tell_version(context: typer.Context, asked: bool) -> None:
        # Whoever completes a line must not have it carried out.
        if asked and not context.resilient_parsing:
            print(f"backstay {metadata.version('backstay')}")
            raise typer.Exit(ExitStatus.DONE)

    asked = typer.Option("--version", is_eager=True, callback=tell_version, help="Print the version.")

    @app.callback()
    def root(version: Annotated[bool, asked] = False) -> None:
        """Keep the root a group, however few commands it has."""

    wanted = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name == wanted:
            _load(app, name, summary)
        else:
            app.command(name, help=summary)(_not_loaded)
    return app


def main() -> None:
    """Run the command line; an error that Backstay can name is one clear message and status 1."""
    try:
        if (words := words_to_complete()) is not None:
            complete(words)
        elif sys.argv[1:3] == LEAN:
            importlib.import_module("backstay.cli.agent_run").main(sys.argv[3:])
        else:
            application(sys.argv[1:])(prog_name=program())
    except* BackstayError as group:
        errors = list(_leaves(group))
        for error in errors:
            last_words(error)
        sys.exit(_status(errors))
    except* KeyboardInterrupt:
        sys.exit(ExitStatus.INTERRUPTED)


def complete(words: list[str]) -> None:
    """Print what may stand next, in the way that the environment asks for, and end."""
    from typer.completion import completion_init  # type: ignore[attr-defined]  # typer calls it only with options of its own

    completion_init()
    application(words)(prog_name="backstay", complete_var=COMPLETION_VARIABLE)


def _not_loaded() -> None:
    raise AssertionError


def _load(app: "typer.Typer", name: str, summary: str) -> None:
    module = importlib.import_module(f"backstay.cli.{MODULES.get(name, name)}")
    group: typer.Typer | None = getattr(module, "app", None)
    if group is not None:
        app.add_typer(group, name=name, help=summary)
        return
    function: Callable[..., None] = getattr(module, name.replace("-", "_"))
    app.command(name, short_help=summary)(function)


def _status(errors: list[BackstayError]) -> ExitStatus:
    if all(isinstance(error, Unavailable) for error in errors):
        return ExitStatus.UNAVAILABLE
    return ExitStatus.FAILED


def _leaves(group: BaseExceptionGroup[BackstayError]) -> Iterator[BackstayError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
