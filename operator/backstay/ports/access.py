"""Who somebody is and what they may see, by the API server's own word."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """What one may be allowed to list, as the API server names it: the resource and its group."""

    PLANS = "releaseplans.backstay.dev"
    GROUPS = "devicegroups.backstay.dev"
    RULES = "healthrules.backstay.dev"
    DEVICES = "edgedevices.backstay.dev"
    HOLDS = "holds.backstay.dev"
    EVENTS = "events.events.k8s.io"

    @property
    def resource(self) -> str:
        """The resource's plural name."""
        return self.partition(".")[0]

    @property
    def group(self) -> str:
        """The resource's API group."""
        return self.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the API server knows."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    @property
    def identity(self) -> tuple[object, ...]:
        """All that rights can depend on, to compare and to remember by."""
        return self.name, self.uid, self.groups, tuple(sorted(self.extra.items()))


class Access(Protocol):
    """Asks the API server."""

    async def who(self, token: str) -> Person | None:
        """Whose token this is; None where it is nobody's.

        Raises:
            Unavailable: the API server does not say.
        """
        ...

    async def may_list(self, person: Person, kind: Kind, namespace: str | None) -> bool:
        """Whether somebody may list a kind in a namespace, or with None in all of them.

        Raises:
            Unavailable: the API server does not say.
        """
        ...
