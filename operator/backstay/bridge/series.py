"""The devices' series at /metrics.

A figure is only shown while it is fresh: Prometheus must see that it is gone, not its last value.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import methodcaller
from typing import Final

from backstay.adapters.exposition import INFO, UNKNOWN_VERSION, family, info, labels
from backstay.bridge.health import HealthReport
from backstay.bridge.records import ServedDevice
from backstay.bridge.sessions import Session, Sessions
from backstay.bridge.view import View
from backstay.core.planes import Plane
from backstay.ports.clock import Clock

_FIGURES: Final = {
    "inference_accuracy": "Share of samples that the model answers rightly, from 0 to 1, by the device.",
    "inference_latency_seconds": "Time that one inference takes, by the device.",
    "heap_free_bytes": "Free heap memory, by the device.",
    "temperature_celsius": "Temperature of the chip, by the device.",
}


@dataclass(frozen=True, slots=True)
class _Seen:
    """A device at one scrape: what all its series share is worked out once."""

    labels: str
    session: Session
    report: HealthReport | None
    """The last report while it is fresh."""
    reachable: bool | None
    epoch: float
    """What a monotonic time is to be added to for Unix time."""

    def failing(self) -> float | None:
        """How many probes fail, where any were run."""
        return float(len(self.report.failing)) if self.report and self.report.probed else None

    def last_report(self) -> float | None:
        """When the device reported last, or was heard if it never does."""
        return self._unix(self.session.report_at if self.session.report else self.session.contact_at)

    def last_log(self) -> float | None:
        """When log lines came last."""
        return self._unix(self.session.log_at)

    def is_reachable(self) -> float | None:
        """1 while the device checks in, else 0; nothing while nobody can know."""
        return None if self.reachable is None else float(self.reachable)

    def figure(self, name: str) -> float | None:
        """One of the device's own figures."""
        return self.report.resources.get(name) if self.report else None

    def _unix(self, monotonic: float | None) -> float | None:
        return None if monotonic is None else self.epoch + monotonic


class DeviceSeries:
    """Writes the series of every device of the gateway."""

    def __init__(self, view: View, sessions: Sessions, clock: Clock) -> None:
        self._view = view
        self._sessions = sessions
        self._clock = clock

    def exposition(self) -> Iterator[bytes]:
        """The series as text, one family after the other, so that never all of it is in memory more than once."""
        records = sorted((found for found in self._view.devices() if found.enrolled), key=lambda record: record.name)
        now = self._clock.monotonic()
        epoch = self._clock.now().timestamp() - now
        seen = [self._seen(record, now, epoch) for record in records]
        yield from filter(None, self._families(records, seen))

    def _families(self, records: list[ServedDevice], seen: list[_Seen]) -> Iterator[bytes]:
        yield family(*INFO, (line for record in records for line in self._info(record)))
        for name, text in _FIGURES.items():
            yield family(name, text, _samples(seen, methodcaller("figure", name)))
        for name, text, value in _OF_A_DEVICE:
            yield family(name, text, _samples(seen, value))

    def _seen(self, record: ServedDevice, now: float, epoch: float) -> _Seen:
        return _Seen(
            labels(("namespace", self._view.namespace), ("device", record.name)),
            self._sessions.of(record.name),
            self._sessions.figures(record, now),
            self._sessions.reachable(record, now),
            epoch,
        )

    def _info(self, record: ServedDevice) -> Iterator[tuple[str, float]]:
        return info(self._view.namespace, record.device, lambda plane: self._version(record, plane))

    def _version(self, record: ServedDevice, plane: Plane) -> str:
        running = record.status.plane(plane).running
        return (self._view.version_of(record, plane, running) or UNKNOWN_VERSION) if running else ""


_OF_A_DEVICE: Final[tuple[tuple[str, str, Callable[[_Seen], float | None]], ...]] = (
    ("probes_failing", "Probes that fail, by the device.", _Seen.failing),
    ("device_reachable", "1 while the device checks in as it declared, else 0.", _Seen.is_reachable),
    ("last_report_timestamp_seconds", "When the device reported last, in Unix time.", _Seen.last_report),
    ("last_log_timestamp_seconds", "When log lines of the device came last, in Unix time.", _Seen.last_log),
)


def _samples(seen: Iterable[_Seen], value: Callable[[_Seen], float | None]) -> Iterator[tuple[str, float]]:
    return ((one.labels, found) for one in seen if (found := value(one)) is not None)
