"""The devices' series at /metrics.

Labels come from the EdgeDevice and never from a device, so that a device can neither pose as another nor make series
without end. A figure is only shown while it is fresh: Prometheus must see that it is gone, not its last value.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from collections.abc import Callable, Iterable
from typing import Final

from backstay.bridge.records import ServedDevice
from backstay.bridge.sessions import Sessions
from backstay.bridge.view import View
from backstay.core.devices import Assignment
from backstay.core.planes import Plane
from backstay.ports.clock import Clock

UNKNOWN_VERSION: Final = "unknown"
"""The version label of content that the operator has never named here."""

_FIGURES: Final = {
    "inference_accuracy": "Share of samples that the model answers rightly, from 0 to 1, by the device.",
    "inference_latency_seconds": "Time that one inference takes, by the device.",
    "heap_free_bytes": "Free heap memory, by the device.",
    "temperature_celsius": "Temperature of the chip, by the device.",
}

Value = Callable[[ServedDevice], float | None]


class DeviceSeries:
    """Writes the series of every device of the gateway."""

    def __init__(self, view: View, sessions: Sessions, clock: Clock) -> None:
        self._view = view
        self._sessions = sessions
        self._clock = clock

    def exposition(self) -> bytes:
        """The series as text."""
        records = sorted(self._view.devices(), key=lambda record: record.name)
        parts = [_family("device_info", "A device, one series for each of its plans.", map(self._info, records))]
        families: list[tuple[str, str, Value]] = [
            *((name, text, self._figure(name)) for name, text in _FIGURES.items()),
            ("probes_failing", "Probes that fail, by the device.", self._failing),
            ("device_reachable", "1 while the device checks in as it declared, else 0.", self._reachable),
            ("last_report_timestamp_seconds", "When the device reported last, in Unix time.", self._last_report),
            ("last_log_timestamp_seconds", "When log lines of the device came last, in Unix time.", self._last_log),
        ]
        for name, text, value in families:
            parts.append(_family(name, text, (self._sample(record, value) for record in records)))
        return "".join(parts).encode()

    def _sample(self, record: ServedDevice, value: Value) -> list[tuple[str, float]]:
        found = value(record)
        labels = _labels(("namespace", self._view.namespace), ("device", record.name))
        return [] if found is None else [(labels, found)]

    def _figure(self, name: str) -> Value:
        def value(record: ServedDevice) -> float | None:
            report = self._sessions.figures(record, self._clock.monotonic())
            return report.resources.get(name) if report else None

        return value

    def _failing(self, record: ServedDevice) -> float | None:
        report = self._sessions.figures(record, self._clock.monotonic())
        return float(len(report.failing)) if report and report.probed else None

    def _reachable(self, record: ServedDevice) -> float | None:
        found = self._sessions.reachable(record, self._clock.monotonic())
        return None if found is None else float(found)

    def _last_report(self, record: ServedDevice) -> float | None:
        session = self._sessions.of(record.name)
        return self._unix(session.report_at if session.report else session.contact_at)

    def _last_log(self, record: ServedDevice) -> float | None:
        return self._unix(self._sessions.of(record.name).log_at)

    def _unix(self, monotonic: float | None) -> float | None:
        if monotonic is None:
            return None
        return self._clock.now().timestamp() - (self._clock.monotonic() - monotonic)

    def _info(self, record: ServedDevice) -> list[tuple[str, float]]:
        labels = record.device.labels
        versions = [(str(plane), self._version(record, plane)) for plane in Plane]
        return [
            (
                _labels(
                    ("namespace", self._view.namespace),
                    ("device", record.name),
                    *((name, labels.get(name, "")) for name in ("customer", "region", "site")),
                    ("class", record.device.device_class),
                    ("plan", plan),
                    ("revision", revision),
                    ("ring", ring),
                    *versions,
                ),
                1.0,
            )
            for plan, revision, ring in _memberships(record) or (("", "", ""),)
        ]

    def _version(self, record: ServedDevice, plane: Plane) -> str:
        running = record.status.plane(plane).running
        return (self._view.version_of(record, plane, running) or UNKNOWN_VERSION) if running else ""


def _memberships(record: ServedDevice) -> tuple[tuple[str, str, str], ...]:
    """Each plan of the device once, by its latest assignment: two series of one plan would break every join."""
    latest: dict[str, Assignment] = {}
    for assignment in sorted(record.device.assigned.values(), key=_counter):
        latest[assignment.plan] = assignment
    if record.ordered:
        latest[record.ordered.plan] = record.ordered
    return tuple((plan, str(found.revision), found.ring) for plan, found in sorted(latest.items()))


def _counter(assignment: Assignment) -> int:
    """How many revisions the plan had before this one: the number at the end of a revision's name."""
    counter = assignment.revision.rpartition("-")[2]
    return int(counter) if counter.isascii() and counter.isdigit() else 0


def _family(name: str, text: str, samples: Iterable[list[tuple[str, float]]]) -> str:
    name = f"backstay_{name}"
    lines = [f"{name}{{{labels}}} {value!r}\n" for found in samples for labels, value in found]
    return "".join([f"# HELP {name} {text}\n# TYPE {name} gauge\n", *lines]) if lines else ""


def _labels(*pairs: tuple[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
