"""The Service that leads to whoever leads: the leader names its own Pod in the Service's one EndpointSlice.

A Service with a selector would lead to the standby too, which has nothing to show and knows no session. So this one has
none, and its slice is written here, again and again, because a leader that was deposed in the midst of a write, or a
person, may have written last. It belongs to the leader's Pod: with the Pod, the API server deletes it.

Source: https://kubernetes.io/docs/concepts/services-networking/service/#services-without-selectors, ADR 0021
"""

import asyncio
import logging
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from backstay.adapters.kube.client import ENDPOINT_SLICES, KubeClient
from backstay.errors import BackstayError
from backstay.ports.leadership import Leader

AGAIN_SECONDS: Final = 10.0
"""What somebody else wrote stands no longer; a write that changes nothing costs the API server's store nothing."""

Json = dict[str, Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pod:
    """The Pod that this process runs in."""

    name: str
    uid: str
    address: IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class LeadersPort:
    """What only a leader serves: a port of this Pod, as a Service of the Pod's namespace names it."""

    service: str
    name: str
    number: int
    pod: Pod


class LeaderService:
    """Keeps a Service leading here, for as long as this process leads."""

    def __init__(self, client: KubeClient, namespace: str, port: LeadersPort, leader: Leader) -> None:
        self._client = client
        self._namespace = namespace
        self._port = port
        self._leader = leader
        self._told = ""

    async def run(self) -> None:
        """Go on until cancelled. What goes wrong is told and costs the Service alone: releases do not hang on it.

        Raises:
            LeadershipLost: another operator may lead, and the Service with it.
        """
        while True:
            self._leader.assert_held()
            await self._lead_here()
            await asyncio.sleep(AGAIN_SECONDS)

    async def _lead_here(self) -> None:
        port = self._port
        who = f"service {self._namespace}/{port.service}"
        try:
            await self._client.apply(
                ENDPOINT_SLICES, port.service, endpoint_slice(port, self._namespace), self._namespace
            )
        except BackstayError as error:
            self._tell(logging.WARNING, f"{who} cannot be led here: {error}")
        else:
            self._tell(logging.INFO, f"{who} leads to {port.pod.name}, {port.pod.address} port {port.number}")

    def _tell(self, level: int, words: str) -> None:
        """Say it once, for as long as it is so."""
        if words != self._told:
            log.log(level, "%s", words)
        self._told = words


def endpoint_slice(port: LeadersPort, namespace: str) -> Json:
    """The slice by which a Service leads to one Pod, which owns it."""
    pod = port.pod
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": port.service,
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": port.service,
                "endpointslice.kubernetes.io/managed-by": "backstay-operator",
            },
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}],
        },
        "addressType": f"IPv{pod.address.version}",
        "endpoints": [
            {
                "addresses": [str(pod.address)],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": pod.name, "namespace": namespace, "uid": pod.uid},
            }
        ],
        "ports": [{"name": port.name, "port": port.number, "protocol": "TCP"}],
    }
