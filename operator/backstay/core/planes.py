"""Planes, their releases, and what one release requires of another.

A device runs a version set: at most one release in each plane. A set is compatible when every
requirement of every release in it is met by the release in the plane that the requirement names.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NewType, Self

from semver import Version

ContentDigest = NewType("ContentDigest", str)
"""`sha256:<64 hex>` of the payload bytes themselves: what a device can compute of what it runs."""

_COMPARATOR: Final = re.compile(r"(>=|<=|!=|==|=|>|<)?\s*([0-9][0-9A-Za-z.+-]*)")


class Plane(StrEnum):
    """One of the three layers that are versioned, released and rolled back on their own."""

    FIRMWARE = "firmware"
    MODEL = "model"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Comparators that must all hold, as `>=2.2.0,<3.0.0`; comparison is SemVer's precedence.

    Source: https://semver.org/#spec-item-11
    """

    text: str
    comparators: tuple[tuple[str, Version], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read comma-joined comparators; a bare version means that version.

        Raises:
            ValueError: the text is not a range, with the part that is wrong.
        """
        comparators = []
        for part in text.split(","):
            if not (found := _COMPARATOR.fullmatch(part.strip())):
                message = f"{part.strip()!r} in the range {text!r} is not a comparator such as '>=2.2.0'"
                raise ValueError(message)
            comparators.append((found[1] or "=", Version.parse(found[2])))
        return cls(text, tuple(comparators))

    def admits(self, version: str) -> bool:
        """Tell whether a version satisfies every comparator; what is not SemVer satisfies none."""
        if not Version.is_valid(version):
            return False
        found = Version.parse(version)
        return all(_holds(found.compare(bound), operator) for operator, bound in self.comparators)


def _holds(order: int, operator: str) -> bool:
    match operator:
        case ">=":
            return order >= 0
        case "<=":
            return order <= 0
        case ">":
            return order > 0
        case "<":
            return order < 0
        case "!=":
            return order != 0
        case _:
            return order == 0


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one release needs of the release beside it in another plane."""

    plane: Plane
    range: VersionRange

    def __str__(self) -> str:
        return f"{self.plane} {self.range.text}"


@dataclass(frozen=True, slots=True)
class Release:
    """One version of one plane: its name for people, its content for comparison, its needs."""

    plane: Plane
    version: str
    content: ContentDigest
    requires: tuple[Requirement, ...] = ()
    artifact: str = ""
    """The OCI reference by manifest digest from which it is fetched; empty where only a device knows the bytes."""

    def __str__(self) -> str:
        return f"{self.plane} {self.version}"


@dataclass(frozen=True, slots=True)
class VersionSet:
    """What a device runs: at most one release a plane."""

    firmware: Release | None = None
    model: Release | None = None
    config: Release | None = None

    @classmethod
    def of(cls, releases: Mapping[Plane, Release]) -> Self:
        """Build the set from a mapping; planes left out are empty."""
        return cls(
            releases.get(Plane.FIRMWARE),
            releases.get(Plane.MODEL),
            releases.get(Plane.CONFIG),
        )

    def get(self, plane: Plane) -> Release | None:
        """The release in a plane, if there is one."""
        match plane:
            case Plane.FIRMWARE:
                return self.firmware
            case Plane.MODEL:
                return self.model
            case Plane.CONFIG:
                return self.config

    def changed(self, release: Release) -> "VersionSet":
        """The same set with one plane changed."""
        match release.plane:
            case Plane.FIRMWARE:
                return VersionSet(release, self.model, self.config)
            case Plane.MODEL:
                return VersionSet(self.firmware, release, self.config)
            case Plane.CONFIG:
                return VersionSet(self.firmware, self.model, release)

    def __iter__(self) -> Iterator[Release]:
        return (release for release in (self.firmware, self.model, self.config) if release is not None)

    def __str__(self) -> str:
        return ", ".join(str(release) for release in self) or "nothing"


@dataclass(frozen=True, slots=True)
class Unmet:
    """A requirement that a version set does not meet, in words that name all of it."""

    release: Release
    requirement: Requirement
    found: str | None

    def __str__(self) -> str:
        beside = f"the device has {self.found}" if self.found else "the device has none"
        return f"{self.release} requires {self.requirement}, but {beside}"


def unmet_requirements(versions: VersionSet) -> tuple[Unmet, ...]:
    """Every requirement that the set breaks; empty exactly when the set is compatible."""
    return tuple(
        Unmet(release, requirement, beside.version if beside else None)
        for release in versions
        for requirement in release.requires
        for beside in (versions.get(requirement.plane),)
        if beside is None or not requirement.range.admits(beside.version)
    )
