"""Carries out one method of an installer, and is killed just before it touches the world for the n-th time.

Python tells an audit hook before it opens a file for writing, renames, removes, links, makes a directory, connects to
a socket (as each call over D-Bus does) or starts a program. So nothing in the code under test knows of it.

Arguments: the bench's settings as JSON, the method, n (0: live), and a delivery's payload, version and number.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.contracts.installers import delivery, installer_of

TOUCHES = {"os.rename", "os.remove", "os.symlink", "os.mkdir", "os.rmdir", "socket.connect", "subprocess.Popen"}
passages = 0


def kill_at(number: int) -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        global passages  # noqa: PLW0603 - a hook has nowhere else to count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event not in TOUCHES and not writes:
            return
        passages += 1
        if passages == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


async def main(settings: str, method: str, number: str, payload: str, version: str, step: str) -> None:
    installer = installer_of(json.loads(settings))
    one = delivery(Path(payload), version, int(step))
    kill_at(int(number))
    match method:
        case "stage":
            await installer.stage(one.order, one.artifact, one.payload)
        case "switch":
            await installer.switch(one.order)
        case "confirm":
            await installer.confirm(one.order)
        case "fall_back":
            await installer.fall_back()
        case "trim":
            await installer.trim(())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
