"""The devices of a simulated release: made up, from a file, or as `kubectl get edgedevices -o json` has them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

import yaml
from pydantic import Field, StrictStr
from semver import Version

from backstay.api.device_conversion import device_from
from backstay.api.resource import Written
from backstay.core.devices import Device, DeviceName, PlaneStatus
from backstay.core.planes import ContentDigest, Plane, Release, VersionRange
from backstay.core.rehearsing import MAY_BREAK
from backstay.core.selectors import MatchExpression, Operator, Selector, picked_by
from backstay.errors import Refused
from backstay.simulate.rollout.documents import WrittenRelease

MOST_DEVICES: Final = 1_000_000
ONE_IN: Final = 10
"""Of made-up devices, so many for one have a label that a ring selects by."""


@dataclass(frozen=True, slots=True)
class MadeFleet:
    """Devices, what they run, and what had to be made up."""

    devices: tuple[Device, ...]
    known: Mapping[ContentDigest, Release]
    notices: tuple[str, ...] = ()


class RunningSet(Written):
    """The versions that a device runs."""

    firmware: StrictStr | None = None
    """Its firmware: a version, or `VERSION@sha256:…`."""
    model: StrictStr | None = None
    """Its model."""
    config: StrictStr | None = None
    """Its config."""


class FleetEntry(Written):
    """One device, or several that are alike."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Its name; with `count`, what their names begin with."""
    count: Annotated[int, Field(ge=1, le=MOST_DEVICES)] | None = None
    """So many devices, named `NAME-000001` and so on."""
    device_class: Annotated[str, Field(validation_alias="class", serialization_alias="class")] = "esp32"
    """The device class. Default: esp32."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels, by which groups and rings select."""
    running: RunningSet = RunningSet()
    """What it runs in each plane; a plane left out is empty."""
    fallback: RunningSet = RunningSet()
    """What it keeps to fall back to."""
    reachable: bool = True
    """False for a device that nobody hears of. Default: true."""
    rollback_capable: bool = True
    """False for one whose bootloader does not fall back by itself. Default: true."""


class FleetFile(Written):
    """A fleet: entries, each a device or many alike."""

    devices: Annotated[tuple[FleetEntry, ...], Field(min_length=1)]
    """The devices."""


def fleet_for(given: str, release: WrittenRelease) -> MadeFleet:
    """The devices that `--fleet` names: a number makes them up, anything else is a file.

    Raises:
        Refused: the number or the file is not what it must be, or the plan's groups select none of its devices.
    """
    made = _made_up(int(given), release) if given.isdecimal() else _from_file(Path(given))
    grouped = tuple(in_groups(made.devices, release.selectors))
    if not grouped:
        groups = ", ".join(release.selectors)
        raise Refused(f"the groups of the plan ({groups}) select none of the {len(made.devices)} devices of {given}")
    return replace(made, devices=grouped)


def in_groups(devices: Iterable[Device], selectors: Mapping[str, Selector]) -> Iterator[Device]:
    """The devices that any of some groups selects, each with its groups."""
    found: dict[frozenset[tuple[str, str]], frozenset[str]] = {}
    for device in devices:
        labels = frozenset(device.labels.items())
        if (groups := found.get(labels)) is None:
            groups = found[labels] = picked_by(selectors, device.labels)
        if groups:
            yield replace(device, groups=groups)


def _from_file(path: Path) -> MadeFleet:
    try:
        text = path.read_text()
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise Refused(
            f"--fleet {path}: {error.strerror}; give a number of devices or a file that describes them"
        ) from error
    except (ValueError, yaml.YAMLError) as error:
        raise Refused(f"{path} is neither YAML nor JSON: {error}") from error
    if not isinstance(document, dict):
        raise Refused(f"{path} is not a fleet: it must be an object with `devices`")
    if document.get("kind", "").endswith("List"):
        devices = tuple(map(device_from, document.get("items") or ()))
    else:
        entries = FleetFile.from_document(document).devices
        devices = tuple(device for entry in entries for device in _devices_of(entry))
    return MadeFleet(devices, {})


def _devices_of(entry: FleetEntry) -> Iterator[Device]:
    names = [entry.name] if entry.count is None else [f"{entry.name}-{n:06}" for n in range(1, entry.count + 1)]
    planes = MappingProxyType(_statuses(entry))
    for name in names:
        yield Device(
            DeviceName(name),
            entry.labels,
            device_class=entry.device_class,
            reachable=entry.reachable,
            rollback_capable=entry.rollback_capable,
            planes=planes,
            resource_version="1",
        )


