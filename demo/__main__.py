"""`python -m demo`: tell the story; KEEP=1 leaves everything up afterwards, and `python -m demo end` ends that."""

import asyncio
import os
import signal
import sys

from rich.console import Console

from backstay.errors import BackstayError
from demo.story import DIRECTORY, clear, tell_story

USAGE = 2
INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Exit 0 only if the checker confirmed every act."""
    console = Console(highlight=False)
    if arguments == ["end"]:
        asyncio.run(clear(DIRECTORY))
        console.print("Everything that the demo left has ended.")
        return 0
    if arguments:
        console.print("usage: python -m demo [end]")
        return USAGE
    try:
        return 0 if asyncio.run(_until_ended(console)) else 1
    except* (KeyboardInterrupt, asyncio.CancelledError):
        console.print("\nInterrupted; everything that was started has ended.")
        status = INTERRUPTED
    except* BackstayError as group:
        status = 1
        for error in _leaves(group):
            console.print(f"error: {error}", style="bold red", markup=False, soft_wrap=True)
            for note in getattr(error, "__notes__", ()):
                console.print(f"  {note}", markup=False, soft_wrap=True)
    return status


async def _until_ended(console: Console) -> bool:
    """Tell the story; SIGTERM ends it as Ctrl-C does."""
    story = asyncio.current_task()
    if story is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, story.cancel)
    return await tell_story(console, keep=os.environ.get("KEEP", "") not in ("", "0"))


def _leaves(group: BaseExceptionGroup[BackstayError]) -> list[BackstayError]:
    found: list[BackstayError] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
