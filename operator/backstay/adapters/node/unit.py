"""Installs releases of one systemd unit: its file and its programs, unpacked together, and a link to what runs.

    releases/<64 hex>     the archive
    unpacked/<64 hex>/    what is in it
    current               leads to what is to run; systemd's directory has a link to the unit's file through it

Two renames of `current` are all that a change and the way back touch, and a release is never changed where it lies, so
a process that still runs by the one before keeps its own files. systemd follows when it is told to: after a change,
and whenever this begins to look.
"""

import asyncio
import logging
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Final, Protocol

from backstay.adapters.node.durable import remove, rename, replace_link, write_pieces
from backstay.adapters.node.placed import PlacedInstaller, StoppableName
from backstay.adapters.node.releases import disk_errors
from backstay.adapters.node.systemd import DONE, UnitState
from backstay.adapters.node.unit_archive import Member, UnitArchive, mark
from backstay.core.device import Cause, Order
from backstay.core.planes import ContentDigest, Plane
from backstay.errors import Unavailable
from backstay.ports.installer import ALONE, Beside, CannotInstall, Effect, Storage
from backstay.ports.registry import ArtifactDescription

_WANTS: Final = "multi-user.target.wants"

log = logging.getLogger(__name__)


class Services(Protocol):
    """What runs the units of this node."""

    async def state(self, unit: str) -> UnitState:
        """How a unit is."""
        ...

    async def read_units(self) -> None:
        """Read the files of all units anew."""
        ...

    async def restart(self, unit: str) -> str:
        """Let a unit run by its file, and give how that ended."""
        ...

    async def stop(self, unit: str) -> str:
        """Let a unit end, and give how that ended."""
        ...


class UnitPlace:
    """The link `current` to what is unpacked and to run."""

    def __init__(self, directory: Path, unit: str) -> None:
        """Use `directory`, which no other plane does, for releases of the unit of this name."""
        self._unit = unit
        self._unpacked = directory / "unpacked"
        self._archives = directory / "releases"
        self._name = StoppableName(directory / "current")
        self.file: Final = self._name.running / unit
        """Where the unit's file is while it is to run."""

    def current(self) -> Path | None:
        """The archive of what the link leads to; the unit's file where that is not what an archive holds."""
        directory = self._name.now
        if not (directory / self._unit).is_file():
            return None
        lies = directory.resolve()
        archive = self._archives / lies.name
        is_ours = lies == (self._unpacked / lies.name).resolve()
        return archive if is_ours and self._is_whole(archive) else lies / self._unit

    def to_run(self) -> str | None:
        """What a process of what is to run is marked with; None where nothing is to run."""
        return self._name.running.resolve().name if self.file.is_file() else None

    def put(self, payload: Path) -> None:
        """Let the link lead to what is in this archive."""
        replace_link(self._name.now, self.unpack(payload).absolute())

    def unpack(self, payload: Path) -> Path:
        """The directory of an archive's files, which are written now unless they are there.

        Raises:
            OSError: the disk did not take them.
            CannotInstall: it is no archive of this unit.
        """
        if not self._is_whole(payload):
            self._write(UnitArchive.read(payload, self._unit))
        return self._directory(payload)

    def forget(self, kept: Container[str]) -> None:
        """Delete what is unpacked of other archives than these, by their names.

        Raises:
            OSError: it could not be deleted.
        """
        for directory in self._unpacked.iterdir() if self._unpacked.is_dir() else ():
            if directory.name not in kept:
                remove(directory)

    def stop(self) -> None:
        """Take the link away."""
        self._name.stop()

    def go_on(self) -> None:
        """Give the link back."""
        self._name.go_on()

    def objection(self, payload: Path) -> Cause | None:
        """Refuse what is no unit of this name, and programs that this machine cannot start."""
        try:
            UnitArchive.read(payload, self._unit)
        except CannotInstall as refusal:
            return refusal.cause
        return None

    def _directory(self, payload: Path) -> Path:
        return (self._unpacked / payload.name).absolute()

    def _write(self, archive: UnitArchive) -> None:
        directory = self._directory(archive.payload)
        begun = directory.with_name(f".{directory.name}.unpacking")
        remove(begun)
        for member, pieces in self._as_placed(archive):
            write_pieces(begun / member.path, pieces, mode=0o755 if member.is_program else 0o644)
        remove(directory)
        rename(begun, directory)

    def _is_whole(self, payload: Path) -> bool:
        try:
            placed = self._as_placed(UnitArchive.read(payload, self._unit))
            return all(_holds(self._directory(payload) / member.path, pieces) for member, pieces in placed)
        except (CannotInstall, FileNotFoundError, NotADirectoryError):
            return False

    def _as_placed(self, archive: UnitArchive) -> Iterator[tuple[Member, Iterator[bytes]]]:
        directory = self._directory(archive.payload)
        for member, pieces in archive.contents():
            is_unit = str(member.path) == self._unit
            yield member, iter((archive.text_in(directory, directory.name).encode(),)) if is_unit else pieces