def _statuses(entry: FleetEntry) -> dict[Plane, PlaneStatus]:
    found = {}
    for plane in Plane:
        running, kept = getattr(entry.running, plane), getattr(entry.fallback, plane)
        if running is not None:
            version, content = _version_of(plane, running)
            kept_version, kept_content = ("", None) if kept is None else _version_of(plane, kept)
            found[plane] = PlaneStatus(content, version, kept_content, kept_version)
    return found


def _version_of(plane: Plane, text: str) -> tuple[str, ContentDigest]:
    version, _, digest = text.partition("@")
    return version, ContentDigest(digest) if digest else _content(plane, version)


def _content(plane: Plane, version: str) -> ContentDigest:
    """A digest for bytes of which only the version is known."""
    return ContentDigest(f"sha256:{sha256(f'{plane} {version}'.encode()).hexdigest()}")


def _made_up(count: int, release: WrittenRelease) -> MadeFleet:
    if not 1 <= count <= MOST_DEVICES:
        raise Refused(f"--fleet {count}: a made-up fleet has from 1 to {MOST_DEVICES} devices")
    running = _earlier_set(release)
    planes = MappingProxyType(
        {plane: PlaneStatus(r.content, r.version, r.content, r.version) for plane, r in running.items()}
    )
    given, told = _labels(release)
    width = len(str(count))
    devices = tuple(
        Device(DeviceName(f"device-{n:0{width}}"), given(n), planes=planes, resource_version="1") for n in range(count)
    )
    versions = ", ".join(f"{plane} {r.version}" for plane, r in running.items())
    notices = [f"the {count} devices are made up: each is an esp32 that runs {versions}"]
    if told:
        notices.append(f"one in {ONE_IN} of them has the label {f', one in {ONE_IN} has '.join(told)}")
    return MadeFleet(devices, {r.content: r for r in running.values()}, tuple(notices))


def _earlier_set(release: WrittenRelease) -> dict[Plane, Release]:
    """What made-up devices run: an earlier version where the plan brings one, else one that its versions live with."""
    needs = [need for wanted in release.plan.target.values() for need in wanted.requires]
    found = {}
    for plane in Plane:
        ranges = [need.range for need in needs if need.plane is plane]
        if (wanted := release.plan.target.get(plane)) is not None:
            version = _before(wanted.version)
        elif ranges:
            version = _one_that_fits(ranges)
        else:
            continue
        found[plane] = Release(plane, version, _content(plane, version))
    return found


def _before(text: str) -> str:
    version = Version.parse(text)
    if version.prerelease:
        return str(version.finalize_version().replace(prerelease="0"))
    if version.patch:
        return str(version.replace(patch=version.patch - 1, build=None))
    if version.minor:
        return str(version.replace(minor=version.minor - 1, build=None))
    return str(version.replace(major=max(0, version.major - 1), build=None, prerelease=None if version.major else "0"))


def _one_that_fits(ranges: list[VersionRange]) -> str:
    bounds = [bound for one in ranges for _, bound in one.comparators]
    candidates = [*map(str, bounds), *(str(bound.bump_patch()) for bound in bounds), "0.0.0"]
    return next((version for version in candidates if all(one.admits(version) for one in ranges)), "1.0.0")


def _labels(release: WrittenRelease) -> tuple[Callable[[int], Mapping[str, str]], list[str]]:
    """Labels for made-up devices: what the groups ask of all, and what rings ask of one in ten for each ring."""
    everybody = {MAY_BREAK: "true"}
    for selector in release.selectors.values():
        everybody |= _labels_for(selector)
    asked = [_labels_for(ring.selector) for ring in release.plan.rings if ring.selector is not None]
    asked = [labels for labels in asked if labels and not labels.items() <= everybody.items()]
    cache: dict[int, Mapping[str, str]] = {}

    def given(number: int) -> Mapping[str, str]:
        turn = number % ONE_IN
        if turn not in cache:
            mine = [labels for index, labels in enumerate(asked) if index % ONE_IN == turn]
            cache[turn] = MappingProxyType(dict(pair for labels in (everybody, *mine) for pair in labels.items()))
        return cache[turn]

    return given, [",".join(f"{key}={value}" for key, value in sorted(labels.items())) for labels in asked]


def _labels_for(selector: Selector) -> dict[str, str]:
    """Labels that satisfy a selector, as far as single values can."""
    return {e.key: _value_for(e) for e in selector.expressions if e.operator in {Operator.IN, Operator.EXISTS}}


def _value_for(expression: MatchExpression) -> str:
    return min(expression.values, default="any")


def known_releases(release: WrittenRelease, fleet: MadeFleet) -> dict[ContentDigest, Release]:
    """Every release of which more is known than its version."""
    return {**fleet.known, **release.known}
