"""A namespace of a live cluster, read once with the rights of whoever asks."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from backstay.adapters.failpoints import Failpoints
from backstay.adapters.kube.client import EDGE_DEVICES, KubeClient
from backstay.api.device_conversion import device_from, is_enrolled
from backstay.api.resource import Resource
from backstay.cli.caller import kubeconfig_of_caller
from backstay.controllers.shelf import Shelf
from backstay.controllers.snapshots import Snapshots
from backstay.controllers.store import Store
from backstay.core.devices import Device
from backstay.errors import Refused

K = TypeVar("K", bound=Resource)


@dataclass(frozen=True, slots=True)
class LiveNamespace:
    """What the operator would see of it."""

    name: str
    store: Store
    snapshots: Snapshots
    devices: tuple[Device, ...]

    @classmethod
    async def read(cls, name: str, kubeconfig: Path | None) -> "LiveNamespace":
        """Read plans, groups, rules, holds, devices and records; without a kubeconfig as kubectl finds its own.

        Raises:
            BackstayError: the kubeconfig, the cluster or a right is missing.
        """
        store = Store()
        async with KubeClient.connect(kubeconfig_of_caller(kubeconfig)) as kube:
            for resource, shelf in store.shelves.items():
                for raw in await kube.list(resource, name):
                    shelf.put(raw)
            devices = tuple(device_from(raw) for raw in await kube.list(EDGE_DEVICES, name) if is_enrolled(raw))
            for device in devices:
                store.fleets.put((name, device))
            snapshots = Snapshots(kube, Failpoints())
            await snapshots.load({key: seen.raw["metadata"]["uid"] for key, seen in store.plans.all()}, name)
        return cls(name, store, snapshots, devices)

    def readable(self, shelf: Shelf[K]) -> dict[str, K]:
        """The objects of a shelf by name.

        Raises:
            Refused: this version cannot read one of them; to leave it out would be to guess.
        """
        found = {}
        for name, seen in shelf.of_namespace(self.name):
            if seen.model is None:
                raise Refused(f"{name} in namespace {self.name} cannot be read: {seen.problem}")
            found[name] = seen.model
        return found
