"""Installs container releases as static Pods: one manifest in the directory that the node's kubelet watches.

The kubelet passes over names with a dot in front, so it never sees a manifest before all of it is there.

Source: https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/
"""

import asyncio
from pathlib import Path
from typing import Protocol

from backstay.adapters.node.durable import write_file
from backstay.adapters.node.image_pins import Images
from backstay.adapters.node.placed import PlacedInstaller, StoppableName
from backstay.adapters.node.pod_manifest import read_pod
from backstay.core.device import Cause, Order, Reason
from backstay.core.planes import Plane
from backstay.ports.installer import CannotInstall, Effect


class Kubelet(Protocol):
    """What runs the Pods of this node."""

    async def trouble(self) -> str | None:
        """What is wrong with it, in words; None if it is well."""
        ...


class StaticPodPlace:
    """The manifest of one Pod in the kubelet's directory."""

    def __init__(self, manifests: Path, pod: str) -> None:
        """Use `<pod>.yaml` in the kubelet's directory `manifests`, for releases whose Pod has just this name."""
        self._name = StoppableName(manifests / f"{pod}.yaml")
        self._pod = pod

    def current(self) -> Path | None:
        """The manifest that the kubelet keeps running, or would if it were not stopped."""
        return self._name.now if self._name.now.is_file() else None

    def put(self, payload: Path) -> None:
        """Give the kubelet this manifest."""
        write_file(self._name.now, payload.read_bytes())

    def stop(self) -> None:
        """Hide the manifest from the kubelet, which ends the Pod."""
        self._name.stop()

    def go_on(self) -> None:
        """Show the kubelet the manifest again."""
        self._name.go_on()

    def objection(self, payload: Path) -> Cause | None:
        """Refuse what is not a Pod that a node can keep running on its own, and any other Pod than this node's."""
        try:
            name = read_pod(payload.read_bytes()).name
        except CannotInstall as refusal:
            return refusal.cause
        if name != self._pod:
            # Another name could be that of a Pod that another file describes.
            return Cause(Reason.REJECTED, f"metadata.name is {name}, and the Pod of this node is {self._pod}")
        return None


class StaticPodInstaller(PlacedInstaller):
    """Installs releases of one static Pod."""

    def __init__(
        self,
        directory: Path,
        plane: Plane,
        place: StaticPodPlace,
        *,
        images: Images | None = None,
        kubelet: Kubelet | None = None,
    ) -> None:
        """Keep manifests in `directory`, and run one of them in `place`.

        `images` are kept from deletion; while `kubelet` is not well, nothing begins.
        """
        super().__init__(directory, plane, place)
        self._images_of_node = images
        self._kubelet = kubelet

    async def waits_for(self) -> str | None:
        """Wait for the kubelet: what it does not start proves nothing, and would be undone for no fault of its own."""
        return None if self._kubelet is None else await self._kubelet.trouble()

    async def switch(self, order: Order) -> Effect:
        """Let the held manifest take the place of what runs, whose images must not go when no container uses them."""
        await self._pin()
        return await super().switch(order)

    async def confirm(self, order: Order) -> None:
        """End the trial, and keep the images of what stays as well."""
        await super().confirm(order)
        await self._pin()

    async def images(self) -> tuple[str, ...]:
        """The images that must stay on the node: those of what runs and of its fallback, so that it needs no network.

        Raises:
            Unavailable: the disk cannot be read.
        """
        return await asyncio.to_thread(self._images)

    async def _pin(self) -> None:
        if self._images_of_node is not None:
            await self._images_of_node.keep(await self.images())

    def _images(self) -> tuple[str, ...]:
        found = (read_images(path) for path in self.payloads())
        return tuple(dict.fromkeys(image for images in found for image in images))


def read_images(manifest: Path) -> tuple[str, ...]:
    """The images of a manifest; one that somebody else put there and that cannot be read names none."""
    try:
        return read_pod(manifest.read_bytes()).images
    except (CannotInstall, FileNotFoundError):
        return ()
