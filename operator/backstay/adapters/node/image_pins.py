"""Keeps container images on the node that a fallback needs: containerd says of them that nobody may delete them.

The kubelet deletes images that no container uses when its disk fills up, and passes over those that the runtime calls
pinned. The label counts from containerd 1.6.22 and 1.7.3 on.

Source: https://github.com/containerd/containerd/pull/8867,
https://kubernetes.io/docs/concepts/architecture/garbage-collection/#container-image-lifecycle
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final, Protocol

PINNED: Final = "io.cri-containerd.pinned"
OURS: Final = "backstay.dev/pinned"
"""On what was pinned here: what somebody else pinned stays pinned."""
PATIENCE_SECONDS: Final = 20.0

log = logging.getLogger(__name__)


class Images(Protocol):
    """The images of a node."""

    async def keep(self, images: Iterable[str]) -> None:
        """Keep just these from being deleted, as far as the node has them; what fails is said, and changes nothing."""
        ...


class ContainerdImages:
    """Pins images of containerd's by its own client."""

    def __init__(self, ctr: tuple[str, ...]) -> None:
        """Use the command `ctr` with the options that lead to the kubelet's images."""
        self._ctr = ctr

    async def keep(self, images: Iterable[str]) -> None:
        """Label these images, and take the label off those that were labelled here before."""
        wanted = set(images)
        try:
            there = await self._names()
            ours = await self._names(f'labels."{OURS}"==true')
            for name in sorted(wanted & there - ours):
                await self._run("images", "label", name, f"{PINNED}=pinned", f"{OURS}=true")
            for name in sorted(ours - wanted):
                await self._run("images", "label", name, f"{PINNED}=", f"{OURS}=")
        except (OSError, TimeoutError, _CtrFailedError) as error:
            log.warning("the images of the fallback could not be pinned, the kubelet may delete them: %s", error)

    async def _names(self, *filters: str) -> set[str]:
        return set((await self._run("images", "list", "--quiet", *filters)).split())

    async def _run(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *self._ctr,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                printed, told = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise TimeoutError(f"{' '.join(self._ctr)} does not answer") from None
        if process.returncode:
            raise _CtrFailedError(told.decode(errors="replace").strip() or f"it ended with {process.returncode}")
        return printed.decode(errors="replace")


class _CtrFailedError(Exception):
    """containerd's client could not do it."""
