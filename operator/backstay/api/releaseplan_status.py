"""What the operator says of a ReleasePlan, and what it needs to resume after a crash."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import AwareDatetime, Field

from backstay.api.conditions import Conditions
from backstay.api.resource import Reported
from backstay.api.rules import ATOMIC, list_map
from backstay.api.scalars import (
    Cell10,
    Cell16,
    Cell22,
    Count,
    DecimalText,
    Digest,
    LabelKey,
    LongText,
    Name,
    ObjectName,
    SemVer,
)
from backstay.core.devices import Drill
from backstay.core.holds import Conviction
from backstay.core.planes import Plane
from backstay.core.revision import DrillStage
from backstay.core.signals import Result

RevisionText = Annotated[str, Field(max_length=32, pattern=r"^([a-f0-9]{8,16}-[0-9]{1,10})?$")]
"""Name of a revision: the hash of its contents, and the plan's counter."""

Number = Annotated[str, Field(max_length=32)]
"""A measured number as text: a decimal, also with an exponent, or +Inf."""


Planes = Annotated[tuple[Plane, ...], Field(max_length=3, json_schema_extra=ATOMIC)]
"""Some planes, in an order that means something."""


SignalName = Annotated[str, Field(max_length=317)]
"""Name of a signal, after that of its HealthRule and a dash where two rules have one of that name."""

LONGEST_CAUSE: Final = 4096
LONGEST_QUERY: Final = 8192
LONGEST_VERDICT: Final = 1024
LONGEST_CALLER: Final = 256
MOST_VERDICTS: Final = 20

Evaluations = Annotated[int, Field(ge=0, le=1_000_000)]
"""A number of evaluations of one signal."""


class RevisionPhase(StrEnum):
    """What a revision is doing."""

    PENDING = "Pending"
    ROLLING = "Rolling"
    SOAKING = "Soaking"
    REHEARSING = "Rehearsing"
    STABILIZING = "Stabilizing"
    SUCCEEDED = "Succeeded"
    ROLLING_BACK = "RollingBack"
    VERIFYING = "Verifying"
    ROLLED_BACK = "RolledBack"
    UNRESOLVED = "Unresolved"
    HALTED = "Halted"
    SUPERSEDED = "Superseded"


class SignalVerdict(Reported):
    """What one signal said, with all that a person needs to see for themselves."""

    signal: SignalName
    """Name of the signal."""
    rule: Annotated[str, Field(max_length=253)] = ""
    """Name of its HealthRule."""
    result: Result
    """Pass, Fail, Inconclusive, NoData or ProviderError."""
    value: Number | None = None
    """The value that the query returned, or the difference from the baseline; absent where there was none."""
    query: Annotated[str, Field(max_length=LONGEST_QUERY)] = ""
    """The query as it was sent."""
    message: Annotated[str, Field(max_length=LONGEST_VERDICT)] = ""
    """The verdict in words."""
    at: AwareDatetime
    """When it was asked."""


Verdicts = Annotated[tuple[SignalVerdict, ...], Field(max_length=MOST_VERDICTS, json_schema_extra=ATOMIC)]


class SignalProgress(Reported):
    """How a signal stands across evaluations."""

    name: SignalName
    """Name of the signal."""
    rule: Annotated[str, Field(max_length=253)] = ""
    """Name of its HealthRule."""
    failures: Evaluations = 0
    """Failed evaluations in a row."""
    total: Evaluations = 0
    """Failed evaluations of the phase altogether."""
    looks: Evaluations = 0
    """Comparisons made in the phase, which share one error budget."""
    last_at: AwareDatetime | None = None
    """When it was last evaluated."""
    unclear_since: AwareDatetime | None = None
    """Since when it has been neither good nor bad; absent while it is either."""


class Cause(Reported):
    """Why a gate failed, kept to the end because the evidence is gone once health has returned."""

    reason: Annotated[str, Field(max_length=128)]
    """Why, in one CamelCase word."""
    message: Annotated[str, Field(max_length=LONGEST_CAUSE)] = ""
    """Why, in a sentence."""


class SegmentLabel(Reported):
    """One label and its value, on which failing devices concentrate."""

    key: LabelKey
    """Key of the label."""
    value: Annotated[str, Field(max_length=63)] = ""
    """Its value."""


class DrillProgress(Reported):
    """One device of a rehearsal."""

    device: ObjectName
    """Name of the EdgeDevice."""
    kind: Drill
    """RoundTrip: it goes back and forward again. Break: it fails on purpose as well."""
    stage: DrillStage
    """How far it has come."""


