"""Installs what runs by lying in a place: a manifest in a directory, a program behind a link.

Every payload is kept by its digest, so that to switch and to fall back is one change of the place, with no network and
no room needed. What kind of place it is, and which payloads fit there, is the place's own business.
"""

import asyncio
from collections.abc import Container
from pathlib import Path
from typing import Final, Protocol

from backstay.adapters.node.durable import digest_of, remove, rename
from backstay.adapters.node.releases import ReleaseStore, disk_errors, no_room_for
from backstay.adapters.node.standing import Standing, StandingRecord
from backstay.core.device import Cause, Order, Reason
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.errors import Unavailable
from backstay.ports.installer import ALONE, Beside, CannotInstall, Effect, Storage
from backstay.ports.registry import ArtifactDescription


class Place(Protocol):
    """Where a payload has to be to run; its methods block."""

    def current(self) -> Path | None:
        """The file that runs now, or None where nothing is in the place."""
        ...

    def put(self, payload: Path) -> None:
        """Let this kept payload run, by one change that is durable once this returns.

        Raises:
            OSError: the place is as before.
        """
        ...

    def objection(self, payload: Path) -> Cause | None:
        """Why these bytes cannot run in this place; None if they can."""
        ...

    def stop(self) -> None:
        """Keep what is in the place from running; it stays `current`.

        Raises:
            OSError: the place is as before.
        """
        ...

    def go_on(self) -> None:
        """Let what is in the place run.

        Raises:
            OSError: the place is as before.
        """
        ...


class StoppableName:
    """A name in a directory which makes what has it run, and beside it another one under which it does not run.

    Which of the two is there is all there is to know, so that stopping is one rename. If somebody puts something under
    the running name while it is stopped, that is what counts: it runs.
    """

    def __init__(self, running: Path) -> None:
        """Let what is called `running` run."""
        self.running: Final = running
        self.stopped: Final = running.with_name(f".{running.name}.stopped")

    @property
    def now(self) -> Path:
        """The name that is in use, or that a first payload gets."""
        return self.stopped if not _is_there(self.running) and _is_there(self.stopped) else self.running

    def stop(self) -> None:
        """Take the running name away.

        Raises:
            OSError: it is there still.
        """
        if _is_there(self.running):
            rename(self.running, self.stopped)

    def go_on(self) -> None:
        """Give the running name back.

        Raises:
            OSError: it is not there still.
        """
        if _is_there(self.running):
            remove(self.stopped)
        elif _is_there(self.stopped):
            rename(self.stopped, self.running)


