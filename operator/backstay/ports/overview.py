"""What an operator knows, for whoever only wants to look: nothing here changes anything."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from backstay.api import DeviceGroup, HealthRule, Hold, ReleasePlan
from backstay.api.resource import Resource
from backstay.core.actions import Decision
from backstay.core.devices import Device, DeviceName
from backstay.core.observed import Observed
from backstay.core.planes import Plane
from backstay.core.standing import Census, Standing

M = TypeVar("M", bound=Resource)


@dataclass(frozen=True, slots=True)
class Decided:
    """What was last decided about a plan, and on what."""

    observed: Observed
    decision: Decision


@dataclass(frozen=True, slots=True)
class Known(Generic[M]):
    """An object by its name; one that this version cannot read has a problem in place of a model."""

    name: str
    model: M | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which devices of a namespace are asked for; what is left out asks for all."""

    begins: str = ""
    """How the name begins."""
    group: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    standing: Standing | None = None
    plane: Plane | None = None
    version: str = ""
    """What runs in that plane, or in any where none is named."""


@dataclass(frozen=True, slots=True)
class DevicePage:
    """Some devices in the order of their names."""

    devices: tuple[Device, ...]
    following: DeviceName | None = None
    """After which name the next page begins; None on the last."""


class Overview(Protocol):
    """All that an operator sees, as of now and out of memory: it waits for nobody."""

    def namespaces(self) -> tuple[str, ...]:
        """The namespaces of which anything is known, in order."""
        ...

    def changes(self, namespace: str) -> int:
        """A number that grows whenever anything of a namespace changes."""
        ...

    def plans(self, namespace: str) -> tuple[Known[ReleasePlan], ...]:
        """The plans of a namespace by name."""
        ...

    def groups(self, namespace: str) -> tuple[Known[DeviceGroup], ...]:
        """The groups of a namespace by name."""
        ...

    def rules(self, namespace: str) -> tuple[Known[HealthRule], ...]:
        """The health rules of a namespace by name."""
        ...

    def holds(self, namespace: str) -> tuple[Known[Hold], ...]:
        """The holds of a namespace by name."""
        ...

    def decided(self, namespace: str, plan: str) -> Decided | None:
        """What was last decided about a plan; None before the first decision."""
        ...

    def census(self, namespace: str) -> Census:
        """The devices of a namespace, counted."""
        ...

    def device(self, namespace: str, name: DeviceName) -> Device | None:
        """One device."""
        ...

    async def devices(
        self, namespace: str, wanted: Wanted, *, after: str = "", limit: int = 100, backwards: bool = False
    ) -> DevicePage:
        """A page of devices, beginning after a name; a long search lets others work meanwhile."""
        ...
