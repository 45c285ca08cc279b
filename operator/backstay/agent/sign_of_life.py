"""The agent's sign of life: an AgentLease that it renews, so that the operator can tell that it is away.

It is no more than that: nothing on the node waits for it.
"""

import asyncio
import logging
import random
from typing import Final

from backstay.adapters.kube.client import AGENT_LEASES, KubeClient
from backstay.errors import BackstayError, NotFound
from backstay.ports.clock import Clock

RENEWALS: Final = 3
"""So often within its duration a lease is renewed."""
SOONEST_SECONDS: Final = 5.0
"""After a renewal that failed, the next comes so much later at most: who is back should not count as away."""

log = logging.getLogger(__name__)


class SignOfLife:
    """One agent's AgentLease, which an administrator has put up under its device's name."""

    def __init__(self, client: KubeClient, namespace: str, device: str, duration_seconds: int, clock: Clock) -> None:
        self._client = client
        self._namespace = namespace
        self._device = device
        self._duration = duration_seconds
        self._clock = clock
        self._renewed: float | None = None
        self._failing = False

    @property
    def stands(self) -> bool:
        """Whether nobody can take this agent for silent; only then it says that it is reachable."""
        return self._renewed is not None and self._clock.monotonic() - self._renewed < self._duration

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            interval = self._duration / RENEWALS
            if not await self.renew():
                interval = min(interval, SOONEST_SECONDS)
            # Ten thousand nodes behind one switch must not all renew in the same moment for ever.
            await asyncio.sleep(interval * random.uniform(0.8, 1.0))  # noqa: S311 - not a secret

    async def renew(self) -> bool:
        """Renew once; tell whether the API server has it."""
        asked, now = self._clock.monotonic(), self._clock.now()
        spec = {
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "leaseDurationSeconds": self._duration,
        }
        try:
            await self._client.merge_patch(AGENT_LEASES, self._device, {"spec": spec}, self._namespace)
        except BackstayError as error:
            if not self._failing:
                hint = "; apply manifests/tenant/node-rbac.yaml for it" if isinstance(error, NotFound) else ""
                log.warning("the sign of life cannot be renewed: %s%s", error, hint)
            self._failing = True
            return False
        if self._failing:
            log.info("the sign of life is renewed again")
        self._failing = False
        # From when it was asked, not answered: the operator may count from then.
        self._renewed = asked
        return True