class UnitInstaller(PlacedInstaller):
    """Installs releases of one systemd unit."""

    def __init__(
        self, directory: Path, plane: Plane, unit: str, *, units: Path, services: Services | None = None
    ) -> None:
        """Keep releases of `unit` in `directory`, and let `services` run it from its directory `units`.

        Without `services` it is somebody else's business that systemd follows.
        """
        self._unit = unit
        self._units = units
        self._services = services
        self._unit_place = UnitPlace(directory, unit)
        self._is_behind = True
        super().__init__(directory, plane, self._unit_place)

    async def look(self) -> Storage:
        """Read the link and what it leads to, once what runs is known to be that."""
        await self._follow()
        return await super().look()

    async def stage(self, order: Order, artifact: ArtifactDescription, payload: Path, beside: Beside = ALONE) -> None:
        """Check the archive, keep it, and unpack it."""
        await super().stage(order, artifact, payload, beside)
        await asyncio.to_thread(self._unpack, order)

    async def switch(self, order: Order) -> Effect:
        """Let the link lead to the held release, and the unit run by it."""
        self._is_behind = True
        effect = await super().switch(order)
        await self._follow()
        return effect

    async def fall_back(self) -> Effect:
        """Let the link lead to the fallback, and the unit run by it."""
        self._is_behind = True
        effect = await super().fall_back()
        await self._follow()
        return effect

    async def stop(self) -> None:
        """Take the link away, and let the unit end."""
        self._is_behind = True
        await super().stop()
        await self._follow()

    async def go_on(self) -> None:
        """Give the link back, and let the unit run."""
        self._is_behind = True
        await super().go_on()
        await self._follow()

    async def trim(self, needed: Container[ContentDigest]) -> None:
        """Delete archives that nothing needs, and what was unpacked of them."""
        await super().trim(needed)
        await asyncio.to_thread(self._forget)

    async def _follow(self) -> None:
        """Let systemd run what is to run, where it may not know yet; also after a power cut, or a bus that was away."""
        if self._services is None or not self._is_behind:
            return
        content = await asyncio.to_thread(self._unit_place.to_run)
        state = await self._services.state(self._unit)
        if content is None:
            result = DONE if not state.is_at_work else await self._services.stop(self._unit)
        elif await asyncio.to_thread(_runs, state, content):
            result = DONE
        else:
            with disk_errors(f"systemd cannot be given {self._unit}"):
                await asyncio.to_thread(self._link)
            await self._services.read_units()
            result = await self._services.restart(self._unit)
        self._is_behind = False
        if result != DONE:
            # Whether it is well is for the probes to find, which see the same.
            log.warning(
                "%s did not come to what was wanted (%s): %s",
                self._unit,
                result,
                await self._services.state(self._unit),
            )

    def _link(self) -> None:
        """Let systemd find the unit's file, and start it at each boot."""
        link, wanted = self._units / self._unit, self._units / _WANTS / self._unit
        if not link.is_symlink() and link.exists():
            raise Unavailable(f"{link} is a file that somebody else put there: move it away, and the agent goes on")
        for path, target in ((link, self._unit_place.file.absolute()), (wanted, Path("..") / self._unit)):
            if not path.is_symlink() or path.readlink() != target:
                replace_link(path, target)

    def _keep_current(self) -> None:
        """Keep nothing: what runs is kept if it is an archive, and what somebody else put there is none."""

    def _unpack(self, order: Order) -> None:
        with disk_errors(f"{order.plane} {order.version} cannot be unpacked"):
            self._unit_place.unpack(self._store.path(order.content))

    def _forget(self) -> None:
        with disk_errors(f"what was unpacked of {self._unit} cannot be trimmed"):
            self._unit_place.forget({content.removeprefix("sha256:") for content in self._store.contents()})


def _holds(path: Path, pieces: Iterator[bytes]) -> bool:
    """Whether a file has these bytes and no more."""
    with path.open("rb") as file:
        return all(file.read(len(data)) == data for data in pieces) and not file.read(1)


def _runs(state: UnitState, content: str) -> bool:
    """Whether what systemd runs is of this release, by the unit's file that it goes by and by the process itself."""
    if state.is_stale or not state.is_at_work or mark(content) not in state.environment:
        return False
    if not state.process_id:
        return True
    try:
        return mark(content).encode() in Path(f"/proc/{state.process_id}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
