"""Checks that run on a device before it confirms a change."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema
from pydantic.config import JsonDict

from backstay.api.resource import ApiModel, Reported, Written
from backstay.api.rules import SET, rule, rules
from backstay.api.scalars import ByteQuantity, Duration, Name, Percentage, SemVer
from backstay.core.planes import Plane
from backstay.core.probing import MOST_CONSECUTIVE


class ProbeKind(StrEnum):
    """What a probe looks at."""

    AGENT_CONNECTED = "AgentConnected"
    INPUT_PRESENT = "InputPresent"
    INFERENCE_ALIVE = "InferenceAlive"
    INFERENCE_READY = "InferenceReady"
    SAMPLE_REPLAY = "SampleReplay"
    SERVICE_HEALTHY = "ServiceHealthy"
    POD_HEALTHY = "PodHealthy"
    DISK_HEADROOM = "DiskHeadroom"
    MEMORY_HEADROOM = "MemoryHeadroom"
    THERMAL_HEADROOM = "ThermalHeadroom"
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


class TripPoint(StrEnum):
    """What the kernel does at a trip point: it slows down, warns, or switches off."""

    PASSIVE = "Passive"
    HOT = "Hot"
    CRITICAL = "Critical"


_PATH: Final = r"^/[A-Za-z0-9_./@:+-]*$"
Path = Annotated[str, Field(max_length=255, pattern=_PATH)]
"""A file or folder of the device."""

FIELD_OWNERS: Final[dict[str, tuple[str, ...]]] = {
    "input": ("InputPresent",),
    "model": ("InferenceReady", "SampleReplay"),
    "minAgreement": ("SampleReplay",),
    "maxLatency": ("SampleReplay",),
    "min": ("DiskHeadroom", "MemoryHeadroom"),
    "path": ("DiskHeadroom",),
    "trip": ("ThermalHeadroom",),
    "margin": ("ThermalHeadroom",),
    "unit": ("ServiceHealthy",),
    "process": ("ServiceHealthy",),
    "pidFile": ("ServiceHealthy",),
    "pod": ("PodHealthy",),
    "minUptime": ("ServiceHealthy", "PodHealthy"),
    "driver": ("NpuReady",),
    "minDriver": ("NpuReady",),
    "minRuntime": ("NpuReady",),
}
"""Which kinds a field belongs to."""


def _belongs(field: str) -> JsonDict:
    kinds = FIELD_OWNERS[field]
    return rule(
        f"!has(self.{field}) || self.kind in {list(kinds)}", f"{field} belongs to {' and '.join(kinds)}", at=".kind"
    )


def _needs(field: str) -> JsonDict:
    kinds = FIELD_OWNERS[field]
    needs = "which needs it" if len(kinds) == 1 else "which need it"
    return rule(
        f"has(self.{field}) == (self.kind in {list(kinds)})",
        f"{field} belongs to {' and '.join(kinds)}, {needs}",
        at=f".{field}",
    )


class ProbeFields(ApiModel):
    """A check and its limits."""

    name: Name
    """Name of the probe, by which failures are reported."""
    kind: WrittenKind
    """AgentConnected: the device has reached its gateway or server. InputPresent: an input delivers data.
    InferenceAlive: the inference answers. InferenceReady: the model is loaded, in the right version. SampleReplay: the
    model answers known samples as it should. ServiceHealthy: a unit or process is at work. PodHealthy: a Pod is ready.
    DiskHeadroom: enough storage is free. MemoryHeadroom: enough memory is available. ThermalHeadroom: all zones are
    cooler than their trip points. NpuReady: the accelerator is there. Devices leave out kinds that they do not have;
    docs/reference/probes.md says which have what."""
    within: Duration | None = None
    """How long after boot or activation the probe may take to pass. Absent: the whole confirm window."""
    advisory: bool | None = None
    """True: a failure is reported and does not keep the change from being confirmed. An esp32 leaves such a probe out.
    Default: false."""
    consecutive: Annotated[int, Field(ge=1, le=MOST_CONSECUTIVE)] | None = None
    """So many passes in a row are needed; an esp32 needs one. Default: 1."""
    input: Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]*$")] | None = None
    """The input that InputPresent looks at, such as camera0."""
    model: Annotated[str, Field(min_length=1, max_length=253)] | None = None
    """For InferenceReady and SampleReplay: the model's name at the inference server. Absent: the one that the device
    should be serving."""
    min_agreement: Percentage | None = None
    """For SampleReplay: share of the samples that must be answered as the artifact says."""
    max_latency: Duration | None = None
    """For SampleReplay: the longest that an answer may take; on a node, 95 % of the answers."""
    min: ByteQuantity | None = None
    """For DiskHeadroom and MemoryHeadroom: what must be left, in bytes, such as 512Mi."""
    path: Path | None = None
    """For DiskHeadroom: a folder of the file system that is meant. Absent: where the agent keeps its data."""
    trip: TripPoint | None = None
    """For ThermalHeadroom: the mildest kind of trip point that counts; worse ones count too. Default: Critical."""
    margin: Annotated[int, Field(ge=0, le=60)] | None = None
    """For ThermalHeadroom: so many degrees Celsius below the trip point. Default: 5."""
    unit: Annotated[str, Field(max_length=255, pattern=r"^[A-Za-z0-9:_.@-]+\.(service|scope)$")] | None = None
    """For ServiceHealthy: a systemd unit, such as inference.service."""
    process: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """For ServiceHealthy: the name of a process, as `ps -o comm` shows it."""
    pid_file: Path | None = None
    """For ServiceHealthy: a file with the number of a process."""
    pod: Annotated[str, Field(max_length=317, pattern=r"^([a-z0-9-]+/)?[a-z0-9][a-z0-9.-]*$")] | None = None
    """For PodHealthy: NAMESPACE/NAME or NAME; of a static Pod without the node's name."""
    min_uptime: Duration | None = None
    """For ServiceHealthy and PodHealthy: so long it must have run without starting again. Default: 10s."""
    driver: Annotated[str, Field(max_length=63, pattern=r"^[A-Za-z0-9_-]+$")] | None = None
    """For NpuReady: the name of the kernel's driver. Default: rknpu."""
    min_driver: SemVer | None = None
    """For NpuReady: the oldest driver that will do, such as 0.9.6."""
    min_runtime: SemVer | None = None
    """For NpuReady: the oldest runtime library that will do, such as 2.3.0."""


class Probe(ProbeFields, Written):
    """A check that runs on the device before it confirms a change.

    Every probe that is not advisory must pass inside the confirm window, or the device falls back by itself. On a node,
    what failed in the same way just before the change does not count against it.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            _needs("input"),
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
            _needs("min"),
            _needs("pod"),
            *(
                _belongs(field)
                for field in ("model", "path", "trip", "margin", "minUptime", "driver", "minDriver", "minRuntime")
            ),
            rule(
                "(has(self.unit) ? 1 : 0) + (has(self.process) ? 1 : 0) + (has(self.pidFile) ? 1 : 0) == "
                "(self.kind == 'ServiceHealthy' ? 1 : 0)",
                "ServiceHealthy needs one of unit, process and pidFile, which belong to it",
                at=".unit",
            ),
            rule(
                "self.kind != 'AgentConnected' || !has(self.advisory) || !self.advisory",
                "AgentConnected is never advisory: a device that cannot be reached could not be told to go back",
                at=".advisory",
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
