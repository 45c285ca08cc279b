"""A sandbox that outlives the command which started it: begin it, look at it, end it."""

import asyncio
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from backstay.core.addresses import host_and_port
from backstay.errors import Refused
from backstay.sandbox.components import write_target
from backstay.sandbox.endpoint import Probe
from backstay.sandbox.places import discard_data, targets_of
from backstay.sandbox.process import POLL_SECONDS, ComponentFailed, end
from backstay.sandbox.state import Component, State

START_SECONDS = 120.0
OWNER_GRACE_SECONDS = 30.0
COMPONENT_GRACE_SECONDS = 5.0
_JOB = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Condition:
    """How one component is at this moment."""

    component: Component
    running: bool
    ready: bool


def find(directory: Path) -> State:
    """The sandbox that is up in `directory`.

    Raises `Refused` if there is none.
    """
    state = State.load(directory)
    if state is None or not state.alive():
        raise Refused(f"no sandbox is up in {directory}; `backstay sandbox up --directory {directory}` starts one")
    return state


def scrape(directory: Path, job: str, address: str) -> None:
    """Let Prometheus of the sandbox in `directory` scrape `/metrics` at an address (host:port) from now on.

    Raises `Refused` if there is no sandbox, or if the job is no name or the address no address.
    """
    if not _JOB.fullmatch(job):
        raise Refused(f"{job!r} is no name of a job: use lower-case letters, digits and '-'")
    try:
        _, port = host_and_port(address, "127.0.0.1:9465")
    except ValueError as error:
        raise Refused(str(error)) from error
    if not port:
        raise Refused(f"nobody answers at port 0 of {address}; give the port that the process says it listens on")
    find(directory)
    write_target(targets_of(directory), job, address)


async def begin(directory: Path, kubeconfig: Path | None = None, nodes: int = 0, *, workloads: bool = False) -> State:
    """Start a sandbox, as `Sandbox.start` does, that stays when this process ends, and wait until it is ready.

    Raises `ComponentFailed` with what the sandbox said if it does not come up.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = directory / "up.log"
    command = [sys.executable, "-m", "backstay.sandbox.daemon", str(directory), f"--nodes={nodes}"]
    if workloads:
        command.append("--workloads")
    if kubeconfig is not None:
        command.append(f"--kubeconfig={kubeconfig.absolute()}")
    with log.open("wb") as output:
        owner = subprocess.Popen(  # noqa: ASYNC220 - it only starts; we poll it
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env=os.environ,
        )
    try:
        return await _until_ready(directory, owner, log)
    except BaseException:
        owner.terminate()
        await asyncio.to_thread(owner.wait)
        raise


async def conditions(state: State) -> tuple[Condition, ...]:
    """How each component is now."""
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_condition(session, component)) for component in state.components]
    return tuple(task.result() for task in tasks)


async def finish(directory: Path) -> bool:
    """End the sandbox in `directory` and nothing else; whether one was up."""
    state = State.load(directory)
    if state is None:
        return False
    was_up = state.alive()
    if state.owner is not None:
        await end(state.owner, OWNER_GRACE_SECONDS)
    for component in reversed(state.components):
        if component.process is not None:
            await end(component.process, COMPONENT_GRACE_SECONDS)
    discard_data(directory)
    return was_up


async def _until_ready(directory: Path, owner: subprocess.Popen[bytes], log: Path) -> State:
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                state = State.load(directory)
                if state is not None and state.ready and state.owner is not None and state.owner.pid == owner.pid:
                    return state
                if owner.poll() is not None:
                    words = log.read_text(encoding="utf-8", errors="replace").strip()
                    raise ComponentFailed(words or f"the sandbox ended before it was ready; see {directory / 'logs'}")
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        msg = f"the sandbox was not ready after {START_SECONDS:g} s; {directory / 'logs'} says how far each part came"
        raise ComponentFailed(msg) from error


async def _condition(session: aiohttp.ClientSession, component: Component) -> Condition:
    running = component.process is not None and component.process.alive()
    ready = running and await Probe(session, component.endpoint).ready()
    return Condition(component, running, ready)
