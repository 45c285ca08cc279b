"""Models and configs on a Linux node: contents by digest, and one link that says which of them is used.

    releases/<64 hex>/<file>        the payload, read-only, and release.json: its version and what it needs; for a
                                    model also samples.json, the golden samples that came with it
    generations/<n>/generation.json what that generation uses, what it goes back to, and the step that brought it
    generations/<n>/confirmed       there once the step was confirmed
    generations/<n>/current -> ../../releases/<64 hex>
    current -> generations/<n>      the only thing that a change changes

A generation is written whole before the link names it, and never changes after that, except that it is confirmed. So
each switch, also the one back, is a single rename, and whoever reads `current/current/<file>` sees one release or the
other.
What is in a release is judged by its bytes, which are hashed when a process looks at them first.
"""

import asyncio
import json
import shutil
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backstay.adapters.node.durable import copy_file, digest_of, remove, rename, replace_link, write_file
from backstay.core.device import Cause, Order, Reason
from backstay.core.device_record import requirements
from backstay.core.planes import ContentDigest, Plane, Release
from backstay.ports.installer import ALONE, Beside, CannotInstall, Effect, Storage
from backstay.ports.registry import ArtifactDescription

Json = dict[str, Any]
Check = Callable[[Path, ArtifactDescription, Beside], Cause | None]
"""Looks at a verified payload, and at what came with it, before it is kept, and says why it cannot be used."""

SAMPLES_FILE: Final = "samples.json"
READ_ONLY: Final = 0o444
SPARE_BYTES: Final = 16 * 1024 * 1024
"""What stays free on the disk: the agent's own journal must always find room."""


@dataclass(frozen=True, slots=True)
class _Generation:
    number: int
    release: ContentDigest
    fallback: ContentDigest | None
    step: int
    confirmed: bool
    earlier: ContentDigest | None
    """What the fallback went back to itself, before this generation came."""


