"""The probes that an ESP32 can run on itself after a change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from backstay.core.device import Probe, ProbeResult
from backstay.core.quantities import fraction_of, seconds_of
from backstay.simulate.serving import Serving

BUILT_IN: Final = (Probe("agent", "AgentConnected"), Probe("inference", "InferenceAlive"))
"""What must pass where an order names no probes: having started is never enough."""

ON_PURPOSE: Final = "FailOnPurpose"
"""The kind that always fails, for a device that rehearses falling back; it says nothing of how the device is."""


@dataclass(slots=True)
class Evidence:
    """What the probes look at; all of it is from after the change."""

    serving: Serving
    connected: bool = False
    """The bridge has answered since the change."""
    camera: bool = True
    failing: frozenset[str] = field(default_factory=frozenset)
    """Probes that were ordered to fail, by name."""


def run_probes(probes: tuple[Probe, ...], evidence: Evidence) -> tuple[ProbeResult, ...]:
    """Run each probe once."""
    return tuple(_run(probe, evidence) for probe in probes)


def is_known(probe: Probe) -> bool:
    """Tell whether an ESP32 can run this kind of probe."""
    return probe.kind in _KINDS


def tells_health(probe: Probe) -> bool:
    """Tell whether this probe's result says anything of the device's health."""
    return is_known(probe) and probe.kind != ON_PURPOSE


def _run(probe: Probe, evidence: Evidence) -> ProbeResult:
    if probe.name in evidence.failing:
        return ProbeResult(probe.name, passed=False, detail="failed by order")
    passed, detail = _KINDS[probe.kind](probe, evidence)
    return ProbeResult(probe.name, passed, detail)


def _agent_connected(_probe: Probe, evidence: Evidence) -> tuple[bool, str]:
    return evidence.connected, "" if evidence.connected else "the bridge has not answered since the change"


def _input_present(probe: Probe, evidence: Evidence) -> tuple[bool, str]:
    return evidence.camera, "" if evidence.camera else f"no frames from {probe.setting('input') or 'camera0'}"


def _inference_alive(_probe: Probe, evidence: Evidence) -> tuple[bool, str]:
    alive = evidence.serving.answers > 0
    return alive, "" if alive else "no answer since the change"


def _sample_replay(probe: Probe, evidence: Evidence) -> tuple[bool, str]:
    agreement, latency = evidence.serving.agreement()
    wanted = fraction_of(probe.setting("minAgreement") or "0")
    allowed = seconds_of(probe.setting("maxLatency") or "1h")
    detail = f"agreement {agreement:.3f}, at least {wanted:.3f} wanted; latency {latency * 1000:.2f} ms"
    return agreement >= wanted and latency <= allowed, detail


def _fail_on_purpose(_probe: Probe, _evidence: Evidence) -> tuple[bool, str]:
    return False, "failed on purpose, to rehearse falling back"


_KINDS: Final[Mapping[str, Callable[[Probe, Evidence], tuple[bool, str]]]] = {
    "AgentConnected": _agent_connected,
    "InputPresent": _input_present,
    "InferenceAlive": _inference_alive,
    "SampleReplay": _sample_replay,
    ON_PURPOSE: _fail_on_purpose,
}
