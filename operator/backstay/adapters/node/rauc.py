"""Installs system images with RAUC: a bundle into the group of slots that does not run, tried by the bootloader.

What runs, what the other group holds and which one boots next is always RAUC's and the bootloader's word of the moment;
the record beside them only tells which release those images are.

Source: https://rauc.readthedocs.io/en/v1.8/integration.html and reference.html
"""

import asyncio
from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from backstay.adapters.node.boot_counters import BootCounters
from backstay.adapters.node.durable import write_file
from backstay.adapters.node.rauc_bundle import Bundle, read_bundle
from backstay.adapters.node.rauc_service import Group, Mark, RaucService, Slots
from backstay.adapters.node.releases import ReleaseStore, disk_errors, no_room_for
from backstay.adapters.node.slot_record import Entry, SlotImage, SlotRecord
from backstay.core.device import Cause, Order, Reason
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.errors import Unavailable
from backstay.ports.installer import ALONE, Beside, CannotInstall, Effect, Storage
from backstay.ports.registry import ArtifactDescription

INSTALL_WITHIN: Final = timedelta(minutes=30)
RECOVERY_RUNS: Final = "the node runs its recovery system; `backstay recover` boots the one before"


@dataclass(frozen=True, slots=True)
class _Holding:
    """What a group of slots holds."""

    group: Group
    release: Release | None
    entry: Entry | None
    """What the record knows of it; None where others wrote it, or nobody has."""
    is_primary: bool

    @property
    def on_trial(self) -> int | None:
        return self.entry.step if self.entry and not self.entry.confirmed else None

    @property
    def is_fallback(self) -> bool:
        """Whether the group is one to go back to, if it does not run."""
        is_proven = self.entry is None or (self.entry.confirmed and not self.entry.left)
        return is_proven and self.group.root.is_good


@dataclass(frozen=True, slots=True)
class _Node:
    """Both groups, as they are now."""

    running: _Holding
    other: _Holding | None

    @property
    def switched(self) -> bool:
        """Whether the other group was made the one that boots next, and the node was not rebooted since.

        GRUB gives what is on trial one boot: while it runs, the next one is its fallback's already.
        """
        return self.other is not None and self.other.is_primary and self.running.on_trial is None

    @property
    def fallback(self) -> _Holding | None:
        if self.other is None or not self.other.is_fallback or self.switched:
            return None
        # What is on trial was switched to from the other group: it ran, whoever wrote it.
        return self.other if self.other.release is not None or self.running.on_trial is not None else None

    @property
    def ended(self) -> int | None:
        """The step whose trial the bootloader ended: it was made primary, and is not any more."""
        other = self.other
        given_up = other is not None and other.entry is not None and not other.is_primary and not other.entry.left
        return other.on_trial if other is not None and given_up else None