class PlacedInstaller:
    """Installs payloads of one plane into one place."""

    def __init__(self, directory: Path, plane: Plane, place: Place, *, mode: int = 0o600) -> None:
        """Keep payloads, with `mode`, and the record in `directory`, which no other plane uses."""
        self._directory = directory
        self._plane = plane
        self._place = place
        self._store = ReleaseStore(directory / "releases", plane, mode=mode)
        self._record = StandingRecord(directory / "standing.json")

    async def look(self) -> Storage:
        """Read the place and hash what is in it."""
        return await asyncio.to_thread(self._storage)

    async def waits_for(self) -> str | None:
        """Wait for nobody."""
        return None

    async def objection(self, order: Order, artifact: ArtifactDescription) -> Cause | None:  # noqa: ARG002
        """Refuse what does not fit on the disk."""
        return await asyncio.to_thread(no_room_for, artifact, self._directory)

    async def stage(
        self,
        order: Order,  # noqa: ARG002
        artifact: ArtifactDescription,
        payload: Path,
        beside: Beside = ALONE,  # noqa: ARG002
    ) -> None:
        """Check the payload and keep it; and keep what runs, where somebody else put it there."""
        if cause := await asyncio.to_thread(self._place.objection, payload):
            raise CannotInstall(cause)
        await asyncio.to_thread(self._keep_current)
        await asyncio.to_thread(self._store.keep, artifact.release(), payload)

    async def switch(self, order: Order) -> Effect:
        """Let the held payload take the place of what runs."""
        await asyncio.to_thread(self._switch, order)
        return Effect.AT_ONCE

    async def confirm(self, order: Order) -> None:
        """End the trial in the record, where the place holds what was ordered."""
        await asyncio.to_thread(self._confirm, order)

    async def fall_back(self) -> Effect:
        """Let the fallback take the place of what runs."""
        await asyncio.to_thread(self._fall_back)
        return Effect.AT_ONCE

    async def stop(self) -> None:
        """Keep what is in the place from running."""
        await asyncio.to_thread(self._stop)

    async def go_on(self) -> None:
        """Let what is in the place run again."""
        await asyncio.to_thread(self._go_on)

    async def trim(self, needed: Container[ContentDigest]) -> None:
        """Delete payloads that nothing here or elsewhere needs."""
        await asyncio.to_thread(self._trim, needed)

    def payloads(self) -> tuple[Path, ...]:
        """The files of what runs and of its fallback, as far as there are any; blocking.

        Raises:
            Unavailable: the disk cannot be read.
        """
        fallback = self._standing().fallback
        found = (self._place.current(), None if fallback is None else self._store.path(fallback))
        return tuple(path for path in found if path is not None)

    def _storage(self) -> Storage:
        standing = self._standing()
        held = frozenset(content for content in self._store.contents() if content != standing.running)
        return Storage(self._release(standing.running), self._release(standing.fallback), held, standing.on_trial)

    def _standing(self) -> Standing:
        """What is so; a fallback whose bytes are gone is none."""
        standing = self._record.standing(self._running())
        if standing.fallback is not None and not self._store.holds(standing.fallback):
            return Standing(standing.running, None, standing.on_trial)
        return standing

    def _running(self) -> ContentDigest | None:
        with disk_errors("what runs cannot be read"):
            return None if (path := self._place.current()) is None else _digest_if_there(path)

    def _release(self, content: ContentDigest | None) -> Release | None:
        return None if content is None else self._store.release(content)

    def _keep_current(self) -> None:
        running, path = self._running(), self._place.current()
        if running is not None and path is not None and not self._store.holds(running):
            self._store.keep(self._store.release(running), path)

    def _switch(self, order: Order) -> None:
        before = self._standing()
        if before.on_trial is not None:
            detail = f"step {before.on_trial} is not confirmed, and its fallback must stay: confirm or fall back first"
            raise CannotInstall(Cause(Reason.REJECTED, detail))
        if before.running == order.content:
            raise CannotInstall(Cause(Reason.REJECTED, f"{order.content} runs already"))
        payload = self._store.verified(order.content)
        if cause := self._place.objection(payload):
            raise CannotInstall(cause)
        self._keep_current()
        with disk_errors(f"{order.plane} {order.version} cannot be put in its place"):
            self._record.write(Standing(order.content, before.running, order.number), before)
            self._place.put(payload)

    def _confirm(self, order: Order) -> None:
        standing = self._standing()
        if standing.running != order.content:
            raise Unavailable(f"step {order.number} cannot be confirmed: {standing.running} runs, not {order.content}")
        with disk_errors(f"step {order.number} cannot be confirmed"):
            self._record.write(Standing(standing.running, standing.fallback))
        if self._standing().on_trial is not None:
            raise Unavailable(f"step {order.number} is on trial still, although it was confirmed: mend the disk")

    def _fall_back(self) -> None:
        standing = self._standing()
        if standing.fallback is None:
            raise CannotInstall(Cause(Reason.REJECTED, f"there is no fallback of {standing.running}"))
        payload = self._store.verified(standing.fallback)
        # What is left for good has none of its own any more.
        earlier = self._came_from(standing)
        with disk_errors("the fallback cannot be put in its place"):
            self._record.write(earlier or Standing(standing.fallback), standing)
            self._place.put(payload)

    def _stop(self) -> None:
        with disk_errors(f"the {self._plane} cannot be stopped"):
            self._place.stop()

    def _go_on(self) -> None:
        with disk_errors(f"the {self._plane} cannot be started again"):
            self._place.go_on()

    def _came_from(self, standing: Standing) -> Standing | None:
        """What a trial came from, which knows its own fallback; None for what is no trial."""
        return next((one for one in self._record.read()[1:] if one.running == standing.fallback), None)

    def _trim(self, needed: Container[ContentDigest]) -> None:
        standing = self._standing()
        earlier = self._came_from(standing)
        own = (standing.running, standing.fallback, earlier and earlier.fallback)
        self._store.trim({content for content in self._store.contents() if content in own or content in needed})


def _is_there(path: Path) -> bool:
    return path.is_file() or path.is_symlink()


def _digest_if_there(path: Path) -> ContentDigest | None:
    try:
        return digest_of(path)
    except FileNotFoundError:
        return None
