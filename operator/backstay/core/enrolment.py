"""Which devices that nobody has put up come in by themselves: the rules of groups, and when they leave it to a person.

A rule gives a newcomer labels and so a place in a group. Where rules contradict each other, or a label that the
newcomer has already, none of them counts: a device in the wrong ring is worse than one that waits.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import TypeAlias

from backstay.core.devices import DeviceName
from backstay.core.selectors import Selector


@dataclass(frozen=True, slots=True)
class EnrolmentRule:
    """What one group lets in."""

    group: str
    names: str
    """A pattern of whole names, as in a shell: `*`, `?` and `[0-9]`."""
    labels: Mapping[str, str]
    """What a device gets by the rule."""
    selector: Selector
    """Whom the group picks; a rule that makes no member of it is a mistake."""

    def fits(self, name: str) -> bool:
        """Tell whether the pattern covers a name."""
        return _pattern(self.names).match(name) is not None


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A device that has shown itself with a valid token and is not enrolled."""

    name: DeviceName
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Enrol:
    """It comes in."""

    groups: tuple[str, ...]
    """Whose rules say so."""
    labels: Mapping[str, str]
    """What it has to get."""


@dataclass(frozen=True, slots=True)
class LeaveToPerson:
    """It waits."""

    because: str
    """What keeps the rules from deciding; empty where there is none for it."""


Enrolment: TypeAlias = Enrol | LeaveToPerson


def enrolment_of(newcomer: Newcomer, rules: Iterable[EnrolmentRule]) -> Enrolment:
    """Decide by all rules of the newcomer's namespace."""
    fitting = sorted((rule for rule in rules if rule.fits(newcomer.name)), key=lambda rule: rule.group)
    if not fitting:
        return LeaveToPerson("")
    labels = dict(newcomer.labels)
    for rule in fitting:
        for key, value in sorted(rule.labels.items()):
            if (known := labels.setdefault(key, value)) != value:
                return LeaveToPerson(
                    f"group {rule.group} would label it {key}={value}, but it is {key}={known} already"
                )
    for rule in fitting:
        if not rule.selector.matches(labels):
            return LeaveToPerson(f"with the labels that group {rule.group} gives, it would not belong to {rule.group}")
    return Enrol(
        tuple(rule.group for rule in fitting),
        {key: value for key, value in labels.items() if newcomer.labels.get(key) != value},
    )


@lru_cache(maxsize=1024)
def _pattern(names: str) -> re.Pattern[str]:
    # The translation never tries a star twice, so that no pattern takes longer than its name is long.
    return re.compile(translate(names))
