"""Runs a program of the node to its end."""

import asyncio
from dataclasses import dataclass

from backstay.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended, and what it said."""

    status: int
    said: str
    complaint: str

    @property
    def last_complaint(self) -> str:
        """The last line of its complaint, which mostly says why."""
        return (self.complaint.strip().splitlines() or ["no reason given"])[-1]


async def ended(*command: str, seconds: float) -> Ended:
    """Start a program and wait until it ends.

    Raises:
        Unavailable: it cannot be started, or takes longer than that.
    """
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=pipe, stderr=pipe)
    except OSError as error:
        raise Unavailable(f"{command[0]} cannot be started: {error}; install it") from error
    try:
        async with asyncio.timeout(seconds):
            said, complaint = await process.communicate()
    except TimeoutError as error:
        raise Unavailable(f"{' '.join(command)} takes longer than {seconds:g} s: look at the disk") from error
    finally:
        if process.returncode is None:
            process.kill()
    return Ended(process.returncode or 0, said.decode(errors="replace"), complaint.decode(errors="replace"))
