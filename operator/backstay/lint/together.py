"""What objects say to each other: names that lead nowhere, and what can never work out together."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from itertools import combinations
from typing import TypeVar

from backstay.api import DeviceGroup, HealthRule, Hold, ReleasePlan, Resource
from backstay.api.conversion import tightened
from backstay.api.durations import parse_duration
from backstay.api.healthrule import Signal
from backstay.api.releaseplan import Ring
from backstay.core.planes import ContentDigest, Plane, Release, VersionSet, unmet_requirements
from backstay.lint.source import Path
from backstay.lint.validity import Checked

K = TypeVar("K", bound=Resource)


@dataclass(frozen=True, slots=True)
class Neighbours:
    """All objects that are looked at together."""

    every: tuple[Checked, ...]

    def named(self, kind: type[K], beside: Checked) -> Mapping[str, K]:
        """The objects of a kind in the namespace of another one, by name."""
        return {
            one.name: one.resource
            for one in self.every
            if isinstance(one.resource, kind) and may_be_neighbours(one, beside)
        }


def may_be_neighbours(one: Checked, other: Checked) -> bool:
    """Whether two objects are in one namespace; one that names none goes wherever it is applied."""
    return one.namespace == other.namespace or not (one.namespace and other.namespace)


def look_together(every: tuple[Checked, ...]) -> None:
    """Note with each object what shows only beside the others."""
    _find_twins(every)
    neighbours = Neighbours(every)
    for one in every:
        match one.resource:
            case ReleasePlan() as plan:
                _look_at_plan(one, plan, neighbours)
            case Hold() as hold if hold.spec.scope is not None:
                _look_for(one, ("spec", "scope", "groups"), hold.spec.scope.groups or (), DeviceGroup, neighbours)
            case _:
                pass
    _find_rivals([one for one in every if isinstance(one.resource, ReleasePlan)])


def _find_twins(every: Iterable[Checked]) -> None:
    first: dict[tuple[str, str, str], Checked] = {}
    for one in every:
        if one.written.content.get("metadata", {}).get("name") is None:
            continue
        earlier = first.setdefault((one.kind.kind_name(), one.namespace, one.name), one)
        if earlier is one:
            continue
        place = earlier.written.place(("metadata", "name"))
        # Another file may be another way to have it, which somebody chooses from; one file is applied as a whole.
        note = one.error if earlier.written.file == one.written.file else one.warn
        note(("metadata", "name"), f"{one.subject} stands at {place} already")


def _look_at_plan(one: Checked, plan: ReleasePlan, neighbours: Neighbours) -> None:
    _look_for(one, ("spec", "groups"), plan.spec.groups, DeviceGroup, neighbours)
    _look_for(one, ("spec", "health"), plan.spec.health, HealthRule, neighbours)
    for plane, why in contradictions(_written(plan)):
        one.error(("spec", "versions", plane), f"the plan contradicts itself: {why}")
    found = neighbours.named(HealthRule, one)
    for name in plan.spec.health:
        if name in found:
            _look_at_rule(one, plan, found[name])


def _look_for(one: Checked, path: Path, names: Iterable[str], kind: type[Resource], neighbours: Neighbours) -> None:
    known = neighbours.named(kind, one)
    for index, name in enumerate(names):
        if name not in known:
            close = get_close_matches(name, known, n=1)
            meant = f"; did you mean {close[0]}?" if close else ", so it has to be in the cluster"
            one.warn((*path, index), f"no {kind.kind_name()} {name} is among these files{meant}")


def _written(plan: ReleasePlan) -> dict[Plane, Release]:
    """The plan's versions with what the plan itself demands for them."""
    return {
        plane: tightened(Release(plane, one.version, ContentDigest(one.artifact)), one)
        for plane, one in plan.spec.versions.by_plane().items()
    }


def contradictions(releases: Mapping[Plane, Release]) -> Iterator[tuple[Plane, str]]:
    """What versions that are to run together demand of each other and do not give."""
    for found in unmet_requirements(VersionSet.of(releases)):
        if found.requirement.plane in releases:
            yield (
                found.release.plane,
                f"{found.release} requires {found.requirement}, and beside it comes {found.found}",
            )


def _look_at_rule(one: Checked, plan: ReleasePlan, rule: HealthRule) -> None:
    spec, managed = plan.spec, set(plan.spec.versions.by_plane())
    at: Path = ("spec", "health", spec.health.index(rule.metadata.name))
    for kind, checks in (("signal", rule.spec.signals), ("probe", rule.spec.probes)):
        for check in checks:
            if managed.isdisjoint(check.blames):
                planes = " and ".join(check.blames)
                one.warn(at, f"{kind} {check.name} blames {planes}, which this plan does not change")
    for probe in rule.spec.probes:
        for plane in sorted(managed & set(probe.blames)):
            window = getattr(spec.confirm_window, plane)
            if probe.within is not None and parse_duration(probe.within) > parse_duration(window):
                path = ("spec", "confirmWindow", plane)
                one.warn(path, f"probe {probe.name} may take {probe.within}, and the device falls back after {window}")
    for index, ring in enumerate(spec.rings or ()):
        for signal in rule.spec.signals:
            if (length := _until_it_fails(signal, rule)) > parse_duration(ring.soak):
                words = f"takes {signal.failure_limit} evaluations every {rule.spec.interval} to fail"
                one.warn(("spec", "rings", index, "soak"), _too_short(ring, signal, words, length))


def _until_it_fails(signal: Signal, rule: HealthRule) -> timedelta:
    return parse_duration(signal.initial_delay) + (signal.failure_limit - 1) * parse_duration(rule.spec.interval)


def _too_short(ring: Ring, signal: Signal, words: str, length: timedelta) -> str:
    return f"ring {ring.name} soaks for {ring.soak}, and signal {signal.name} {words}: {length}"


def _find_rivals(plans: list[Checked]) -> None:
    for first, second in combinations(plans, 2):
        one, other = first.resource, second.resource
        if not (isinstance(one, ReleasePlan) and isinstance(other, ReleasePlan)) or not may_be_neighbours(
            first, second
        ):
            continue
        groups = sorted({*one.spec.groups} & {*other.spec.groups})
        planes = [
            plane for plane in Plane if plane in one.spec.versions.by_plane().keys() & other.spec.versions.by_plane()
        ]
        if groups and planes and one.metadata.name != other.metadata.name:
            words = f"{' and '.join(planes)} of group {', '.join(groups)} too: who was there first keeps the devices"
            second.warn(("spec", "groups"), f"plan {one.metadata.name} manages {words}")
