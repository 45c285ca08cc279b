"""HealthRule: what healthy means, to Prometheus and on the device."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from backstay.api.conditions import Conditions
from backstay.api.probes import Probe
from backstay.api.resource import Column, Reported, Resource, Served, Written
from backstay.api.rules import SET, list_map, rule, rules
from backstay.api.scalars import (
    Cell8,
    Cell24,
    Confidence,
    DecimalText,
    Duration,
    Interval,
    Name,
    PositiveDecimalText,
    PositiveDuration,
    PositivePercentage,
)
from backstay.core.planes import Plane
from backstay.core.signals import Direction


class Baseline(StrEnum):
    """What a ring is compared with."""

    BASELINE = "Baseline"


class Compare(Written):
    """Sets the ring's devices against those of its groups that still run the old versions, in the same interval."""

    with_: Annotated[Baseline, Field(validation_alias="with", serialization_alias="with")] = Baseline.BASELINE
    """What to compare with: Baseline is the devices that still run the old versions. Default: Baseline."""
    direction: Direction
    """Which way is worse: Increase, as for latency, or Decrease, as for accuracy."""
    effect: PositiveDecimalText
    """The smallest difference that matters, in the query's own unit, as a decimal string such as '0.05'. A smaller one
    passes however certain it is."""
    confidence: Confidence = "95%"
    """How certain a difference must be, over all looks of a soak together, before it fails the ring. Default: 95%."""


class WhenNoData(StrEnum):
    """What a query without data does to the gate."""

    WAIT = "Wait"
    HALT = "Halt"
    FAIL = "Fail"


class WhenProviderError(StrEnum):
    """What a query that could not be answered does to the gate."""

    WAIT = "Wait"
    HALT = "Halt"


class WhenInconclusive(StrEnum):
    """What a comparison that cannot tell does to the gate."""

    WAIT = "Wait"
    HALT = "Halt"


_MADE_BY_THE_RULE: Final = ("reporting", "metrics", "logs")


class Signal(Written):
    """A Prometheus query that is evaluated over a ring, again and again while it soaks. A value on a limit passes."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.min) || has(self.max) || has(self.compare)",
                "min, max or compare must say what is healthy",
            ),
            rule(
                "!has(self.compare) || (!has(self.min) && !has(self.max))",
                "compare stands alone: put min and max into a signal of their own",
                at=".compare",
            ),
            rule(
                "!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)",
                "min must not be above max",
                at=".min",
            ),
            rule(
                "self.query.contains('${scope}')",
                "the query must restrict backstay_device_info by ${scope}, or it would judge other rings too",
                at=".query",
            ),
            rule(
                "has(self.compare) || self.onInconclusive == 'Wait'",
                "onInconclusive belongs to compare: nothing else is ever inconclusive",
                at=".onInconclusive",
            ),
        )
    )

    name: Name
    """Name of the signal, unique in the rule."""
    blames: Annotated[tuple[Plane, ...], Field(min_length=1, max_length=3, json_schema_extra=SET)]
    """The planes that are suspected when the signal fails."""
    query: Annotated[str, Field(min_length=1, max_length=4096)]
    """PromQL that gives one number for the ring; with `compare`, one series for each device. `${scope}` becomes the
    labels of the ring's devices and stands on backstay_device_info:
    `m * on(namespace, device) group_left() backstay_device_info{${scope}}`. `${since}` becomes the Unix time at which
    the present phase of the ring began to be watched. The plan's namespace is added to every selector."""
    min: DecimalText | None = None
    """The lowest healthy value, as a decimal string such as '0.95'."""
    max: DecimalText | None = None
    """The highest healthy value, as a decimal string such as '0.120'."""
    compare: Compare | None = None
    """Compares with devices that still run the old versions, in place of fixed limits."""
    failure_limit: Annotated[int, Field(ge=1, le=100)] = 3
    """So many failed evaluations in a row fail the ring. Default: 3."""
    total_failure_limit: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """So many failed evaluations in one phase fail the ring, however many passes lie between them. Absent: only those
    in a row count."""
    initial_delay: Duration = "0s"
    """How long after a phase began its evaluations say nothing yet, because the devices have only just changed; a soak
    lasts at least as long. Default: 0s."""
    on_no_data: WhenNoData = WhenNoData.WAIT
    """What an empty answer does; it never passes. Wait: the ring waits for data. Halt: it stops for a person. Fail: it
    counts as a failure. Default: Wait."""
    on_provider_error: WhenProviderError = WhenProviderError.WAIT
    """What an unreachable or refusing Prometheus does; it never passes and never rolls back. Wait: the ring waits.
    Halt: it stops for a person. Default: Wait."""
    on_inconclusive: WhenInconclusive = WhenInconclusive.WAIT
    """What a comparison does that has too few devices on one side; it is excused only where the release itself has left
    none to compare with. Wait: the ring waits for more. Halt: it stops for a person. Default: Wait."""
    wait_limit: PositiveDuration | None = None
    """How long the ring waits for a signal without an answer that counts before it stops for a person. Absent: for
    ever."""
    dry_run: bool = False
    """True evaluates the signal and shows its verdicts, and no gate asks for it: to try a signal out before it can stop
    anything. Default: false."""


