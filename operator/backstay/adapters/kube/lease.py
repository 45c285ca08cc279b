"""Leadership: at most one operator acts at a time, by a Lease that it renews.

A candidate takes the Lease only after it has watched it stand still for the holder's whole duration, by
its own clock, so that clocks that disagree never make two leaders. A leader that could not renew for two
thirds of the duration considers itself deposed before anybody else may take over.

Source: https://kubernetes.io/docs/concepts/architecture/leases/
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from backstay.adapters.kube.client import LEASES, Json, KubeClient
from backstay.errors import BackstayError, Conflict, Forbidden, NotFound, Unavailable
from backstay.ports.clock import Clock

LEASE_NAME: Final = "backstay-operator"

log = logging.getLogger(__name__)


class LeadershipLost(BackstayError):
    """Another operator leads, or may: this process must end at once, because its view may be anybody's past."""


@dataclass(frozen=True, slots=True)
class _Record:
    """What a candidate compares to see whether the holder is alive."""

    holder: str
    renewed: str
    transitions: int
    duration_seconds: float

    @classmethod
    def of(cls, lease: Json) -> "_Record":
        spec = lease.get("spec", {})
        return cls(
            spec.get("holderIdentity") or "",
            spec.get("renewTime") or "",
            spec.get("leaseTransitions") or 0,
            float(spec.get("leaseDurationSeconds") or 0),
        )


class Leadership:
    """One candidate for the Lease of a namespace."""

    def __init__(
        self, client: KubeClient, *, namespace: str, identity: str, duration_seconds: int, clock: Clock
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._identity = identity
        self._duration = duration_seconds
        self._clock = clock
        self._deadline = duration_seconds * 2 / 3
        self._interval = duration_seconds / 6
        self._renewed = float("-inf")
        self._lease: Json = {}
        self.seen_holder: str | None = None
        """Who held the Lease when it was last read; empty for nobody, None while it cannot be read."""

    def assert_held(self) -> None:
        """Make sure, without asking anybody, that no other operator can lead yet.

        Raises:
            LeadershipLost: the last renewal is too long ago.
        """
        if self._clock.monotonic() - self._renewed >= self._deadline:
            message = (
                f"lost leadership: lease {self._namespace}/{LEASE_NAME} could not be renewed for "
                f"{self._deadline:.0f} s, so another operator may lead; this one ends and must be started again"
            )
            raise LeadershipLost(message)

    async def win(self) -> None:
        """Wait until the Lease is ours.

        Raises:
            Forbidden: this identity may not use the Lease.
            Unavailable: the server did not answer the very first question; later silence is waited out.
        """
        seen, since = None, self._clock.monotonic()
        lease = await self._read()
        while True:
            record = None if lease is None else _Record.of(lease)
            if record != seen:
                _tell_of_another(record, seen)
                seen, since = record, self._clock.monotonic()
            if self._is_free(record, since) and await self._take(lease, record):
                log.info("leading as %s", self._identity)
                return
            await asyncio.sleep(self._interval)
            lease = await self._read_patiently(lease)

    async def keep(self) -> None:
        """Renew until cancelled.

        Raises:
            LeadershipLost: renewal failed for too long, or somebody else holds the Lease.
        """
        while True:
            await asyncio.sleep(self._interval)
            self.assert_held()
            try:
                async with asyncio.timeout(self._interval * 2):
                    await self._renew()
            # A restarted API server refuses what it allows, until it has read the roles.
            except (Unavailable, Forbidden, TimeoutError) as error:
                log.warning("the lease could not be renewed: %s", str(error) or "no answer in time")
                self.assert_held()

    async def release(self) -> None:
        """Hand the Lease back, so that the next leader need not wait; only after the last write has ended."""
        spec = {**self._lease.get("spec", {}), "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            async with asyncio.timeout(self._interval * 2):
                await self._client.replace(LEASES, LEASE_NAME, {**self._lease, "spec": spec}, self._namespace)
        except (BackstayError, TimeoutError) as error:
            log.warning("the lease could not be released, the next leader has to wait: %s", str(error) or "no answer")

    def _is_free(self, record: _Record | None, since: float) -> bool:
        if record is None or not record.holder:
            return True
        return self._clock.monotonic() - since >= max(record.duration_seconds, self._duration)

    async def _read(self) -> Json | None:
        try:
            lease = await self._client.get(LEASES, LEASE_NAME, self._namespace)
        except NotFound:
            self.seen_holder = ""
            return None
        self.seen_holder = _Record.of(lease).holder
        return lease

    async def _read_patiently(self, last: Json | None) -> Json | None:
        """The Lease, or what was last known of it while the server is away: a candidate outlives that."""
        try:
            return await self._read()
        except Unavailable as error:
            log.warning("%s", error)
            self.seen_holder = None
            return last

    async def _take(self, lease: Json | None, record: _Record | None) -> bool:
        asked = self._clock.monotonic()
        transitions = 0 if record is None else record.transitions + 1
        body = {
            **(lease or {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}),
            "metadata": (lease or {}).get("metadata", {"name": LEASE_NAME, "namespace": self._namespace}),
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": self._duration,
                "acquireTime": _now(),
                "renewTime": _now(),
                "leaseTransitions": transitions,
            },
        }
        try:
            if lease is None:
                self._lease = await self._client.create(LEASES, body, self._namespace)
            else:
                self._lease = await self._client.replace(LEASES, LEASE_NAME, body, self._namespace)
        except (Conflict, NotFound, Unavailable):
            return False
        self._renewed = asked
        return True

    async def _renew(self) -> None:
        asked = self._clock.monotonic()
        spec = {**self._lease["spec"], "renewTime": _now()}
        try:
            self._lease = await self._client.replace(LEASES, LEASE_NAME, {**self._lease, "spec": spec}, self._namespace)
        except (Conflict, NotFound) as error:
            await self._recognize(error)
        # From when it was asked, not answered: that is the earliest moment from which anybody else counts.
        self._renewed = asked

    async def _recognize(self, error: BackstayError) -> None:
        """Find out whether the conflict is our own earlier write, whose answer was lost, or somebody else."""
        lease = await self._read()
        if lease is None or _Record.of(lease).holder != self._identity:
            holder = _Record.of(lease).holder if lease else "nobody"
            message = f"lost leadership: lease {self._namespace}/{LEASE_NAME} is held by {holder or 'nobody'} now"
            raise LeadershipLost(message) from error
        self._lease = lease


def _tell_of_another(record: _Record | None, before: _Record | None) -> None:
    """Say who leads, once for each leader and not at each of its renewals."""
    if record is not None and record.holder and (before is None or before.holder != record.holder):
        log.info("%s leads; waiting for its lease to end", record.holder)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