class Generations:
    """Keeps the releases of one plane in a directory; fulfils `backstay.ports.installer.Installer`."""

    def __init__(
        self,
        plane: Plane,
        directory: Path,
        file_name: str,
        check: Check = lambda _path, _artifact, _beside: None,
        changed: Callable[[Path], None] = lambda _: None,
    ) -> None:
        """Keep payloads as `file_name`; `check` looks at them first, and `changed` is told what is used from now on."""
        self._plane = plane
        self._directory = directory
        self._file_name = file_name
        self._check = check
        self._changed = changed
        self._whole: dict[ContentDigest, tuple[int, int]] = {}
        """Contents whose bytes this process has hashed, with the inode and time that they had."""

    @property
    def file(self) -> Path:
        """Where whoever uses the plane finds what is used now; the path stays, what it leads to changes."""
        return self._directory / "current" / "current" / self._file_name

    async def look(self) -> Storage:
        """Read what is used, and what is there besides."""
        return await asyncio.to_thread(self._look)

    async def waits_for(self) -> str | None:
        """Wait for nobody."""
        return None

    async def objection(self, order: Order, artifact: ArtifactDescription) -> Cause | None:
        """Whether there is room; `stage` may still find that the bytes are not usable."""
        del order
        return await asyncio.to_thread(self._no_room, artifact)

    async def stage(self, order: Order, artifact: ArtifactDescription, payload: Path, beside: Beside = ALONE) -> None:
        """Keep the payload as a release, and the samples that came with it."""
        await asyncio.to_thread(self._stage, order, artifact, payload, beside)

    async def switch(self, order: Order) -> Effect:
        """Use the order's content from now on."""
        await asyncio.to_thread(self._switch, order)
        return Effect.AT_ONCE

    async def confirm(self, order: Order) -> None:
        """Note that the generation in use was confirmed."""
        await asyncio.to_thread(self._confirm, order)

    async def fall_back(self) -> Effect:
        """Use what was used before from now on."""
        await asyncio.to_thread(self._fall_back)
        return Effect.AT_ONCE

    async def trim(self, needed: Container[ContentDigest]) -> None:
        """Delete releases and generations that nobody needs."""
        await asyncio.to_thread(self._trim, needed)

    def _look(self) -> Storage:
        now = self._generation()
        running = None if now is None else self._release(now.release)
        fallback = None if now is None or now.fallback is None else self._release(now.fallback)
        used = {release.content for release in (running, fallback) if release is not None}
        held = frozenset(release.content for release in self._releases()) - used
        on_trial = now.step if now is not None and not now.confirmed and running is not None else None
        return Storage(running, fallback, held, on_trial)

    def _no_room(self, artifact: ArtifactDescription) -> Cause | None:
        self._directory.mkdir(parents=True, exist_ok=True)
        # The payload lies in the cache and is copied from there.
        wanted, free = artifact.size_bytes * 2 + SPARE_BYTES, shutil.disk_usage(self._directory).free
        if free >= wanted:
            return None
        return Cause(Reason.NO_SPACE, f"{wanted} bytes are needed in {self._directory}, {free} are free")

    def _stage(self, order: Order, artifact: ArtifactDescription, payload: Path, beside: Beside) -> None:
        if cause := self._check(payload, artifact, beside):
            raise CannotInstall(cause)
        if self._release(order.content) is not None:
            return
        place = self._place(order.content)
        remove(place)
        # Under its own name only when all of it is there: what lies in `releases` is whole.
        making = self._directory / "releases" / f".{place.name}.making"
        remove(making)
        try:
            found = copy_file(payload, making / self._file_name, mode=READ_ONLY)
            if beside.samples is not None:
                copy_file(beside.samples, making / SAMPLES_FILE, mode=READ_ONLY)
        except OSError as error:
            remove(making)
            raise CannotInstall(Cause(Reason.NO_SPACE, f"{place} cannot be written: {error}")) from error
        if found != order.content:
            remove(making)
            raise CannotInstall(Cause(Reason.DIGEST_MISMATCH, f"the bytes are {found}"))
        # What the order says holds the plan's own ranges too; the artifact's alone where the order is silent.
        ranges = {str(need.plane): need.range.text for need in order.requires or artifact.requires}
        note: Json = {"version": order.version, "requires": ranges, "artifact": str(artifact.reference)}
        if artifact.served is not None:
            note["served"] = str(artifact.served)
        write_file(making / "release.json", _text(note))
        rename(making, place)

    def _switch(self, order: Order) -> None:
        if self._release(order.content) is None:
            raise CannotInstall(Cause(Reason.REJECTED, f"{order.content} is not held, or no longer whole"))
        now = self._generation()
        if now is not None and not now.confirmed:
            raise CannotInstall(Cause(Reason.REJECTED, "what runs is on trial, its fallback must stay"))
        earlier = None if now is None else now.fallback
        self._use(order.content, None if now is None else now.release, order.number, earlier=earlier)

    def _confirm(self, order: Order) -> None:
        now = self._generation()
        if now is None or now.release != order.content:
            raise CannotInstall(Cause(Reason.DIGEST_MISMATCH, f"{self._directory} does not use {order.content}"))
        write_file(self._of(now.number) / "confirmed", b"")

    def _fall_back(self) -> None:
        now = self._generation()
        if now is None or now.fallback is None or self._release(now.fallback) is None:
            raise CannotInstall(Cause(Reason.REJECTED, f"{self._directory} holds nothing to go back to"))
        # What a trial came from has its own fallback again; what is left for good has none any more.
        back = None if now.confirmed or now.earlier is None or self._release(now.earlier) is None else now.earlier
        self._use(now.fallback, back, now.step, confirmed=True)

    def _use(
        self,
        content: ContentDigest,
        fallback: ContentDigest | None,
        step: int,
        *,
        earlier: ContentDigest | None = None,
        confirmed: bool = False,
    ) -> None:
        number = max((known for known, _ in self._numbered()), default=0) + 1
        place = self._of(number)
        remove(place)
        note = {"release": content, "fallback": fallback, "step": step, "earlier": earlier}
        write_file(place / "generation.json", _text(note))
        replace_link(place / "current", Path("..", "..", "releases", content.removeprefix("sha256:")))
        if confirmed:
            write_file(place / "confirmed", b"")
        replace_link(self._directory / "current", Path("generations", str(number)))
        self._changed(self.file)

    def _trim(self, needed: Container[ContentDigest]) -> None:
        now = self._generation()
        # While it is on trial, also what its fallback goes back to.
        kept = set() if now is None else {now.release, now.fallback, None if now.confirmed else now.earlier}
        for number, place in list(self._numbered()):
            if now is None or number != now.number:
                remove(place)
        for place in _directories(self._directory / "releases"):
            content = ContentDigest(f"sha256:{place.name}")
            if content not in kept and content not in needed:
                remove(place)
                self._whole.pop(content, None)

    def _generation(self) -> _Generation | None:
        """The generation that the link names, or None where there is none that can be read."""
        try:
            place = (self._directory / "current").readlink()
            number = int(place.name)
            found = json.loads((self._of(number) / "generation.json").read_bytes())
            fallback, earlier = found["fallback"], found.get("earlier")
            return _Generation(
                number,
                ContentDigest(str(found["release"])),
                None if fallback is None else ContentDigest(str(fallback)),
                int(found["step"]),
                (self._of(number) / "confirmed").exists(),
                None if earlier is None else ContentDigest(str(earlier)),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _releases(self) -> Iterator[Release]:
        for place in _directories(self._directory / "releases"):
            if (release := self._release(ContentDigest(f"sha256:{place.name}"))) is not None:
                yield release

    def _release(self, content: ContentDigest) -> Release | None:
        """A release whose bytes are what its name says, or None."""
        place = self._place(content)
        try:
            found = json.loads((place / "release.json").read_bytes())
            if not self._is_whole(content, place / self._file_name):
                return None
            needs = requirements(found["requires"])
            return Release(self._plane, str(found["version"]), content, needs, str(found["artifact"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _is_whole(self, content: ContentDigest, path: Path) -> bool:
        known = path.stat()
        mark = (known.st_ino, known.st_mtime_ns)
        if self._whole.get(content) != mark:
            if digest_of(path) != content:
                return False
            self._whole[content] = mark
        return True

    def _numbered(self) -> Iterator[tuple[int, Path]]:
        for place in _directories(self._directory / "generations"):
            if place.name.isdecimal():
                yield int(place.name), place

    def _of(self, number: int) -> Path:
        return self._directory / "generations" / str(number)

    def _place(self, content: ContentDigest) -> Path:
        return self._directory / "releases" / content.removeprefix("sha256:")


def _directories(path: Path) -> list[Path]:
    """The directories in it that have their final names."""
    try:
        return sorted(found for found in path.iterdir() if found.is_dir() and not found.name.startswith("."))
    except OSError:
        return []


def _text(document: Json) -> bytes:
    return json.dumps(document, sort_keys=True).encode() + b"\n"
