"""What the bridge counts of its own work."""

import shutil
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class BridgeMetrics:
    """Counters of the bridge itself."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "backstay_bridge_requests", "Requests of devices.", ("route", "status"), registry=self._registry
        )
        self._counters: dict[tuple[str, int], Counter] = {}
        """The same counters by what they count: to look one up by its labels costs as much as to answer a poll."""
        self._writes = Counter(
            "backstay_bridge_status_writes",
            "Writes of a device's status: begin, answer or health, and what became of them.",
            ("kind", "result"),
            registry=self._registry,
        )
        self._fetch_failures = Counter(
            "backstay_bridge_fetch_failures",
            "Artifacts that could not be brought from the registry, each try counted.",
            registry=self._registry,
        )
        self._denials = Counter(
            "backstay_bridge_denials", "Steps that were not started when asked for.", ("why",), registry=self._registry
        )
        self._strangers = Counter(
            "backstay_bridge_unauthorized", "Requests that were turned away at the door.", registry=self._registry
        )
        self._limited = Counter(
            "backstay_bridge_limited",
            "What was turned away because it was too much: requests or downloads of one device, connections, or"
            " newcomers.",
            ("what",),
            registry=self._registry,
        )
        self._age = Gauge(
            "backstay_bridge_view_age_seconds", "Age of the last whole reading of holds.", registry=self._registry
        )

        self._correction = Gauge(
            "backstay_bridge_clock_correction_seconds",
            "What is added to this machine's time of day to have the API server's; 0 where it is right.",
            registry=self._registry,
        )
        self._disk_size = Gauge(
            "backstay_bridge_disk_size_bytes", "Size of the file system that holds answers.", registry=self._registry
        )
        self._disk_free = Gauge("backstay_bridge_disk_free_bytes", "What is free of it.", registry=self._registry)
        self._waiting = Gauge(
            "backstay_bridge_waiting_devices",
            "Devices that have shown themselves and wait to be enrolled.",
            registry=self._registry,
        )

    def request(self, route: str, status: int) -> None:
        """Count a request by the pattern of its path."""
        if (counter := self._counters.get((route, status))) is None:
            counter = self._counters[route, status] = self._requests.labels(route, str(status))
        counter.inc()

    def status_write(self, kind: str, result: str) -> None:
        """Count a write of a status."""
        self._writes.labels(kind, result).inc()

    def clock_corrected(self, seconds: float) -> None:
        """Show how far this machine's clock is from the API server's."""
        self._correction.set(seconds)

    def fetch_failed(self) -> None:
        """Count a failed fetch."""
        self._fetch_failures.inc()

    def denied(self, why: str) -> None:
        """Count a step that may not start now."""
        self._denials.labels(why).inc()

    def turned_away(self) -> None:
        """Count a request without a valid token."""
        self._strangers.inc()

    def limited(self, what: str) -> None:
        """Count what was too much: requests, downloads, connections or newcomers."""
        self._limited.labels(what).inc()

    def exposition(self, view_age_seconds: float, waiting: int, state: Path) -> bytes:
        """The bridge's own metrics as text; `waiting` is the number of devices that are not enrolled."""
        self._age.set(view_age_seconds)
        disk = shutil.disk_usage(state)
        self._disk_size.set(disk.total)
        self._disk_free.set(disk.free)
        self._waiting.set(waiting)
        return generate_latest(self._registry)
