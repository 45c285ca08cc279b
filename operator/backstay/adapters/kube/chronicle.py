"""Events and single devices from the API server, when somebody looks at them.

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from datetime import UTC, datetime
from typing import Final

from backstay.adapters.kube.client import EDGE_DEVICES, EVENTS, Json, KubeClient
from backstay.api import EdgeDevice
from backstay.errors import NotFound
from backstay.ports.chronicle import Happening

MOST_EVENTS: Final = 200


class KubeChronicle:
    """What one API server remembers."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def events(self, kind: str, namespace: str, name: str) -> tuple[Happening, ...]:
        """The last Events about an object, the latest first.

        Raises:
            Unavailable, Forbidden
        """
        selector = f"regarding.kind={kind},regarding.name={name}"
        found = [_happening(raw) for raw in await self._client.list(EVENTS, namespace, field_selector=selector)]
        found.sort(key=lambda one: one.last or one.at, reverse=True)
        return tuple(found[:MOST_EVENTS])

    async def device(self, namespace: str, name: str) -> EdgeDevice | None:
        """A device with all that it says of itself; None where it is gone.

        Raises:
            Unavailable, Forbidden
            InvalidDocument: this version cannot read it.
        """
        try:
            return EdgeDevice.from_document(await self._client.get(EDGE_DEVICES, name, namespace))
        except NotFound:
            return None


def _happening(raw: Json) -> Happening:
    series: Json = raw.get("series") or {}
    first = raw.get("eventTime") or raw.get("deprecatedFirstTimestamp") or raw["metadata"].get("creationTimestamp")
    last = series.get("lastObservedTime") or raw.get("deprecatedLastTimestamp")
    return Happening(
        at=_time(first),
        reason=raw.get("reason") or "",
        message=raw.get("note") or "",
        warns=raw.get("type") == "Warning",
        count=series.get("count") or raw.get("deprecatedCount") or 1,
        last=_time(last) if last else None,
    )


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)
