"""Checks that run on a device before it confirms a change."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from backstay.api.resource import ApiModel, Reported, Written
from backstay.api.rules import SET, rule, rules
from backstay.api.scalars import ByteQuantity, Duration, Name, Percentage
from backstay.core.planes import Plane


class ProbeKind(StrEnum):
    """What a probe looks at."""

    AGENT_CONNECTED = "AgentConnected"
    INPUT_PRESENT = "InputPresent"
    INFERENCE_ALIVE = "InferenceAlive"
    SAMPLE_REPLAY = "SampleReplay"
    DISK_HEADROOM = "DiskHeadroom"
    NPU_READY = "NpuReady"
    FAIL_ON_PURPOSE = "FailOnPurpose"


_WRITTEN_KINDS: Final = tuple(kind.value for kind in ProbeKind if kind is not ProbeKind.FAIL_ON_PURPOSE)


def _not_on_purpose(kind: ProbeKind) -> ProbeKind:
    if kind is ProbeKind.FAIL_ON_PURPOSE:
        message = "FailOnPurpose is the operator's own, for rehearsals"
        raise ValueError(message)
    return kind


WrittenKind = Annotated[
    ProbeKind, AfterValidator(_not_on_purpose), WithJsonSchema({"type": "string", "enum": list(_WRITTEN_KINDS)})
]
"""A kind that a person may ask for."""


class ProbeFields(ApiModel):
    """A check and its limits."""

    name: Name
    """Name of the probe, by which failures are reported."""
    kind: WrittenKind
    """AgentConnected: the device has reached its gateway or server. InputPresent: an input delivers data.
    InferenceAlive: the model answers. SampleReplay: the model answers known samples as it should. DiskHeadroom: enough
    storage is free. NpuReady: the accelerator is there."""
    within: Duration | None = None
    """How long after boot or activation the probe may take to pass. Absent: the whole confirm window."""
    input: Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$")] | None = None
    """The input that InputPresent looks at, such as camera0."""
    min_agreement: Percentage | None = None
    """For SampleReplay: share of the samples that must be answered as the artifact says."""
    max_latency: Duration | None = None
    """For SampleReplay: the slowest answer allowed."""
    min: ByteQuantity | None = None
    """For DiskHeadroom: free storage in bytes, such as 512Mi."""


class Probe(ProbeFields, Written):
    """A check that runs on the device before it confirms a change.

    Every probe must pass inside the confirm window, or the device falls back by itself.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.input) == (self.kind == 'InputPresent')",
                "input belongs to InputPresent, which needs it",
                at=".input",
            ),
            rule(
                "self.kind == 'SampleReplay' || (!has(self.minAgreement) && !has(self.maxLatency))",
                "minAgreement and maxLatency belong to SampleReplay",
                at=".kind",
            ),
            rule(
                "self.kind != 'SampleReplay' || has(self.minAgreement) || has(self.maxLatency)",
                "SampleReplay needs minAgreement, maxLatency or both",
                at=".minAgreement",
            ),
            rule(
                "has(self.min) == (self.kind == 'DiskHeadroom')",
                "min belongs to DiskHeadroom, which needs it",
                at=".min",
            ),
            rule("self.name != 'rehearsal'", "rehearsal is the name of the operator's own probe", at=".name"),
        )
    )

    blames: Annotated[tuple[Plane, ...], Field(min_length=1, max_length=3, json_schema_extra=SET)]
    """The planes that are suspected when the probe fails."""


class ResolvedProbe(ProbeFields, Reported):
    """A probe as the device is told to run it."""

    kind: ProbeKind
    """As in a HealthRule; FailOnPurpose always fails, and is given to a device that rehearses falling back."""
