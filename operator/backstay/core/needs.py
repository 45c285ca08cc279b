"""What an artifact needs of the device that is to run it, and whether a device has that.

Nothing is assumed: a device that cannot tell what it has does not have it.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

from semver import Version

FORMS: Final = ("system", "pod", "unit", "program")
"""What the firmware of a Linux node can be: its system in two slots, a Pod, a systemd unit or a program."""

_CHIP: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_NUMBERS: Final = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})-?(.*)", re.DOTALL)
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
_SERVED: Final = re.compile(rf"(?P<model>{_NAME})(?:/(?P<version>[A-Za-z0-9][A-Za-z0-9._+-]{{0,62}}))?")


@dataclass(frozen=True, slots=True)
class Needs:
    """What an artifact says that it needs."""

    chips: tuple[str, ...] = ()
    """The NPU targets that it was compiled for; any one of them will do. Empty: it has none."""
    driver: Version | None = None
    """The oldest driver of the NPU."""
    runtime: Version | None = None
    """The oldest inference runtime."""
    form: str | None = None
    """For firmware: one of `FORMS`."""

    def __post_init__(self) -> None:
        """Refuse what no device could have.

        Raises:
            ValueError: says what.
        """
        if wrong := [chip for chip in self.chips if not _CHIP.fullmatch(chip)]:
            raise ValueError(f"{wrong[0]!r} is no NPU target, such as rk3566")
        if self.form is not None and self.form not in FORMS:
            raise ValueError(f"{self.form!r} is none of {', '.join(FORMS)}")


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a device has, as far as it can tell."""

    chips: frozenset[str] = frozenset()
    driver: str | None = None
    runtime: str | None = None
    form: str | None = None
    """What its firmware is; None where it cannot be changed."""


@dataclass(frozen=True, slots=True)
class ServedAs:
    """Under which name, and in which version if that has a name, an inference server offers a model."""

    model: str
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `MODEL` or `MODEL/VERSION`.

        Raises:
            ValueError: it is neither.
        """
        if (found := _SERVED.fullmatch(text)) is None:
            raise ValueError(f"{text[:128]!r} is neither MODEL nor MODEL/VERSION, such as digits/1.2.0")
        return cls(found["model"], found["version"])

    def __str__(self) -> str:
        return self.model if self.version is None else f"{self.model}/{self.version}"


def lacking(needs: Needs, has: Equipment) -> str | None:
    """What a device lacks of what is needed, in words; None if it lacks nothing."""
    if needs.chips and not has.chips & set(needs.chips):
        return f"it is compiled for {_any_of(needs.chips)}, and this device {_is(has.chips)}"
    if needs.form is not None and needs.form != has.form:
        slots = " and so needs a second slot" if needs.form == "system" else ""
        kept = "nothing" if has.form is None else f"a {has.form}"
        return f"it is a {needs.form}{slots}, and what this device changes as its firmware is {kept}"
    for what, least, found in (
        ("NPU driver", needs.driver, has.driver),
        ("inference runtime", needs.runtime, has.runtime),
    ):
        if least is not None and (found is None or is_older(found, least)):
            return f"it needs {what} {least} or newer, and this device {f'has {found}' if found else 'tells of none'}"
    return None


def is_older(found: str, least: Version) -> bool:
    """Tell whether a version is below the least; Rockchip's betas, `2.0.0b0`, are no SemVer and count as 2.0.0-b0."""
    number = _NUMBERS.match(found)
    if number is None:
        return True
    major, minor, patch, rest = number.groups()
    prerelease = rest.partition("+")[0]
    try:
        return Version(int(major), int(minor), int(patch), prerelease or None) < least
    except ValueError:
        return True


def _any_of(chips: tuple[str, ...]) -> str:
    return " or ".join(chips)


def _is(chips: frozenset[str]) -> str:
    return f"is {', '.join(sorted(chips))}" if chips else "does not tell what it is"
