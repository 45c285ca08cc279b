"""What the node's EdgeDevice asks of it: the one step that is ordered, with all that is needed to carry it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from backstay.api.device_conversion import device_from
from backstay.api.device_status import Status, status_from
from backstay.api.durations import parse_duration
from backstay.core.device import Order, Probe
from backstay.core.device_record import probe_ordered, requirements
from backstay.core.devices import Assignment, Device, Mode, Step
from backstay.core.holds import Action
from backstay.core.planes import ContentDigest, Plane
from backstay.errors import Refused

Json = dict[str, Any]

AGENT_PROBE: Final = Probe("agent", "AgentConnected")
"""What an order without a required probe is confirmed by: nothing is confirmed by having started."""
DEFAULT_WINDOW: Final = "5m"


@dataclass(frozen=True, slots=True)
class Mandate:
    """The node's EdgeDevice at one moment."""

    device: Device
    status: Status
    generation: int = 0
    probes: tuple[Probe, ...] = ()
    window: str = DEFAULT_WINDOW
    retain: Mapping[Plane, timedelta] = field(default_factory=dict)
    """How long versions are kept after they were left."""
    safe: bool = False
    """The node is to be in safe mode."""
    recover: int = 0
    """How often a person has asked the node to recover."""

    @property
    def step(self) -> Step | None:
        """The step that was ordered last."""
        return self.device.step

    @property
    def ordered(self) -> Assignment | None:
        """What that step changes to."""
        return None if self.step is None else self.device.assigned.get(self.step.plane)

    def order(self) -> Order | None:
        """The step as the machine takes it, unless there is none, or it was taken back before it was begun."""
        step, ordered = self.step, self.ordered
        if step is None or ordered is None or (step.withdrawn and not self.device.begun):
            return None
        return Order(
            number=step.number,
            plane=step.plane,
            type=step.type,
            content=ordered.content,
            version=ordered.version,
            probes=self.probes if any(not probe.advisory for probe in self.probes) else (*self.probes, AGENT_PROBE),
            window=parse_duration(self.window),
            requires=requirements({str(plane): text for plane, text in ordered.requires}),
            rehearsal=step.drill is not None,
            again=step.again,
        )

    def action(self) -> Action | None:
        """The step as a hold sees it."""
        step, ordered = self.step, self.ordered
        if step is None or ordered is None:
            return None
        return Action(
            device=self.device.name,
            labels=self.device.labels,
            groups=self.device.groups,
            plane=step.plane,
            type=step.type,
            content=ordered.content,
            expires=step.expires,
            begun=self.device.begun,
        )

    def version_of(self, plane: Plane, content: ContentDigest) -> str | None:
        """The operator's name of a content."""
        known = self.device.assigned.get(plane)
        return known.version if known is not None and known.content == content else None


def mandate_from(raw: Json) -> Mandate:
    """Read an EdgeDevice as the API server sends it.

    Raises:
        Refused: it lacks what every EdgeDevice has, or its order cannot be understood.
    """
    device, desired = device_from(raw), raw["spec"].get("desired") or {}
    name = raw["metadata"]["name"]
    try:
        probes = tuple(probe_ordered(found) for found in desired.get("probes") or ())
        made = Mandate(
            device=device,
            status=status_from(raw.get("status") or {}, device.planes),
            generation=int(raw["metadata"].get("generation", 0)),
            probes=probes,
            window=desired.get("window") or DEFAULT_WINDOW,
            retain={
                plane: parse_duration(assigned["retain"])
                for plane in Plane
                if (assigned := desired.get(plane) or {}).get("retain")
            },
            safe=raw["spec"].get("mode") == Mode.SAFE,
            recover=int(raw["spec"].get("recover") or 0),
        )
        made.order()
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Refused(f"the order of EdgeDevice {name} cannot be understood: {error!r}") from error
    return made
