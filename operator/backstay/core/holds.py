"""Standing orders that stop changes, and the question that bridge and agent ask before they start one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from backstay.core.devices import DeviceName, StepType
from backstay.core.planes import ContentDigest, Plane
from backstay.core.selectors import EVERYTHING, Selector

STALE_VIEW: Final = timedelta(seconds=60)
"""A view older than this may lack a hold that a person relies on."""


class Conviction(StrEnum):
    """How sure we are that a frozen version is to blame."""

    CONVICTED = "Convicted"
    SUSPECT = "Suspect"


class InFlight(StrEnum):
    """What devices do that are changing already when a hold comes."""

    FINISH = "Finish"
    """They finish, or fall back by themselves."""
    RETURN = "Return"
    """They go back to what they ran before the change."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A standing order; what it leaves out it does not narrow: no devices named means every device."""

    name: str
    selector: Selector = EVERYTHING
    groups: frozenset[str] = frozenset()
    devices: frozenset[DeviceName] = frozenset()
    versions: frozenset[tuple[Plane, ContentDigest]] = frozenset()
    reason: str = ""
    until: datetime | None = None
    in_flight: InFlight = InFlight.FINISH

    def is_in_force(self, now: datetime) -> bool:
        """Tell whether the hold has not run out."""
        return self.until is None or now < self.until

    def covers_device(self, name: DeviceName, labels: Mapping[str, str], groups: frozenset[str]) -> bool:
        """Tell whether a device lies in the hold's scope."""
        if self.devices and name not in self.devices:
            return False
        if self.groups and not self.groups & groups:
            return False
        return self.selector.matches(labels)

    def covers_version(self, plane: Plane, content: ContentDigest) -> bool:
        """Tell whether the hold speaks of this content; one that names no versions speaks of all."""
        return not self.versions or (plane, content) in self.versions

    @property
    def names_devices(self) -> bool:
        """Tell whether the hold is for some devices only."""
        return bool(self.devices or self.groups) or self.selector != EVERYTHING


@dataclass(frozen=True, slots=True)
class Action:
    """One step of one device, as the one who would start it sees it."""

    device: DeviceName
    labels: Mapping[str, str]
    groups: frozenset[str]
    plane: Plane
    type: StepType
    content: ContentDigest
    expires: datetime
    begun: bool = False


class Denial(StrEnum):
    """Why an action may not start."""

    HELD = "Held"
    STALE_VIEW = "StaleView"
    EXPIRED = "Expired"


@dataclass(frozen=True, slots=True)
class MayStart:
    """Yes."""


@dataclass(frozen=True, slots=True)
class MayNotStart:
    """No, why, and in which words."""

    why: Denial
    message: str


def may_start(action: Action, holds: Iterable[Hold], view_age: timedelta, now: datetime) -> MayStart | MayNotStart:
    """Say whether an action may start: asked by bridge and agent at the last moment, with their own view of holds.

    What has begun goes on. A return to the fallback is never stopped by a hold or an old view, only by its expiry.
    """
    if action.begun:
        return MayStart()
    if now >= action.expires:
        return MayNotStart(
            Denial.EXPIRED,
            f"the order expired at {action.expires:%H:%M:%S}; the operator must renew it",
        )
    if action.type is StepType.RETURN:
        return MayStart()
    if view_age > STALE_VIEW:
        seconds = int(view_age.total_seconds())
        return MayNotStart(
            Denial.STALE_VIEW,
            f"holds were last read {seconds} s ago; nothing new starts until they are",
        )
    if hold := hold_on(action, holds, now):
        return MayNotStart(Denial.HELD, f"hold {hold.name}: {hold.reason or 'no reason given'}")
    return MayStart()


def hold_on(action: Action, holds: Iterable[Hold], now: datetime) -> Hold | None:
    """The first hold in force, by name, that covers the action."""
    covering = (
        hold
        for hold in holds
        if hold.is_in_force(now)
        and hold.covers_device(action.device, action.labels, action.groups)
        and hold.covers_version(action.plane, action.content)
    )
    return min(covering, key=lambda hold: hold.name, default=None)
