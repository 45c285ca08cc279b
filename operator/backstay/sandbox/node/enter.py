"""Runs a program inside a node: `python -m backstay.sandbox.node.enter PID_FILE PROGRAM ARGUMENTS…`.

Signals go to the whole process group, which the program shares; so this process leaves them to it, and ends as it ends.
"""

import os
import signal
import sys
from pathlib import Path

from backstay.sandbox.node.namespaces import enter

# Mounts come last: with them changes the /proc in which the others are found.
NAMESPACES = ("pid", "ipc", "uts", "net", "mnt")
LEFT_TO_THE_PROGRAM = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(pid: int, command: list[str]) -> int:
    """Run a program in the namespaces of a process, and return its status as a shell would."""
    for namespace in NAMESPACES:
        enter(Path(f"/proc/{pid}/ns/{namespace}"))
    child = os.fork()
    if child == 0:
        try:
            os.execvp(command[0], command)  # noqa: S606 - our own programs, by name
        except OSError as error:
            sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
            os._exit(127)
    for number in LEFT_TO_THE_PROGRAM:
        signal.signal(number, signal.SIG_IGN)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def main() -> int:
    """Run the program that the command line names."""
    pid_file, *command = sys.argv[1:]
    return run(int(Path(pid_file).read_text(encoding="ascii")), command)


if __name__ == "__main__":
    sys.exit(main())
