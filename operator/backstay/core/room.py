"""How many more devices of each group may change now, whoever orders it: the strictest group wins."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from backstay.core.observed import GroupRules
from backstay.core.windows import next_opening


class Room:
    """What the groups of a namespace leave to one decision; every order that it gives takes its place in it."""

    def __init__(self, groups: Mapping[str, GroupRules], now: datetime) -> None:
        self._groups = groups
        self._now = now
        self._free = {
            name: rules.max_unavailable.of(rules.devices) - rules.unavailable
            for name, rules in groups.items()
            if rules.max_unavailable is not None
        }

    def is_paused(self, groups: Iterable[str]) -> bool:
        """Tell whether a person has stopped any of these groups."""
        return any(rules.paused for rules in self._rules(groups))

    def opens_at(self, groups: Iterable[str]) -> datetime | None:
        """When every window of these groups may be open; None when all are."""
        return next_opening((window for rules in self._rules(groups) for window in rules.windows), self._now)

    def full(self, groups: Iterable[str]) -> str | None:
        """The first group, by name, that leaves no room; None when a device of these groups may change."""
        return next((name for name in sorted(groups) if self._free.get(name, 1) <= 0), None)

    def take(self, groups: Iterable[str]) -> None:
        """Count a device of these groups as changing."""
        for name in groups:
            if name in self._free:
                self._free[name] -= 1

    def _rules(self, groups: Iterable[str]) -> Iterable[GroupRules]:
        return (self._groups[name] for name in groups if name in self._groups)