class RaucInstaller:
    """Installs bundles through RAUC's service."""

    def __init__(
        self,
        directory: Path,
        plane: Plane,
        counters: BootCounters,
        *,
        configuration: Path | None = None,
        address: str | None = None,
        factory: Release | None = None,
        install_within: timedelta = INSTALL_WITHIN,
    ) -> None:
        """Keep bundles and the record in `directory`, where RAUC can read.

        Args:
            directory: where bundles and the record are kept; no other plane uses it.
            plane: the plane that system images are of.
            counters: the bootloader's own word of how often it still tries a slot.
            configuration: RAUC's, if it is not /etc/rauc/system.conf.
            address: of the bus that RAUC is on, if it is not the system's.
            factory: what slots hold that RAUC has never written, as whoever made the node knows.
            install_within: how long RAUC may take to write a bundle.
        """
        self._directory = directory
        self._plane = plane
        self._counters = counters
        self._configuration = configuration
        self._rauc = RaucService(address)
        self._factory = factory
        self._install_within = install_within
        self._store = ReleaseStore(directory / "bundles", plane)
        self._record = SlotRecord(directory / "slots.json", plane)

    async def look(self) -> Storage:
        """Ask RAUC, and read in the record which releases its slots hold."""
        slots, kept = await self._rauc.slots(), await asyncio.to_thread(self._kept)
        if slots.booted is None or slots.booted.is_recovery:
            return Storage(held=kept, is_rescue=slots.booted is not None)
        node = await self._node(slots)
        running = node.running.release
        in_slots = {node.other.release.content} if node.other and node.other.release else set()
        held = (kept | in_slots) - ({running.content} if running else set())
        fallback = node.fallback.release if node.fallback else None
        return Storage(running, fallback, held, node.running.on_trial, node.ended)

    async def waits_for(self) -> str | None:
        """Wait for nobody."""
        return None

    async def objection(self, order: Order, artifact: ArtifactDescription) -> Cause | None:  # noqa: ARG002
        """Refuse where there is no other group of slots, or no room for the bundle."""
        slots = await self._rauc.slots()
        if slots.booted is None or slots.other is None:
            return Cause(Reason.REJECTED, _groups_needed(slots))
        return await asyncio.to_thread(no_room_for, artifact, self._directory)

    async def stage(
        self,
        order: Order,  # noqa: ARG002
        artifact: ArtifactDescription,
        payload: Path,
        beside: Beside = ALONE,  # noqa: ARG002
    ) -> None:
        """Let RAUC check the bundle's signature and that it is for this node and its slots, and keep it."""
        bundle, slots = await self._checked(payload), await self._rauc.slots()
        if slots.other is None:
            raise CannotInstall(Cause(Reason.REJECTED, _groups_needed(slots)))
        _images(bundle, slots.other)
        await asyncio.to_thread(self._store.keep, artifact.release(), payload)

    async def switch(self, order: Order) -> Effect:
        """Let the other group boot next, after RAUC wrote the bundle into it, unless it holds that content already."""
        await self._rauc.idle(self._install_within)
        node = await self._node(await self._rauc.slots())
        if (step := node.running.on_trial) is not None:
            detail = f"step {step} is not confirmed, and its fallback must stay: confirm or fall back first"
            raise CannotInstall(Cause(Reason.REJECTED, detail))
        if node.running.release is not None and node.running.release.content == order.content:
            raise CannotInstall(Cause(Reason.REJECTED, f"{order.content} runs already"))
        other = node.other
        if other is None:
            raise CannotInstall(Cause(Reason.REJECTED, "there is no other group of slots to switch to"))
        if other.release is not None and other.release.content == order.content:
            await self._write(other, _next_try(other, other.release, order))
            await self._rauc.mark(Mark.ACTIVE, other.group.root)
        else:
            await self._install(order, other)
        await self._make_sure_of(order)
        return Effect.AFTER_REBOOT

    async def confirm(self, order: Order) -> None:
        """Mark the running group good, and read from the bootloader itself that it is."""
        running = (await self._node(await self._rauc.slots())).running
        if running.entry is None or running.entry.release.content != order.content:
            raise Unavailable(f"step {order.number} cannot be confirmed: {running.release} runs, not {order.content}")
        await self._rauc.mark(Mark.GOOD, running.group.root)
        await self._make_sure_is_good(running.group)
        await self._write_over(running, replace(running.entry, confirmed=True, left=False))

    async def renew(self) -> None:
        """Let the bootloader go on booting what runs and is not on trial; it counts every boot, so once after each.

        Raises:
            Unavailable: it could not be made sure.
        """
        slots = await self._rauc.slots()
        if slots.booted is not None and slots.booted.is_recovery:
            # However it came to be booted, it must not use up its own tries while it waits for a person.
            await self._rauc.mark(Mark.GOOD, slots.booted.root)
            return
        running = (await self._node(slots)).running
        if running.on_trial is None:
            await self._rauc.mark(Mark.GOOD, running.group.root)
            await self._make_sure_is_good(running.group)

    async def fall_back(self) -> Effect:
        """Let the other group boot next, and never again by itself the one that runs.

        Where the node has not yet been rebooted into what it was switched to, what runs just stays.
        """
        await self._rauc.idle(self._install_within)
        node = await self._node(await self._rauc.slots())
        if node.other is not None and node.switched:
            await self._leave(node.other, node.running)
            return Effect.AT_ONCE
        if node.fallback is None:
            raise CannotInstall(Cause(Reason.REJECTED, f"there is no fallback of {node.running.release}"))
        await self._leave(node.running, node.fallback)
        return Effect.AFTER_REBOOT

    async def rescue(self) -> Effect:
        """Let the recovery system boot next, where the bootloader knows one; and remember what ran before."""
        slots = await self._rauc.slots()
        if slots.recovery is None or slots.booted is None or slots.booted.is_recovery:
            return Effect.AT_ONCE
        with disk_errors("which system ran before the recovery system cannot be recorded"):
            await asyncio.to_thread(write_file, self._left, slots.booted.root.name.encode())
        await self._boot_next(slots.recovery)
        return Effect.AFTER_REBOOT

    async def leave_rescue(self) -> Effect:
        """Let the system that ran before boot next, or another that the bootloader would boot if that is not known."""
        slots = await self._rauc.slots()
        if slots.booted is None or not slots.booted.is_recovery:
            return Effect.AT_ONCE
        with disk_errors("which system ran before the recovery system cannot be read"):
            name = await asyncio.to_thread(lambda: self._left.read_text() if self._left.exists() else "")
        # U-Boot comes to it by itself once no other system has tries left; then the first is as good as any.
        ranked = sorted(slots.systems, key=lambda group: (group.root.name != name, not group.root.is_good))
        if not ranked:
            raise Unavailable(f"there is no system beside the recovery system: {_groups_needed(slots)}")
        await self._boot_next(ranked[0])
        return Effect.AFTER_REBOOT

    async def trim(self, needed: Container[ContentDigest]) -> None:
        """Delete bundles that nobody needs: what runs and its fallback are in slots, and need none."""
        kept = await asyncio.to_thread(self._kept)
        await asyncio.to_thread(self._store.trim, {content for content in kept if content in needed})

    @property
    def _left(self) -> Path:
        return self._directory / "rescued-from"

    async def _boot_next(self, group: Group) -> None:
        await self._rauc.mark(Mark.ACTIVE, group.root)
        if (primary := (await self._rauc.slots()).primary) != group.root.name:
            raise Unavailable(f"slot {group.root.name} was activated, but {primary or 'nothing'} would boot next")

    def _kept(self) -> frozenset[ContentDigest]:
        with disk_errors(f"{self._directory} cannot be read"):
            return self._store.contents()

    async def _node(self, slots: Slots) -> _Node:
        if slots.booted is not None and slots.booted.is_recovery:
            raise CannotInstall(Cause(Reason.REJECTED, RECOVERY_RUNS))
        if slots.booted is None:
            raise Unavailable(f"RAUC does not know which slot this node booted: {_groups_needed(slots)}")
        running = await asyncio.to_thread(self._holding, slots.booted, slots.primary)
        other = None if slots.other is None else await asyncio.to_thread(self._holding, slots.other, slots.primary)
        return _Node(running, other)

    def _holding(self, group: Group, primary: str | None) -> _Holding:
        entry = self._record.entry(group, primary)
        release = entry.release if entry else self._unrecorded(group)
        return _Holding(group, release, entry, primary == group.root.name)

    def _unrecorded(self, group: Group) -> Release | None:
        """What a group holds that this installer did not write: named by its images, or as the factory said."""
        if not any(slot.installs for slot in group.slots):
            return self._factory
        images = "\n".join(f"{slot.slot_class} {slot.sha256}" for slot in group.slots if slot.sha256)
        content = ContentDigest(f"sha256:{sha256(images.encode()).hexdigest()}")
        return Release(self._plane, group.root.version or "unknown", content) if images else None

    async def _checked(self, path: Path) -> Bundle:
        bundle, ours = await read_bundle(path, self._configuration), await self._rauc.compatible()
        if bundle.compatible != ours:
            detail = f"the bundle is for {bundle.compatible!r}, and this node takes bundles for {ours!r}"
            raise CannotInstall(Cause(Reason.REJECTED, detail))
        return bundle

    async def _install(self, order: Order, other: _Holding) -> None:
        path = await asyncio.to_thread(self._store.verified, order.content)
        images = _images(await self._checked(path), other.group)
        release = await asyncio.to_thread(self._store.release, order.content)
        await self._write(other, Entry(release, images, order.number, other.group.root.activations + 1))
        await self._rauc.install(path, self._install_within)

    async def _make_sure_of(self, order: Order) -> None:
        """Read back that the ordered content boots next, and say so once more where RAUC was told not to by itself."""
        for _ in range(2):
            other = (await self._node(await self._rauc.slots())).other
            if other is not None and other.is_primary and other.entry and other.entry.release.content == order.content:
                return
            if other is not None and other.release is not None and not other.is_primary:
                await self._rauc.mark(Mark.ACTIVE, other.group.root)
        raise CannotInstall(Cause(Reason.REJECTED, "RAUC says that it installed, but other content would boot next"))

    async def _make_sure_is_good(self, group: Group) -> None:
        slots = await self._rauc.slots()
        bootname = group.root.bootname or ""
        is_good = slots.booted is not None and slots.booted.root.is_good and slots.primary == group.root.name
        if not is_good or not await self._counters.is_full(bootname):
            raise Unavailable(
                f"slot {group.root.name} was marked good, but the bootloader's own variables do not say so: "
                f"try again, and look at the storage of its environment"
            )

    async def _leave(self, left: _Holding, to: _Holding) -> None:
        if left.entry is not None:
            await self._write_over(left, replace(left.entry, left=True))
        await self._rauc.mark(Mark.ACTIVE, to.group.root)
        await self._rauc.mark(Mark.BAD, left.group.root)
        if (primary := (await self._rauc.slots()).primary) != to.group.root.name:
            raise Unavailable(f"slot {to.group.root.name} was activated, but {primary or 'nothing'} would boot next")

    async def _write(self, holding: _Holding, entry: Entry) -> None:
        with disk_errors(f"{entry.release} cannot be recorded in {self._directory}"):
            await asyncio.to_thread(self._record.write, holding.group, entry, holding.entry)

    async def _write_over(self, holding: _Holding, entry: Entry) -> None:
        await self._write(replace(holding, entry=None), entry)


