"""How a change proves itself on this node: its probes before the switch, after it, and while it runs."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from backstay.adapters.node.probes.probe import NodeProbe
from backstay.adapters.node.probes.registry import build, objections, rule_for
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.core import probing
from backstay.core.device import Order, Probe, ProbeResult
from backstay.core.probing import Measurement, OldFault, Trial

OldFaults = Mapping[str, OldFault]


class Proving:
    """Runs probes, and remembers what those of the present change have shown."""

    def __init__(self, surroundings: Surroundings) -> None:
        """Look at the node by `surroundings`."""
        self._surroundings = surroundings
        self._built: dict[Probe, NodeProbe] = {}
        self._order: Order | None = None
        self._trials: tuple[Trial, ...] = ()

    def objection(self, probes: Iterable[Probe]) -> str | None:
        """Why this node cannot run one of the probes: an order that needs it could never be confirmed."""
        return next(iter(objections(probes, self._surroundings)), None)

    async def before(self, order: Order) -> OldFaults:
        """Look at the node before a change, so that an old fault is not blamed on a new version."""
        found = [one for _ in range(probing.BASELINE_TIMES) for one in await self._look(order)]
        return probing.old_faults(found)

    async def after(self, order: Order, old: OldFaults, since_change: timedelta) -> tuple[ProbeResult, ...]:
        """Look at the node after a change, and say what the looks so far have shown together.

        What advisory probes found stands there too; an order does not require it.
        """
        if self._order is None or not order.repeats(self._order):
            self._order, self._trials = order, probing.begin(map(rule_for, order.probes), old)
        found = await self._look(order)
        self._trials = tuple(
            probing.measured(trial, one, since_change) for trial, one in zip(self._trials, found, strict=True)
        )
        return (*probing.results(self._trials), *probing.advice(self._trials))

    async def health(self, order: Order) -> tuple[ProbeResult, ...]:
        """Look at the node while nothing changes; an order to fail on purpose says nothing of it."""
        found = await self._look(order)
        return tuple(
            ProbeResult(one.name, one.passed, one.detail, probe.advisory)
            for one, probe in zip(found, order.probes, strict=True)
            if probe.kind != "FailOnPurpose"
        )

    async def _look(self, order: Order) -> list[Measurement]:
        # Kept from look to look, because a driver that hangs is told by the probe that waits for it.
        kept = {probe: self._built.get(probe) or build(probe, self._surroundings) for probe in order.probes}
        self._built = kept
        return [await kept[probe].run() for probe in order.probes]
