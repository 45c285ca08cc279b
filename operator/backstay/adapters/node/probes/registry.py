"""The kinds of probes that a node can run, and what it cannot."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from backstay.adapters.node.probes.agent import AgentConnected
from backstay.adapters.node.probes.disk import DiskHeadroom
from backstay.adapters.node.probes.inference import InferenceAlive, InferenceReady
from backstay.adapters.node.probes.memory import MemoryHeadroom
from backstay.adapters.node.probes.npu import NpuReady
from backstay.adapters.node.probes.on_purpose import FailOnPurpose
from backstay.adapters.node.probes.pod import PodHealthy
from backstay.adapters.node.probes.probe import NodeProbe
from backstay.adapters.node.probes.replay import SampleReplay
from backstay.adapters.node.probes.service import ServiceHealthy
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.adapters.node.probes.thermal import ThermalHeadroom
from backstay.adapters.node.probes.video import InputPresent
from backstay.core.device import Probe
from backstay.core.probing import ProbeRule, rule_of

KINDS: Final[Mapping[str, type[NodeProbe]]] = MappingProxyType(
    {
        "AgentConnected": AgentConnected,
        "InputPresent": InputPresent,
        "InferenceAlive": InferenceAlive,
        "InferenceReady": InferenceReady,
        "SampleReplay": SampleReplay,
        "ServiceHealthy": ServiceHealthy,
        "PodHealthy": PodHealthy,
        "DiskHeadroom": DiskHeadroom,
        "MemoryHeadroom": MemoryHeadroom,
        "ThermalHeadroom": ThermalHeadroom,
        "NpuReady": NpuReady,
        "FailOnPurpose": FailOnPurpose,
    }
)


def build(probe: Probe, surroundings: Surroundings) -> NodeProbe:
    """The probe, ready to run.

    Raises:
        ValueError: the kind is unknown or a setting wrong; `objections` tells that before a download.
    """
    if (kind := KINDS.get(probe.kind)) is None:
        raise ValueError(f"a node has no probe {probe.kind}; it has {', '.join(sorted(KINDS))}")
    return kind(probe, surroundings)


def rule_for(probe: Probe) -> ProbeRule:
    """What is asked of the probe: how often it must pass, by when, and whether an old fault excuses it.

    Raises:
        ValueError: a setting is wrong; says which.
    """
    kind = KINDS.get(probe.kind)
    return rule_of(probe, excusable=kind is not None and kind.excusable)


def objections(probes: Iterable[Probe], surroundings: Surroundings) -> tuple[str, ...]:
    """Why this node cannot run some of the probes, each by name; an order with one is refused before its download."""
    found = []
    for probe in probes:
        try:
            build(probe, surroundings)
            rule_for(probe)
        except ValueError as error:
            found.append(f"probe {probe.name}: {error}")
    return tuple(found)
