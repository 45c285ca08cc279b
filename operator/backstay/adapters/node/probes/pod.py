"""PodHealthy: a Pod of this node is ready, and its containers have not started again just now.

Source: Kubernetes API v1, PodList, as the kubelet's own `GET /pods` gives it: a static Pod is there under its name, a
dash and the node's name, also while no API server can be reached.
"""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson

from backstay.adapters.node.probes.answers import whole
from backstay.adapters.node.probes.probe import Finding, NodeProbe, amiss, fine
from backstay.adapters.node.probes.surroundings import Surroundings
from backstay.core.device import Probe
from backstay.core.quantities import seconds_of
from backstay.errors import Unavailable

DEFAULT_UPTIME: Final = "10s"
ANSWER_LIMIT_BYTES: Final = 64 * 1024 * 1024

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KubeletPods:
    """The Pods of this node, from its kubelet."""

    session: aiohttp.ClientSession
    url: str
    """As https://127.0.0.1:10250, which wants a client certificate; with `/api/v1` behind it, the API server's."""
    context: ssl.SSLContext | bool = True
    timeout_seconds: float = 5.0

    async def __call__(self) -> list[Json]:
        """Ask for all of them.

        Raises:
            Unavailable: the kubelet did not answer with a list of Pods.
        """
        url = f"{self.url.rstrip('/')}/pods"
        try:
            async with (
                asyncio.timeout(self.timeout_seconds),
                self.session.get(url, ssl=self.context, allow_redirects=False) as response,
            ):
                text = await whole(response, ANSWER_LIMIT_BYTES)
        except TimeoutError as error:
            raise Unavailable(f"{url} gave no answer within {self.timeout_seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"{url} cannot be reached: {error}") from error
        if response.status != HTTPStatus.OK:
            raise Unavailable(f"{url} answered {response.status}: {text[:200].decode(errors='replace')}")
        return _pods(url, text)


class PodHealthy(NodeProbe):
    """The Pod `pod`, as `NAMESPACE/NAME` or `NAME`, is ready, and all of its containers run since `minUptime`."""

    def __init__(self, probe: Probe, surroundings: Surroundings) -> None:
        super().__init__(probe, surroundings)
        self._namespace, _, self._name = self.setting("pod").rpartition("/")
        self._uptime_seconds = self.read("minUptime", seconds_of, DEFAULT_UPTIME)
        if surroundings.pods is None:
            raise ValueError("PodHealthy needs a kubelet, and the agent was told of none")
        self._pods = surroundings.pods

    async def look(self) -> Finding:
        """Ask the kubelet."""
        try:
            found = [pod for pod in await self._pods() if self._is_meant(pod)]
        except Unavailable as error:
            return amiss("NoKubelet", str(error))
        if not found:
            return amiss("NoPod", f"there is no Pod {self.probe.setting('pod')} on this node")
        return self._judged(found[0], datetime.now(UTC))

    def _is_meant(self, pod: Json) -> bool:
        metadata, node = pod.get("metadata") or {}, (pod.get("spec") or {}).get("nodeName", "")
        if self._namespace and metadata.get("namespace") != self._namespace:
            return False
        return metadata.get("name") in {self._name, f"{self._name}-{node}"}

    def _judged(self, pod: Json, now: datetime) -> Finding:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        restarts = sum(int(one.get("restartCount", 0)) for one in _containers(status))
        detail = f"Pod {name} is {status.get('phase', 'of unknown phase')}, its containers restarted {restarts} times"
        if not _is_ready(status):
            waiting = ", ".join(_why_waiting(status)) or "its readiness probe fails, or its containers just start"
            return amiss("NotReady", f"{detail}, and it is not ready: {waiting}")
        youngest = min((_age_seconds(one, now) for one in _containers(status)), default=0.0)
        if youngest < self._uptime_seconds:
            return amiss(
                "JustStarted", f"{detail}, the last one {youngest:.0f} s ago; {self._uptime_seconds:g} s wanted"
            )
        return fine(f"{detail}, all run for {youngest:.0f} s at least")


def _pods(url: str, text: bytes) -> list[Json]:
    try:
        found = orjson.loads(text)["items"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Unavailable(f"{url} gave no list of Pods: {error!r}") from error
    return [pod for pod in found or () if isinstance(pod, dict)]


def _containers(status: Json) -> list[Json]:
    return status.get("containerStatuses") or []


def _is_ready(status: Json) -> bool:
    conditions = status.get("conditions") or []
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)
    return ready and status.get("phase") == "Running"


def _why_waiting(status: Json) -> Iterator[str]:
    for one in _containers(status):
        state = one.get("state") or {}
        for what in ("waiting", "terminated"):
            if what in state:
                yield f"{one.get('name')} {what}: {state[what].get('reason', 'no reason told')}"


def _age_seconds(container: Json, now: datetime) -> float:
    """For how long a container has run; 0 if it does not."""
    started = ((container.get("state") or {}).get("running") or {}).get("startedAt")
    return (now - datetime.fromisoformat(started)).total_seconds() if started else 0.0
