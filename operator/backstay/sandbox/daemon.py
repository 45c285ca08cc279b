"""The process that owns a sandbox which `backstay sandbox up` has left running."""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from backstay.errors import BackstayError
from backstay.sandbox.cluster import Sandbox


async def own(directory: Path, kubeconfig: Path | None, nodes: int, *, workloads: bool) -> None:
    """Run a sandbox, with nodes `node-1` and so on, until this process is asked to end."""
    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, asked_to_end.set)
    if kubeconfig is None:
        starting = Sandbox.start(directory, nodes=nodes, workloads=workloads)
    else:
        starting = Sandbox.attach(kubeconfig, directory)
    async with contextlib.AsyncExitStack() as stack:
        begin = asyncio.create_task(stack.enter_async_context(starting))
        interrupt = asyncio.create_task(asked_to_end.wait())
        await asyncio.wait((begin, interrupt), return_when=asyncio.FIRST_COMPLETED)
        if not begin.done():
            begin.cancel()
            await asyncio.wait((begin,))
            return
        await begin
        await interrupt


def main() -> int:
    """Run as `python -m backstay.sandbox.daemon DIRECTORY`; errors go to stderr, which `up` reads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--nodes", type=int, default=0)
    parser.add_argument("--workloads", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(own(options.directory, options.kubeconfig, options.nodes, workloads=options.workloads))
    except BackstayError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
