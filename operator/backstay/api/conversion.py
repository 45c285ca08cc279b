"""What people write ⇄ what decisions look at: plans, health rules, groups, holds, selectors."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from backstay.api.devicegroup import DeviceGroupSpec
from backstay.api.durations import parse_duration
from backstay.api.healthrule import Compare, HealthRuleSpec
from backstay.api.healthrule import Signal as WrittenSignal
from backstay.api.hold_conversion import selector_from
from backstay.api.probes import ProbeKind
from backstay.api.releaseplan import Approval, PlaneVersion, ReleasePlanSpec
from backstay.api.releaseplan import Rehearsal as WrittenRehearsal
from backstay.api.releaseplan import Retries as WrittenRetries
from backstay.api.releaseplan import Ring as WrittenRing
from backstay.api.releaseplan import Rollback as WrittenRollback
from backstay.api.releaseplan import Success as WrittenSuccess
from backstay.api.reporting import reporting_signals
from backstay.api.scalars import parse_fraction
from backstay.api.windows import Day
from backstay.api.windows import Window as WrittenWindow
from backstay.core.enrolment import EnrolmentRule
from backstay.core.failures import RetryPolicy
from backstay.core.observed import GroupRules
from backstay.core.plan import Count, Plan, Rehearsal, Ring, RollbackPolicy, Share, Size, Success
from backstay.core.planes import Plane, Release, Requirement, VersionRange
from backstay.core.signals import Comparison, Direction, Signal, WhenUnclear
from backstay.core.windows import Window

_CHEAPEST_FIRST: Final = RollbackPolicy().order
_EVERYBODY: Final = WrittenRing(name="all", in_flight="100%")
"""The one ring of a plan that names none."""
_RESOURCES: Final = frozenset({ProbeKind.DISK_HEADROOM, ProbeKind.MEMORY_HEADROOM, ProbeKind.THERMAL_HEADROOM})
_WEEK: Final = {day: number for number, day in enumerate(Day)}


def plan_from(
    namespace: str,
    name: str,
    spec: ReleasePlanSpec,
    rules: Mapping[str, HealthRuleSpec],
    releases: Mapping[Plane, Release],
) -> Plan:
    """The plan as decisions see it; `releases` are what its artifacts declare, which the plan may tighten."""
    versions = spec.versions.by_plane()
    return Plan(
        namespace=namespace,
        name=name,
        target={plane: tightened(release, versions[plane]) for plane, release in releases.items()},
        rings=tuple(ring_from(ring) for ring in spec.rings or (_EVERYBODY,)),
        success=_success(spec.success),
        deadlines={
            Plane.FIRMWARE: parse_duration(spec.deadlines.firmware),
            Plane.MODEL: parse_duration(spec.deadlines.model),
            Plane.CONFIG: parse_duration(spec.deadlines.config),
        },
        signals=signals_from(rules),
        rollback=_rollback(spec.rollback),
        stability=parse_duration(spec.stability_window),
        paused=spec.paused,
        irreversible=frozenset(plane for plane, version in versions.items() if version.irreversible),
        retries=_retries(spec.retries),
        retain=timedelta(0) if spec.retain is None else parse_duration(spec.retain),
        resource_probes=resource_probes_from(rules),
    )


def tightened(release: Release, version: PlaneVersion) -> Release:
    """A release that also needs what the plan demands of its neighbours; both must hold."""
    if version.requires is None:
        return release
    wanted = version.requires.by_plane()
    more = tuple(Requirement(plane, VersionRange.parse(text)) for plane, text in sorted(wanted.items()))
    return replace(release, requires=(*release.requires, *(one for one in more if one not in release.requires)))


def ring_from(ring: WrittenRing) -> Ring:
    """A ring as decisions see it."""
    return Ring(
        name=ring.name,
        selector=None if ring.select is None else selector_from(ring.select),
        size=None if ring.size is None else size_from(ring.size),
        minimum=ring.min,
        soak=parse_duration(ring.soak),
        in_flight=size_from(ring.in_flight),
        max_failed=size_from(ring.max_failed),
        min_samples=ring.min_samples,
        spread_by=ring.spread_by,
        rehearsal=None if ring.rehearsal is None else _rehearsal(ring.rehearsal),
        needs_approval=ring.approval is Approval.MANUAL,
        windows=windows_from(ring.window),
    )


def windows_from(written: WrittenWindow | None) -> tuple[Window, ...]:
    """The window as one that must be open; none where there is none."""
    return () if written is None else (window_from(written),)


def window_from(written: WrittenWindow) -> Window:
    """A window on the wall clock of its time zone."""
    return Window(
        days=frozenset(_WEEK[day] for day in written.days),
        start=time.fromisoformat(written.start),
        end=time.fromisoformat(written.end),
        zone=ZoneInfo(written.time_zone),
    )


def group_rules_from(spec: DeviceGroupSpec, devices: int, unavailable: int) -> GroupRules:
    """What a group demands of all plans, and how many of its devices there are and are changing or unhealthy."""
    return GroupRules(
        paused=spec.paused,
        windows=windows_from(spec.window),
        max_unavailable=None if spec.max_unavailable is None else size_from(spec.max_unavailable),
        devices=devices,
        unavailable=unavailable,
    )


def size_from(text: int | str) -> Size:
    """A number of devices, or an exact share of them."""
    return Count(text) if isinstance(text, int) else Share(Fraction(parse_fraction(text)))


def enrolment_rule_from(group: str, spec: DeviceGroupSpec) -> EnrolmentRule | None:
    """Whom a group lets in, if it lets in anybody."""
    if spec.enrol is None:
        return None
    return EnrolmentRule(group, spec.enrol.names, spec.enrol.labels, selector_from(spec.selector))


def signals_from(rules: Mapping[str, HealthRuleSpec]) -> tuple[Signal, ...]:
    """The signals of all rules, in the order of their names, each rule's own before those that `minReporting` makes.

    Two of one name are told apart by their rule.
    """
    made = {rule: reporting_signals(rule, spec) for rule, spec in rules.items()}
    names = Counter(signal.name for spec in rules.values() for signal in spec.signals)
    names.update(signal.name for signals in made.values() for signal in signals)
    return tuple(
        signal
        for rule, spec in sorted(rules.items())
        for signal in (
            *(_signal(own, spec, rule, _told_apart(own.name, rule, names)) for own in spec.signals),
            *made[rule],
        )
    )


def resource_probes_from(rules: Mapping[str, HealthRuleSpec]) -> frozenset[str]:
    """The probes that look at what a device has left, by the names under which devices are told to run them."""
    names = Counter(probe.name for spec in rules.values() for probe in spec.probes)
    return frozenset(
        _told_apart(probe.name, rule, names)
        for rule, spec in rules.items()
        for probe in spec.probes
        if probe.kind in _RESOURCES
    )


def _told_apart(name: str, rule: str, names: Mapping[str, int]) -> str:
    return f"{rule}-{name}" if names[name] > 1 else name


def _signal(written: WrittenSignal, spec: HealthRuleSpec, rule: str, name: str) -> Signal:
    return Signal(
        name=name,
        query=written.query,
        blames=written.blames,
        minimum=None if written.min is None else Decimal(written.min),
        maximum=None if written.max is None else Decimal(written.max),
        comparison=None if written.compare is None else _comparison(written.compare),
        failure_limit=written.failure_limit,
        total_failure_limit=written.total_failure_limit,
        initial_delay=parse_duration(written.initial_delay),
        on_no_data=WhenUnclear(written.on_no_data),
        on_provider_error=WhenUnclear(written.on_provider_error),
        on_inconclusive=WhenUnclear(written.on_inconclusive),
        wait_limit=None if written.wait_limit is None else parse_duration(written.wait_limit),
        dry_run=written.dry_run,
        interval=parse_duration(spec.interval),
        rule=rule,
    )


def _comparison(written: Compare) -> Comparison:
    return Comparison(Direction(written.direction), Decimal(written.effect), parse_fraction(written.confidence))


def _success(written: WrittenSuccess) -> Success:
    return Success(
        confirmed=Fraction(parse_fraction(written.confirmed)),
        min_confirmed=written.min_confirmed,
        of=written.of,
        offline_grace=parse_duration(written.offline_grace),
    )


def _rehearsal(written: WrittenRehearsal) -> Rehearsal:
    return Rehearsal(written.devices, break_one=bool(written.break_one))


def _retries(written: WrittenRetries) -> RetryPolicy:
    return RetryPolicy(written.attempts, parse_duration(written.backoff))


def _rollback(written: WrittenRollback) -> RollbackPolicy:
    return RollbackPolicy(
        automatic=written.automatic,
        order=_whole_order(written.order),
        verify=parse_duration(written.verify),
        scope=written.scope,
    )


def _whole_order(written: Iterable[Plane]) -> tuple[Plane, ...]:
    """The order that a person gave, followed by the planes that they left out."""
    given = tuple(written)
    return (*given, *(plane for plane in _CHEAPEST_FIRST if plane not in given))
