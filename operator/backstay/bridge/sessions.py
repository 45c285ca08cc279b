"""What the bridge remembers of a device while it runs; nothing here has to survive a restart."""

import asyncio
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from backstay.bridge.documents import PollAnswer
from backstay.bridge.health import HealthReport
from backstay.bridge.limits import Bucket
from backstay.bridge.records import ServedDevice
from backstay.core.planes import ContentDigest, Plane

MISSED_CHECK_INS: Final = 3
SHORTEST_SILENCE_SECONDS: Final = 5.0
UNHEARD_SECONDS: Final = 30.0
MOST_ORDERS: Final = 8
MOST_MESSAGES: Final = 20


@dataclass(frozen=True, slots=True)
class Settled:
    """What was compared when the written status said all that the device says."""

    report: HealthReport | None
    resource_version: str
    reachable: bool | None
    until: float = field(compare=False)
    """Before this, the device stays as reachable as it was, whatever it does not say."""


@dataclass(slots=True)
class Session:
    """One device's last words; times are monotonic seconds."""

    contact_at: float | None = None
    bucket: Bucket = field(default_factory=Bucket)
    downloads: int = 0
    """Downloads that are under way."""
    report: HealthReport | None = None
    report_at: float = 0.0
    log_at: float | None = None
    interval: float | None = None
    attributes: dict[str, str] | None = None
    poll: tuple[PollAnswer, tuple[bytes, str]] | None = None
    """The last answer to a poll: most polls get the same again."""
    orders: dict[int, tuple[Plane, ContentDigest]] = field(default_factory=dict)
    """What the latest actions were about, so that a late answer to a replaced one can still be judged."""
    messages: dict[int, tuple[str, ...]] = field(default_factory=dict)
    """What the device has said of its latest actions, the newest first."""
    differs_since: float | None = None
    """Since when the written status lags behind what the device says."""
    settled: Settled | None = None
    """When the written status last said all that the device says."""
    next_write: float = 0.0
    """Before this, nothing is written that is no answer."""
    retry_at: float = 0.0
    """Before this, nothing is written again that the API server did not take."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def remember(self, number: int, plane: Plane, content: ContentDigest) -> None:
        """Keep what an action was about."""
        self.orders[number] = (plane, content)
        while len(self.orders) > MOST_ORDERS:
            del self.orders[min(self.orders)]

    def said(self, number: int, details: tuple[str, ...]) -> None:
        """Keep what the device says of an action."""
        if not details:
            # Most devices say nothing, and there are thousands of them.
            return
        self.messages[number] = (*reversed(details), *self.messages.get(number, ()))[:MOST_MESSAGES]
        while len(self.messages) > MOST_ORDERS:
            del self.messages[min(self.messages)]

    def heard(self, report: HealthReport, now: float) -> None:
        """Take in a health report."""
        self.report, self.report_at = report, now
        if report.interval_seconds is not None:
            self.interval = report.interval_seconds
        if report.logged:
            self.log_at = now


class Sessions:
    """The sessions of all devices of this gateway."""

    def __init__(self, started: float, poll_seconds: float) -> None:
        self._started = started
        self._poll_seconds = poll_seconds
        self._found: dict[str, Session] = {}

    def of(self, device: str) -> Session:
        """The device's session, a new one for a device that has not been heard."""
        if (found := self._found.get(device)) is None:
            found = self._found[device] = Session()
        return found

    def keep_only(self, devices: AbstractSet[str]) -> None:
        """Forget devices that this gateway no longer serves."""
        for gone in self._found.keys() - devices:
            if not self._found[gone].lock.locked():
                del self._found[gone]

    def interval(self, record: ServedDevice) -> float:
        """How often the device says that it checks in."""
        declared = self.of(record.name).interval or record.declared_interval
        return declared or self._poll_seconds

    def reachable(self, record: ServedDevice, now: float) -> bool | None:
        """Whether the device checks in as it declares; None while this bridge is too young to know."""
        session = self.of(record.name)
        patience = self.patience(record)
        if session.contact_at is not None:
            return now - session.contact_at <= patience
        return None if now - self._started <= max(patience, UNHEARD_SECONDS) else False

    def reachable_until(self, record: ServedDevice, now: float) -> float:
        """Until when a device that checks in now counts as reachable, if it is never heard again; else this moment."""
        contact_at = self.of(record.name).contact_at
        return now if contact_at is None else max(now, contact_at + self.patience(record))

    def figures(self, record: ServedDevice, now: float) -> HealthReport | None:
        """The device's last report while it is fresh; what is older is no measurement any more."""
        session = self.of(record.name)
        return session.report if session.report and now - session.report_at <= self.patience(record) else None

    def patience(self, record: ServedDevice) -> float:
        """How long the device may be silent, in seconds."""
        return max(SHORTEST_SILENCE_SECONDS, MISSED_CHECK_INS * self.interval(record))
