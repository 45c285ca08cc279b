"""Nodes that have fallen silent: what a node cannot say of itself, the operator says for it, once.

    AgentLease renewed ─► the agent writes Reachable=True ─► not renewed for its duration ─► the operator writes False

Whether a lease stands still is judged by the operator's own seconds, so that clocks that disagree take nobody for lost,
and only over a time in which the operator itself could have seen a renewal.

Source: https://kubernetes.io/docs/concepts/architecture/nodes/#node-heartbeats
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Final

from backstay.adapters.kube.client import AGENT_LEASES, EDGE_DEVICES, KubeClient
from backstay.adapters.kube.informer import Informer
from backstay.api.device_conversion import device_from
from backstay.api.device_readiness import with_readiness
from backstay.api.device_status import REACHABLE, Condition, difference, status_from
from backstay.controllers.store import Store
from backstay.core.devices import DeviceName
from backstay.errors import BackstayError, Conflict, NotFound, Unavailable
from backstay.ports.clock import Clock
from backstay.ports.leadership import Leader

LOOK_SECONDS: Final = 1.0
REASON: Final = "AgentSilent"
UNSAID_SECONDS: Final = 120
"""The duration of a lease that does not say it, as of one that nobody has put up."""

Json = dict[str, Any]
Key = tuple[str, str]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Renewal:
    """An AgentLease as it was seen last."""

    key: Key
    renewed: str = ""
    duration_seconds: int = UNSAID_SECONDS


def renewal_from(raw: Json) -> Renewal:
    """Read an AgentLease as the API server sends it; its schema has been checked there."""
    metadata, spec = raw["metadata"], raw.get("spec") or {}
    return Renewal(
        (metadata["namespace"], metadata["name"]),
        spec.get("renewTime") or "",
        int(spec.get("leaseDurationSeconds") or UNSAID_SECONDS),
    )


class Silence:
    """Follows the AgentLeases, and takes back Reachable where one stands still."""

    def __init__(self, client: KubeClient, store: Store, clock: Clock, leader: Leader) -> None:
        self._client = client
        self._store = store
        self._clock = clock
        self._leader = leader
        self._seen: dict[Key, tuple[Renewal, float]] = {}
        """Each lease, and since when it has looked like this."""
        self._watching_since = clock.monotonic()
        self._informer = Informer(client, AGENT_LEASES, self, parse=renewal_from, clock=clock)

    def put(self, found: Renewal) -> None:
        """A lease is new, or was renewed."""
        known = self._seen.get(found.key)
        if known is None or known[0] != found:
            self._seen[found.key] = (found, self._clock.monotonic())

    def remove(self, namespace: str, name: str) -> None:
        """A lease is gone: from now on its agent is silent."""
        self.put(Renewal((namespace, name)))

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informer.run())
            await self._informer.synced.wait()
            self._watching_since = self._clock.monotonic()
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                if not self._informer.connected:
                    # Who could not be heard is not silent: everybody gets the whole of the time again.
                    self._watching_since = self._clock.monotonic()
                    continue
                for key in self._silent():
                    if not await self._take_back(key):
                        break

    def _silent(self) -> list[Key]:
        """Nodes whose lease stands still and who are still said to be reachable."""
        now = self._clock.monotonic()
        return [
            key
            for key, (renewal, since) in self._seen.items()
            if now - max(since, self._watching_since) > renewal.duration_seconds
            and (device := self._store.fleets.get(key[0], DeviceName(key[1]))) is not None
            and device.reachable
        ]

    async def _take_back(self, key: Key) -> bool:
        """Write that a node is away, unless the API server knows better; False if that cannot be asked now."""
        namespace, name = key
        renewal = self._seen[key][0]
        self._leader.assert_held()
        try:
            # With quorum: a watch may lag, and a node must not be called silent because of it.
            current = await self._current(key)
            if current != renewal:
                self.put(current)
                return True
            raw = await self._client.get(EDGE_DEVICES, name, namespace)
            if body := self._body(raw, renewal):
                raw = await self._client.merge_patch(EDGE_DEVICES, name, body, namespace, subresource="status")
                log.warning("%s/%s: its agent is silent", namespace, name)
            self._store.fleets.put_answer(namespace, device_from(raw))
        except (Conflict, NotFound):
            # The agent was faster, or the device is gone; what is so comes by the watch.
            return True
        except BackstayError as error:
            log.warning("%s/%s cannot be looked at now: %s", namespace, name, error)
            if isinstance(error, Unavailable):
                self._watching_since = self._clock.monotonic()
            return False
        return True

    async def _current(self, key: Key) -> Renewal:
        try:
            return renewal_from(await self._client.get(AGENT_LEASES, key[1], key[0]))
        except NotFound:
            return Renewal(key)

    def _body(self, raw: Json, renewal: Renewal) -> Json:
        """The write, or nothing for a device that is of no node, or says no longer that it is reachable."""
        metadata, device, now = raw["metadata"], device_from(raw), self._clock.now()
        if not device.reachable or not raw["spec"].get("node"):
            return {}
        status = status_from(raw["status"], device.planes)
        message = f"the agent has not been heard for {renewal.duration_seconds} s"
        generation = int(metadata.get("generation", 0))
        away = status.with_condition(REACHABLE, Condition(False, REASON, message, now, generation))  # noqa: FBT003 - as in a condition
        away = with_readiness(away, device, generation, now)
        return {
            "metadata": {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"]},
            "status": difference(status, away),
        }
