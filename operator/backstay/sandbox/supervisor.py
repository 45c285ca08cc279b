"""Starts components, waits until they are ready, and ends them in the reverse order."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp

from backstay.errors import Refused
from backstay.sandbox.components import Component
from backstay.sandbox.endpoint import Probe
from backstay.sandbox.process import POLL_SECONDS, Child, ComponentFailed, last_lines

READY_SECONDS = 60.0
WATCH_SECONDS = 0.5
PORT_TAKEN = "address already in use"


class PortTaken(ComponentFailed):
    """Somebody else took a component's port between its choice and its use."""


class Supervisor:
    """The components of one sandbox, in the order of their start."""

    def __init__(self, logs: Path, home: Path, *, outlive: bool, changed: Callable[[], None]) -> None:
        """Keep logs in `logs`, give programs `home` as their home, and call `changed` after each start and stop."""
        self._logs = logs
        self._home = home
        self._outlive = outlive
        self._changed = changed
        self._children: dict[str, tuple[Component, Child]] = {}
        self._stopped: set[str] = set()

    @property
    def children(self) -> tuple[tuple[Component, Child], ...]:
        """Every component that was ever started, in that order."""
        return tuple(self._children.values())

    async def start(self, component: Component) -> None:
        """Start a component and wait until it is ready.

        Raises `ComponentFailed` if it dies or does not become ready in time, `PortTaken` if its port is in use.
        """
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._home),
        }
        log = self._logs / f"{component.name}.log"
        child = Child(
            component.name,
            component.command,
            log,
            environment=environment,
            outlives=self._outlive,
        )
        self._children[component.name] = (component, child)
        await self._run(component, child)

    async def restart(self, name: str) -> None:
        """Start a component that was stopped or died, as it was, and wait until it is ready.

        Raises as `start` does, and `Refused` if it runs or there is no such component.
        """
        component, child = self._named(name)
        if child.running():
            msg = f"{name} runs already; stop it before starting it again"
            raise Refused(msg)
        await self._run(component, child)

    async def stop(self, name: str, grace_seconds: float) -> None:
        """End one component and wait until it is gone."""
        _, child = self._named(name)
        self._stopped.add(name)
        await child.stop(grace_seconds)
        self._changed()

    def send(self, name: str, number: signal.Signals) -> None:
        """Signal one component; a component that is killed this way counts as stopped."""
        _, child = self._named(name)
        if number is signal.SIGKILL:
            self._stopped.add(name)
        child.send(number)

    def check(self) -> None:
        """Raise `ComponentFailed` if a component has ended that nobody stopped."""
        for name, (_, child) in self._children.items():
            if name not in self._stopped:
                child.check()

    async def watch(self) -> None:
        """Run until a component ends that nobody stopped, and raise `ComponentFailed` then."""
        while True:
            self.check()
            await asyncio.sleep(WATCH_SECONDS)

    def let_go(self) -> None:
        """Leave every component to itself."""
        for _, child in self.children:
            child.let_go()

    async def end(self, grace_seconds: float) -> None:
        """End every component, the last one that was started first."""
        try:
            for name in reversed(self._children):
                await self.stop(name, grace_seconds)
        finally:
            for _, child in self._children.values():
                child.kill()

    async def _run(self, component: Component, child: Child) -> None:
        child.start()
        self._stopped.discard(component.name)
        self._changed()
        try:
            async with (
                asyncio.timeout(READY_SECONDS),
                aiohttp.ClientSession() as session,
            ):
                probe = Probe(session, component.endpoint)
                while not await probe.ready():
                    child.check()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError as error:
            raise child.failure(f"was not ready after {READY_SECONDS:.0f} s") from error
        except ComponentFailed as error:
            if PORT_TAKEN in last_lines(child.log, 50):
                raise PortTaken(*error.args) from error
            raise

    def _named(self, name: str) -> tuple[Component, Child]:
        if name not in self._children:
            msg = f"the sandbox has no component {name!r}; it has {', '.join(self._children)}"
            raise Refused(msg)
        return self._children[name]
