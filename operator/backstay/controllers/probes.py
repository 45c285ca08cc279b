"""The checks that a device is told to make before it confirms, from the health rules of a revision."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from backstay.api.healthrule import HealthRuleSpec
from backstay.api.probes import ProbeKind
from backstay.core.rehearsing import FAILING_PROBE

Json = dict[str, Any]

ABLE: Final[Mapping[str, frozenset[ProbeKind]]] = {
    "esp32": frozenset(
        {ProbeKind.AGENT_CONNECTED, ProbeKind.INPUT_PRESENT, ProbeKind.INFERENCE_ALIVE, ProbeKind.SAMPLE_REPLAY}
    ),
}

_ONLY_REQUIRED: Final = frozenset({"esp32"})
"""Classes whose devices know no advisory probes, and would hold a change up for one."""

FAILS_ON_PURPOSE: Final[Json] = {"name": FAILING_PROBE, "kind": ProbeKind.FAIL_ON_PURPOSE.value, "within": "1s"}
"""Given to a device that rehearses falling back: it must do so by itself, as it would if another probe failed."""

REACHED_HOME: Final[Json] = {"name": "agent", "kind": ProbeKind.AGENT_CONNECTED.value}
"""Asked of every device: one that cannot be reached after a change could not be told to go back."""


def probes_for(device_class: str, rules: Mapping[str, HealthRuleSpec]) -> list[Json]:
    """The probes of all rules that such a device can make, by name; two of one name are told apart by their rule."""
    able = ABLE.get(device_class, frozenset(ProbeKind))
    names = Counter(probe.name for spec in rules.values() for probe in spec.probes)
    found = []
    for rule, spec in sorted(rules.items()):
        for probe in spec.probes:
            if probe.kind not in able or (probe.advisory and device_class in _ONLY_REQUIRED):
                continue
            document = probe.to_document()
            del document["blames"]
            if names[probe.name] > 1:
                document["name"] = f"{rule}-{probe.name}"
            found.append(document)
    if not any(probe["kind"] == ProbeKind.AGENT_CONNECTED.value for probe in found):
        free = REACHED_HOME["name"] if "agent" not in names else "agent-connected"
        found.insert(0, {**REACHED_HOME, "name": free})
    return found
