"""A release as it stands in a file: the plan, and what of its neighbours is written beside it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import yaml

from backstay.api import DeviceGroup, HealthRule, Hold, ReleasePlan, Resource
from backstay.api.conversion import group_rules_from, plan_from, tightened
from backstay.api.healthrule import HealthRuleSpec
from backstay.api.hold_conversion import hold_from, selector_from
from backstay.api.reporting import reporting_signals
from backstay.api.support import unsupported
from backstay.core import holds as core_holds
from backstay.core.observed import GroupRules
from backstay.core.plan import Plan
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.core.selectors import EVERYTHING, Selector
from backstay.core.signals import Signal
from backstay.errors import Refused

_KINDS: Final[Mapping[str, type[Resource]]] = {kind.__name__: kind for kind in (DeviceGroup, HealthRule, Hold)}
_STAND_IN: Final = Signal("", "what the plan asks of its health", (), maximum=Decimal(1), failure_limit=3)


@dataclass(frozen=True, slots=True)
class WrittenRelease:
    """A plan with all that a decision needs beside its devices."""

    document: ReleasePlan
    plan: Plan
    selectors: Mapping[str, Selector]
    """Whom each group of the plan selects."""
    groups: Mapping[str, GroupRules]
    holds: tuple[core_holds.Hold, ...]
    reporting: frozenset[str]
    """The signals that ask only whether devices are heard of."""
    probes: Mapping[Plane, str]
    """For each plane, a probe that would find it bad."""
    beyond: tuple[str, ...]
    """What the plan asks for and this version does not do."""
    notices: tuple[str, ...]
    """What had to be assumed, because it does not stand in the file."""

    @property
    def known(self) -> dict[ContentDigest, Release]:
        """The plan's releases by their content."""
        return {release.content: release for release in self.plan.target.values()}


def read_release(path: Path, namespace: str = "default") -> WrittenRelease:
    """Read a plan and what stands beside it in the same file, from YAML or JSON.

    Raises:
        Refused: the file cannot be read, is not what its kinds demand, or does not hold exactly one plan.
    """
    documents = list(_documents(path))
    plans = [ReleasePlan.from_document(d) for d in documents if d.get("kind") == "ReleasePlan"]
    if len(plans) != 1:
        raise Refused(f"{path} holds {len(plans)} ReleasePlans; give a file with exactly one")
    found: dict[type[Resource], dict[str, Any]] = {kind: {} for kind in _KINDS.values()}
    for document in documents:
        if (kind := _KINDS.get(document.get("kind", ""))) is not None:
            resource = kind.from_document(document)
            found[kind][resource.metadata.name] = resource
    return release_of(plans[0], found[DeviceGroup], found[HealthRule], found[Hold].values(), namespace)


def release_of(
    document: ReleasePlan,
    groups: Mapping[str, DeviceGroup],
    rules: Mapping[str, HealthRule],
    holds: Iterable[Hold] = (),
    namespace: str = "default",
) -> WrittenRelease:
    """Put a plan and its neighbours together; what is missing is assumed, and the assumption noted."""
    spec, notices = document.spec, list[str]()
    namespace = document.metadata.namespace or namespace
    if absent := [name for name in spec.groups if name not in groups]:
        notices.append(f"group {', '.join(absent)}: not in the file, so every device is taken to be in it")
    specs = {name: rules[name].spec for name in spec.health if name in rules}
    plan = plan_from(namespace, document.metadata.name, spec, specs, written_releases(document))
    if missing := [name for name in spec.health if name not in rules]:
        notices.append(
            f"health rule {', '.join(missing)}: not in the file; one signal that blames every plane stands in"
        )
        blamed = tuple(plan.target)
        stand_ins = tuple(replace(_STAND_IN, name=name, blames=blamed, rule=name) for name in missing)
        plan = replace(plan, signals=(*plan.signals, *stand_ins))
    beyond = [str(found) for found in unsupported(document)]
    beyond += [f"HealthRule {name}: {found}" for name in specs for found in unsupported(rules[name])]
    return WrittenRelease(
        document=document,
        plan=plan,
        selectors={n: selector_from(groups[n].spec.selector) if n in groups else EVERYTHING for n in spec.groups},
        groups={name: group_rules_from(group.spec, 0, 0) for name, group in groups.items()},
        holds=tuple(map(hold_from, holds)),
        reporting=frozenset(signal.name for name, rule in specs.items() for signal in reporting_signals(name, rule)),
        probes=_probes(specs.values()),
        beyond=tuple(beyond),
        notices=tuple(notices),
    )


def written_releases(document: ReleasePlan) -> dict[Plane, Release]:
    """The plan's versions by its own word; the digest of the manifest stands for that of the content."""
    return {
        plane: Release(
            plane,
            version.version,
            ContentDigest(version.artifact.rpartition("@")[2]),
            artifact=version.artifact,
        )
        for plane, version in document.spec.versions.by_plane().items()
    }


def with_releases(release: WrittenRelease, declared: Callable[[str], Release | None]) -> WrittenRelease:
    """The same with what is known of its artifacts otherwise, such as by the registry's word."""
    versions = release.document.spec.versions.by_plane()
    found = {plane: declared(version.artifact) for plane, version in versions.items()}
    target = {
        plane: written if (known := found[plane]) is None else tightened(known, versions[plane])
        for plane, written in release.plan.target.items()
    }
    return replace(release, plan=replace(release.plan, target=target))


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"{path} is neither YAML nor JSON: {error}") from error
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise Refused(f"{path} holds something that is no object: {str(document)[:60]}")
        if document.get("kind") == "List":
            yield from document.get("items") or ()
        else:
            yield document


def _probes(specs: Iterable[HealthRuleSpec]) -> dict[Plane, str]:
    probes = [probe for spec in specs for probe in spec.probes]
    found = {plane: next((p.name for p in probes if plane in p.blames), "inference") for plane in Plane}
    return {plane: str(name) for plane, name in found.items()}
