"""RAUC's service as it is on D-Bus: what each slot holds, which one boots next, and the orders that change that.

Source: https://rauc.readthedocs.io/en/v1.8/reference.html (D-Bus API; slot status)
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from backstay.adapters.node.dbus import CallRefused, Conversation, Service, conversation
from backstay.core.device import Cause, Reason
from backstay.errors import Unavailable
from backstay.ports.installer import CannotInstall

RAUC: Final = Service("de.pengutronix.rauc", "/", "de.pengutronix.rauc.Installer")
_IDLE: Final = "idle"
_ASK_AGAIN_SECONDS: Final = 0.2


RECOVERY: Final = frozenset({"rescue", "recovery"})
"""A slot of such a class that the bootloader can boot holds the recovery system: no bundle of ours ever writes it."""


class Mark(StrEnum):
    """What the bootloader is to be told of a slot."""

    GOOD = "good"
    BAD = "bad"
    ACTIVE = "active"
    """It boots next."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What RAUC says of one slot."""

    name: str
    slot_class: str
    bootname: str | None
    """What the bootloader calls it; only the first slot of a group has one."""
    parent: str | None
    is_booted: bool
    is_good: bool
    """By the bootloader, which would boot it."""
    sha256: str | None
    """Of the image that was written whole; None where RAUC has not finished any."""
    installs: int
    activations: int
    version: str
    """Of the bundle that it came from."""

    @classmethod
    def read(cls, name: str, said: Mapping[str, Any]) -> "Slot":
        """Read RAUC's own words."""
        whole = said.get("status") == "ok"
        return cls(
            name=name,
            slot_class=str(said.get("class", "")),
            bootname=said.get("bootname"),
            parent=said.get("parent"),
            is_booted=said.get("state") == "booted",
            is_good=said.get("boot-status") == "good",
            sha256=said.get("sha256") if whole else None,
            installs=int(said.get("installed.count", 0)),
            activations=int(said.get("activated.count", 0)),
            version=str(said.get("bundle.version", "")),
        )


@dataclass(frozen=True, slots=True)
class Group:
    """A slot that the bootloader can boot, and the slots that belong to it."""

    root: Slot
    slots: tuple[Slot, ...]

    @property
    def is_recovery(self) -> bool:
        """Whether it holds the recovery system."""
        return self.root.slot_class in RECOVERY

    def of_class(self, slot_class: str) -> Slot | None:
        """The group's slot of a class."""
        return next((slot for slot in self.slots if slot.slot_class == slot_class), None)


@dataclass(frozen=True, slots=True)
class Slots:
    """All groups of slots, and the name of the one that boots next."""

    groups: tuple[Group, ...]
    primary: str | None

    @property
    def booted(self) -> Group | None:
        """The group that runs; None where the node came up from elsewhere."""
        return next((group for group in self.groups if group.root.is_booted), None)

    @property
    def other(self) -> Group | None:
        """The group that does not run, where there are two."""
        others = [group for group in self.systems if not group.root.is_booted]
        return others[0] if len(others) == 1 and len(self.systems) == 2 else None  # noqa: PLR2004 - one and the other

    @property
    def systems(self) -> tuple[Group, ...]:
        """The groups that bundles are installed into."""
        return tuple(group for group in self.groups if not group.is_recovery)

    @property
    def recovery(self) -> Group | None:
        """The group of the recovery system, where there is one."""
        return next((group for group in self.groups if group.is_recovery), None)


class RaucService:
    """Asks and orders; every answer is RAUC's own of this moment."""

    def __init__(self, address: str | None = None) -> None:
        """Use the bus at `address`, or the system's."""
        self._address = address

    async def slots(self) -> Slots:
        """What every slot holds now, by RAUC's status and by what the bootloader says.

        Raises:
            Unavailable: RAUC cannot be asked.
        """
        async with self._talk() as rauc:
            try:
                (said,) = await rauc.call("GetSlotStatus")
            except CallRefused as error:
                raise Unavailable(f"RAUC cannot read its slots: {error}; look at its log") from error
            try:
                (primary,) = await rauc.call("GetPrimary")
            except CallRefused:
                primary = None  # the bootloader would boot none of them
        return Slots(_groups(tuple(Slot.read(name, about) for name, about in said)), primary)

    async def compatible(self) -> str:
        """Which bundles this node takes.

        Raises:
            Unavailable: RAUC cannot be asked.
        """
        async with self._talk() as rauc:
            return str(await rauc.property("Compatible"))

    async def mark(self, mark: Mark, slot: Slot) -> None:
        """Tell the bootloader something of a slot; that RAUC reports success is no proof of it.

        Raises:
            Unavailable: it was not told.
        """
        async with self._talk() as rauc:
            try:
                await rauc.call("Mark", "ss", str(mark), slot.name)
            except CallRefused as error:
                raise Unavailable(f"slot {slot.name} cannot be marked {mark}: {error}; look at RAUC's log") from error

    async def idle(self, within: timedelta) -> None:
        """Return when RAUC does nothing, as when an install that an earlier process began has ended.

        Raises:
            Unavailable: it is still busy, or cannot be asked.
        """
        try:
            async with asyncio.timeout(within.total_seconds()), self._talk() as rauc:
                while await rauc.property("Operation") != _IDLE:  # noqa: ASYNC110 - another process's work
                    await asyncio.sleep(_ASK_AGAIN_SECONDS)
        except TimeoutError as error:
            raise Unavailable(f"RAUC is busy for {within} now: look at its log") from error

    async def install(self, bundle: Path, within: timedelta) -> None:
        """Write the bundle into the group that does not run, and make that boot next; return when it has ended.

        Raises:
            CannotInstall: RAUC says that it failed, and why.
            Unavailable: RAUC ended meanwhile, or takes too long.
        """
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def take(signal: str, arguments: list[Any]) -> None:
            if signal == "Completed" and not ended.done():
                ended.set_result(int(arguments[0]))
            elif signal == "NameOwnerChanged" and not arguments[2] and not ended.done():
                ended.set_exception(Unavailable(f"RAUC ended while it installed {bundle}: look at its log"))

        async with self._talk() as rauc, rauc.listening(take):
            try:
                await rauc.call("InstallBundle", "sa{sv}", str(bundle), {})
            except CallRefused as error:
                raise Unavailable(f"RAUC does not begin to install {bundle}: {error}; look at its log") from error
            if await _result(ended, rauc, within) != 0:
                raise CannotInstall(Cause(Reason.REJECTED, f"RAUC: {await rauc.property('LastError')}"))

    def _talk(self) -> AbstractAsyncContextManager[Conversation]:
        return conversation(RAUC, self._address)


async def _result(ended: asyncio.Future[int], rauc: Conversation, within: timedelta) -> int:
    gone = asyncio.create_task(rauc.ended())
    try:
        done, _ = await asyncio.wait((ended, gone), timeout=within.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
    if ended in done:
        return ended.result()
    why = f"it takes longer than {within}" if not done else "the bus ended"
    raise Unavailable(f"how the installation by RAUC ends is not known, because {why}: look at its log")


def _groups(slots: tuple[Slot, ...]) -> tuple[Group, ...]:
    parents = {slot.name: slot.parent for slot in slots}

    def root(name: str) -> str:
        parent = parents.get(name)
        return name if parent is None else root(parent)

    return tuple(
        Group(first, tuple(slot for slot in slots if root(slot.name) == first.name))
        for first in sorted(slots, key=lambda slot: slot.name)
        if first.bootname is not None
    )
