"""What the agent proves a change by: the probes of its order, run on the node after the change."""

from collections.abc import Iterable
from typing import Protocol

from backstay.core.device import Order, Probe, ProbeResult
from backstay.core.devices import StepType
from backstay.core.planes import Plane


class Prober(Protocol):
    """Runs probes; one that fails is a result, never an error."""

    def unknown(self, probes: Iterable[Probe]) -> Probe | None:
        """The first probe that this node cannot run: an order that needs it could never be confirmed."""
        ...

    async def run(self, order: Order, *, connected: bool) -> tuple[ProbeResult, ...]:
        """Run the order's probes once; `connected` tells whether the API server has answered since the change."""
        ...


class BuiltIn:
    """The probes that need nothing of the node but its agent; fulfils `Prober`."""

    def unknown(self, probes: Iterable[Probe]) -> Probe | None:
        """Any that is not one of the two."""
        return next((probe for probe in probes if probe.kind not in {"AgentConnected", "FailOnPurpose"}), None)

    async def run(self, order: Order, *, connected: bool) -> tuple[ProbeResult, ...]:
        """Run them."""
        return tuple(_built_in(probe, order, connected=connected) for probe in order.probes)


def _built_in(probe: Probe, order: Order, *, connected: bool) -> ProbeResult:
    if probe.kind == "FailOnPurpose":
        return ProbeResult(probe.name, passed=False, detail="a rehearsal: it fails on purpose")
    # A model or a config cannot cut the node off, and must not be undone because somebody else is away.
    if order.plane is not Plane.FIRMWARE or order.type is StepType.RETURN:
        return ProbeResult(probe.name, passed=True, detail="the agent runs")
    detail = "the API server has answered since the change" if connected else "the API server does not answer"
    return ProbeResult(probe.name, passed=connected, detail=detail)
