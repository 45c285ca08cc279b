"""The node's series at /metrics: those of its device, as a bridge has them for its own, and the agent's own.

What a node says of itself here is the word of a node; which device it may speak for is the scraper's to say.
"""

import asyncio
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from backstay.adapters.exposition import INFO, UNKNOWN_VERSION, family, info, labels
from backstay.adapters.node.probes.off_loop import off_loop
from backstay.agent.figures import figures
from backstay.agent.mandate import Mandate
from backstay.agent.node import Node
from backstay.agent.report import AGENT
from backstay.core.planes import Plane
from backstay.ports.clock import Clock

PATIENCE_SECONDS: Final = 2.0
"""How long a driver may take to tell its figures; a scrape does not wait for one that hangs."""

_NEVER_SECONDS: Final = 1e12
"""An age that means that it never was."""

_FIGURES: Final = {
    "memory_available_bytes": "Memory that processes can still get.",
    "storage_free_bytes": "Free storage on the file system that holds the models.",
    "temperature_celsius": "Temperature of the hottest sensor.",
    "last_log_timestamp_seconds": "When a container of the node last wrote to its log, in Unix time.",
}


class NodeSeries:
    """Writes the series of one node."""

    def __init__(self, node: Node, clock: Clock, root: Path, data: Path) -> None:
        self._node = node
        self._clock = clock
        self._measure = partial(figures, root, data)
        self._measuring: asyncio.Task[Mapping[str, float]] | None = None

    async def exposition(self) -> bytes:
        """The series as text; of its device, as long as it follows one."""
        found = await self._figures()
        return b"".join((*self._of_the_agent(), *self._of_the_device(found)))

    async def _figures(self) -> Mapping[str, float]:
        # One look at a time, however often a scraper asks: a thread that hangs in a driver must not get company.
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(off_loop(self._measure))
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await asyncio.shield(self._measuring)
        return {}

    def _of_the_device(self, found: Mapping[str, float]) -> Iterator[bytes]:
        node, mandate, own = self._node, self._node.mandate, self._own()
        if mandate is None:
            return
        series = info(node.namespace, mandate.device, partial(self._version, mandate))
        yield family(*INFO, series)
        text = "1 while the sign of life of the node's agent stands, else 0."
        yield family("device_reachable", text, [(own, float(node.life.stands))])
        if node.looked_at is not None:
            failing = sum(not result.passed for result in node.health)
            yield family("probes_failing", "Probes that fail.", [(own, float(failing))])
            text = "When the node last looked at itself, in Unix time."
            yield family("last_report_timestamp_seconds", text, [(own, node.looked_at.timestamp())])
        for name, text in _FIGURES.items():
            yield family(name, text, [(own, found[name])] if name in found else [])

    def _of_the_agent(self) -> Iterator[bytes]:
        node, machine, own = self._node, self._node.machine, self._own()
        about = f"{own},{labels(('agent', AGENT), ('node', node.node))}"
        yield family("agent_info", "The agent of the node.", [(about, 1.0)])
        progress = machine.in_flight
        open_in = None if progress is None or progress.order is None else progress.order.plane
        planes = [(f"{own},{labels(('plane', str(plane)))}", float(plane is open_in)) for plane in machine.planes]
        yield family("agent_step_in_flight", "1 while a step of the plane is open, else 0.", planes)
        answers = [
            (f"{own},{labels(('plane', str(plane)), ('state', str(state)))}", float(count))
            for (plane, state), count in sorted(machine.answered.items())
        ]
        text = "Steps that this agent has answered since it started, by how they ended."
        yield family("agent_steps_total", text, answers, "counter")
        ages = (
            (
                "agent_api_age_seconds",
                "Time since the API server last confirmed the order.",
                node.api_age_seconds,
            ),
            ("agent_view_age_seconds", "Age of the last whole reading of holds.", node.age.total_seconds()),
        )
        for name, text, age in ages:
            yield family(name, text, [(own, age)] if math.isfinite(age) and age < _NEVER_SECONDS else [])

    def _version(self, mandate: Mandate, plane: Plane) -> str:
        running = self._node.machine.storage(plane).running
        if running is None:
            return ""
        return mandate.version_of(plane, running.content) or running.version or UNKNOWN_VERSION

    def _own(self) -> str:
        commander = self._node.commander
        return labels(("namespace", commander.namespace), ("device", commander.name))