class HealthRuleSpec(Written):
    """What healthy means: signals that Prometheus answers for a ring, and probes that a device answers for itself."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(has(self.signals) && size(self.signals) > 0) || (has(self.probes) && size(self.probes) > 0) || "
                "has(self.minReporting)",
                "at least one signal or probe is needed, or minReporting",
            ),
            rule(
                "!has(self.minReporting) || !has(self.signals) || "
                f"!self.signals.exists(s, s.name in {list(_MADE_BY_THE_RULE)})",
                "with minReporting, reporting, metrics and logs are signals that the rule makes itself: "
                "take other names",
                at=".signals",
            ),
        )
    )

    interval: Interval = "30s"
    """How often the signals are evaluated, 1s at the shortest. Default: 30s."""
    signals: Annotated[tuple[Signal, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """Queries that must pass for a ring to pass."""
    min_reporting: PositivePercentage | None = None
    """Share of the ring's reachable devices that must be heard of while the ring is watched. It makes three signals of
    its own, which blame every plane: `reporting` for the devices that report version and health, `metrics` for those of
    which a report has arrived since the watch began, and `logs` for those of which a log line has. Absent: none."""
    probes: Annotated[tuple[Probe, ...], Field(max_length=16, json_schema_extra=list_map("name"))] = ()
    """Checks that must pass on a device before it confirms."""


class HealthRuleSummary(Reported):
    """The columns of `kubectl get`, ready to print."""

    signals: Cell8 = ""
    """Number of signals."""
    probes: Cell8 = ""
    """Number of probes."""
    health: Cell24 = ""
    """Accepted, or why not."""


class HealthRuleStatus(Reported):
    """Whether the rule can be used."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the spec that this status answers."""
    summary: HealthRuleSummary = HealthRuleSummary()
    """What `kubectl get` prints."""
    conditions: Conditions = ()
    """Ready, Reconciling and Stalled as kstatus reads them; Accepted."""


class HealthRule(Resource):
    """What healthy means.

    ReleasePlans name the rules that gate their rings; what a rule found stands in the plan's status.
    """

    served: ClassVar[Served] = Served(
        plural="healthrules",
        short_names=("hr",),
        columns=(
            Column("Interval", ".spec.interval", description="How often the signals are evaluated."),
            Column("Signals", ".status.summary.signals", description="Number of signals."),
            Column("Probes", ".status.summary.probes", description="Number of probes."),
            Column("State", ".status.summary.health", description="Accepted, or why not."),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )

    kind: Literal["HealthRule"] = "HealthRule"
    spec: HealthRuleSpec
    status: HealthRuleStatus = HealthRuleStatus()