def _next_try(holding: _Holding, release: Release, order: Order) -> Entry:
    """What a group holds that is to be tried as it is."""
    as_it_is = tuple(SlotImage(slot.name, slot.sha256, slot.installs) for slot in holding.group.slots)
    images = holding.entry.images if holding.entry else as_it_is
    return Entry(release, images, order.number, holding.group.root.activations + 1)


def _images(bundle: Bundle, group: Group) -> tuple[SlotImage, ...]:
    slots = [(group.of_class(slot_class), digest) for slot_class, digest in bundle.images]
    found = tuple(SlotImage(slot.name, digest, slot.installs + 1) for slot, digest in slots if slot is not None)
    if len(found) != len(bundle.images) or not found:
        classes = ", ".join(slot_class for slot_class, _ in bundle.images) or "nothing"
        detail = f"the bundle has images for {classes}, and {group.root.name} has slots of other classes"
        raise CannotInstall(Cause(Reason.REJECTED, detail))
    return found


def _groups_needed(slots: Slots) -> str:
    if slots.booted is not None and slots.booted.is_recovery:
        return RECOVERY_RUNS
    names = ", ".join(group.root.name for group in slots.groups) or "none"
    return f"a system image needs two groups of slots, one of them booted; RAUC has {names}: look at its system.conf"