class Progress(Reported):
    """Where the revision stands, as the operator needs it to go on after a restart.

    Not for people or other programs.
    """

    counter: Annotated[int, Field(ge=0)] = 0
    """Number of revisions that this plan has started."""
    hash: Annotated[str, Field(max_length=64)] = ""
    """Hash of the revision's contents."""
    ring_index: Annotated[int, Field(ge=-1, le=63)] = 0
    """Position of the current ring."""
    ring_since: AwareDatetime | None = None
    """When the current ring started."""
    since: AwareDatetime | None = None
    """When the present phase began."""
    plane: Plane | None = None
    """The plane that is being reverted or verified."""
    suspects: Planes = ()
    """Planes that are still to be reverted if health does not return, the likeliest first."""
    reverted: Planes = ()
    """The planes that were reverted, in that order."""
    beside: Planes = ()
    """Planes that had to go back with a suspect, because the versions would not have fitted together without."""
    cause: Cause | None = None
    """Why the gate failed."""
    segment: SegmentLabel | None = None
    """The label to whose devices a rollback is confined."""
    confined_to_ring: bool = False
    """Whether a rollback reaches only the devices of the current ring."""
    recovered_unaided: bool = False
    """Whether health returned while every device still ran the suspect, so that nothing is proved against it."""
    asked_by: Annotated[str, Field(max_length=LONGEST_CALLER)] | None = None
    """Who asked for the rollback; absent where a gate failed."""
    approved: Annotated[int, Field(ge=0, le=64)] = 0
    """So many rings, from the first, may start as far as approval goes."""
    pardoned: Annotated[tuple[Count, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Failures that a person has accepted, ring by ring from the first."""
    retried_at: AwareDatetime | None = None
    """When a person let the devices try again that had failed before."""
    halted_from: RevisionPhase | None = None
    """The phase in which a halted rollout goes on when a person resumes it."""
    drills: Annotated[tuple[DrillProgress, ...], Field(max_length=101, json_schema_extra=ATOMIC)] = ()
    """The devices of the current ring's rehearsal."""
    rehearsed: Annotated[tuple[Name, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """The rings whose rehearsal has proved recovery."""
    signals: Annotated[tuple[SignalProgress, ...], Field(max_length=304, json_schema_extra=ATOMIC)] = ()
    """How each signal has stood in the present phase."""
    verdicts: Verdicts = ()
    """The latest verdicts."""


class RingStatus(Reported):
    """How far a ring has come. A device that was ordered to change stays in every count, also when it falls silent."""

    name: Name
    """Name of the ring."""
    target: Count = 0
    """Devices that the ring takes."""
    assigned: Count = 0
    """Devices that were given the new versions to run."""
    started: Count = 0
    """Devices that were ordered to change."""
    confirmed: Count = 0
    """Devices that run the new versions and confirmed them."""
    failed: Count = 0
    """Devices that failed a step or missed its deadline."""
    offline: Count = 0
    """Devices that were unreachable, or held, before anything was ordered."""
    in_flight: Count = 0
    """Devices that are changing now."""
    verdict: Result | None = None
    """The worst verdict of the ring's signals; absent before the first."""
    soak_started: AwareDatetime | None = None
    """When enough devices had confirmed and the soak began."""
    passed: AwareDatetime | None = None
    """When every gate had passed."""
    error_budget_spent: DecimalText | None = None
    """What comparisons have spent of the looks that the ring's watch plans for them, from 0; above 1 where the watch
    lasts longer than planned. Absent where nothing is compared."""


class Culprit(Reported):
    """The version that a rollback found guilty, or could not clear."""

    plane: Plane
    """Its plane."""
    version: Annotated[str, Field(max_length=64)] = ""
    """Its version."""
    digest: Digest | None = None
    """The digest of its content, by which it is frozen."""
    verdict: Conviction
    """Convicted, if reverting it restored health; Suspect, if it was reverted beside another."""
    reason: LongText = ""
    """The evidence."""
    hold: Annotated[str, Field(max_length=253)] = ""
    """Name of the Hold that freezes it."""


class VersionNames(Reported):
    """Version of each plane, for people."""

    firmware: SemVer | None = None
    """Version of the firmware."""
    model: SemVer | None = None
    """Version of the model."""
    config: SemVer | None = None
    """Version of the config."""


class PastRevision(Reported):
    """How an earlier revision ended."""

    revision: RevisionText
    """Name of the revision."""
    versions: VersionNames = VersionNames()
    """What it shipped."""
    phase: RevisionPhase
    """The phase in which it ended."""
    ended: AwareDatetime
    """When it ended."""
    reason: LongText = ""
    """Why it ended so."""


class RequestAnswer(Reported):
    """How a person's request was answered."""

    reason: Annotated[str, Field(max_length=128)]
    """In one CamelCase word: Approved, Resumed, Retried, RollbackAsked or RequestRefused."""
    message: LongText = ""
    """In a sentence: what happens now, or why nothing does."""


class ReleasePlanSummary(Reported):
    """The columns of `kubectl get`, ready to print."""

    ring: Cell10 = ""
    """The ring that the revision has reached."""
    confirmed: Cell16 = ""
    """Confirmed devices of all devices, as 12/60."""
    health: Cell22 = ""
    """Healthy, or why not."""


class ReleasePlanStatus(Reported):
    """How far the present revision has come, and why it stands where it stands."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that this status answers."""
    revision: RevisionText = ""
    """The revision that is rolled out: the hash of its contents, and a counter that never repeats."""
    phase: RevisionPhase | None = None
    """What the revision is doing."""
    phase_since: AwareDatetime | None = None
    """When the phase began."""
    ring: Annotated[str, Field(max_length=63)] = ""
    """The ring that the revision has reached."""
    rings: Annotated[tuple[RingStatus, ...], Field(max_length=64, json_schema_extra=list_map("name"))] = ()
    """Each ring of the plan."""
    culprit: Culprit | None = None
    """The version that was found guilty."""
    last_handled_request: Annotated[str, Field(max_length=512)] = ""
    """The last `backstay.dev/request` that was carried out or refused. Each is answered once."""
    request_answer: RequestAnswer | None = None
    """How that request was answered."""
    evidence: Verdicts = ()
    """The verdicts that failed the gate, as they were then; absent where no signal did."""
    history: Annotated[tuple[PastRevision, ...], Field(max_length=10, json_schema_extra=ATOMIC)] = ()
    """How the last revisions ended, the latest first."""
    summary: ReleasePlanSummary = ReleasePlanSummary()
    """What `kubectl get` prints."""
    progress: Progress = Progress()
    """What the operator needs to resume."""
    conditions: Conditions = ()
    """Ready, Reconciling and Stalled as kstatus reads them; Accepted, Verified (every artifact bears a trusted
    signature), RecoveryProven, Succeeded, and Paging (the pages that are due were delivered)."""
