"""What people write ⇄ what decisions look at: plans, health rules, holds, selectors."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Final

from backstay.api.healthrule import Compare, HealthRuleSpec
from backstay.api.healthrule import Signal as WrittenSignal
from backstay.api.hold import Hold as WrittenHold
from backstay.api.releaseplan import PlaneVersion, ReleasePlanSpec
from backstay.api.releaseplan import Ring as WrittenRing
from backstay.api.scalars import parse_duration, parse_fraction
from backstay.api.selectors import LabelSelector
from backstay.core.devices import DeviceName
from backstay.core.holds import Hold
from backstay.core.plan import Count, Plan, Ring, RollbackPolicy, Share, Size, Success
from backstay.core.planes import ContentDigest, Plane, Release, Requirement, VersionRange
from backstay.core.selectors import EVERYTHING, MatchExpression, Operator, Selector
from backstay.core.signals import Comparison, Direction, Signal

_CHEAPEST_FIRST: Final = RollbackPolicy().order


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
        rings=tuple(ring_from(ring) for ring in spec.rings),
        success=Success(Fraction(parse_fraction(spec.success.confirmed)), spec.success.min_confirmed),
        deadlines={
            Plane.FIRMWARE: parse_duration(spec.deadlines.firmware),
            Plane.MODEL: parse_duration(spec.deadlines.model),
            Plane.CONFIG: parse_duration(spec.deadlines.config),
        },
        signals=signals_from(rules),
        rollback=RollbackPolicy(
            spec.rollback.automatic, _whole_order(spec.rollback.order), parse_duration(spec.rollback.verify)
        ),
        stability=parse_duration(spec.stability_window),
        paused=spec.paused,
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
    )


def size_from(text: int | str) -> Size:
    """A number of devices, or an exact share of them."""
    return Count(text) if isinstance(text, int) else Share(Fraction(parse_fraction(text)))


def selector_from(written: LabelSelector) -> Selector:
    """A label selector; none of its conditions given selects everything."""
    labels = (
        MatchExpression(key, Operator.IN, frozenset({value})) for key, value in sorted(written.match_labels.items())
    )
    expressions = (
        MatchExpression(found.key, Operator(found.operator.value), frozenset(found.values))
        for found in written.match_expressions
    )
    return Selector((*labels, *expressions))


def signals_from(rules: Mapping[str, HealthRuleSpec]) -> tuple[Signal, ...]:
    """The signals of all rules, in the order of their names; two of one name are told apart by their rule."""
    names = Counter(signal.name for spec in rules.values() for signal in spec.signals)
    return tuple(
        _signal(signal, spec, rule, f"{rule}-{signal.name}" if names[signal.name] > 1 else signal.name)
        for rule, spec in sorted(rules.items())
        for signal in spec.signals
    )


def hold_from(written: WrittenHold) -> Hold:
    """A hold as decisions see it."""
    spec, scope = written.spec, written.spec.scope
    selector = None if scope is None else scope.selector
    return Hold(
        name=written.metadata.name,
        selector=EVERYTHING if selector is None else selector_from(selector),
        groups=frozenset() if scope is None else frozenset(scope.groups or ()),
        devices=frozenset() if scope is None else frozenset(DeviceName(name) for name in scope.devices or ()),
        versions=frozenset((held.plane, ContentDigest(held.digest)) for held in spec.versions),
        reason=spec.reason,
        until=spec.until,
    )


def _signal(written: WrittenSignal, spec: HealthRuleSpec, rule: str, name: str) -> Signal:
    return Signal(
        name=name,
        query=written.query,
        blames=written.blames,
        minimum=None if written.min is None else Decimal(written.min),
        maximum=None if written.max is None else Decimal(written.max),
        comparison=None if written.compare is None else _comparison(written.compare),
        failure_limit=written.failure_limit,
        interval=parse_duration(spec.interval),
        rule=rule,
    )


def _comparison(written: Compare) -> Comparison:
    return Comparison(Direction(written.direction), Decimal(written.effect), parse_fraction(written.confidence))


def _whole_order(written: Iterable[Plane]) -> tuple[Plane, ...]:
    """The order that a person gave, followed by the planes that they left out."""
    given = tuple(written)
    return (*given, *(plane for plane in _CHEAPEST_FIRST if plane not in given))
