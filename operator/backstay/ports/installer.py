"""How one plane of a Linux node changes: what every installer can do, whatever its artifact is made of.

The agent decides when; an installer carries out, and reads back what is so instead of believing what was ordered. Each
method may be the last one before the power goes: what `switch`, `confirm` and `fall_back` do is one durable change that
has happened or has not, and `look` tells which.
"""

from collections.abc import Container
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from backstay.core.device import Cause, Order
from backstay.core.planes import ContentDigest, Release
from backstay.errors import Refused
from backstay.ports.registry import ArtifactDescription


class CannotInstall(Refused):
    """The node cannot take or keep this; nothing of what runs was touched."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(str(cause))
        self.cause = cause
        """As the step's answer says it."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What came with a payload in the same artifact, verified by digest as it was."""

    samples: Path | None = None
    schema: Path | None = None


ALONE: Final = Beside()


class Effect(Enum):
    """When a change is so."""

    AT_ONCE = auto()
    AFTER_REBOOT = auto()
    """The node must be rebooted for it, and nothing else may happen before."""


@dataclass(frozen=True, slots=True)
class Storage:
    """What one plane holds, by its own bytes."""

    running: Release | None = None
    fallback: Release | None = None
    """What `fall_back` goes back to."""
    held: frozenset[ContentDigest] = frozenset()
    """Whole, verified and staged, so that `switch` needs no download; neither running nor necessarily the fallback."""
    on_trial: int | None = None
    """The number of the step that brought what runs, as long as it was not confirmed."""
    ended: int | None = None
    """The number of the last step whose trial was ended without the agent, as by a bootloader that gave up."""
    is_rescue: bool = False
    """What runs is the node's recovery system, which is no release."""

    @property
    def spare(self) -> frozenset[ContentDigest]:
        """What is held, and neither runs nor is the fallback."""
        used = (release.content for release in (self.running, self.fallback) if release is not None)
        return self.held.difference(used)

    def has(self, content: ContentDigest) -> bool:
        """Tell whether `switch` could let this content run without a download."""
        return content in self.held or (self.fallback is not None and self.fallback.content == content)


class Installer(Protocol):
    """Installs in one plane. Its methods are called one at a time."""

    async def look(self) -> Storage:
        """Read what is there now; a plane that holds nothing readable is empty, and no error.

        Raises:
            Unavailable: whoever knows cannot be asked just now.
        """
        ...

    async def waits_for(self) -> str | None:
        """What has to be well again before anything may begin here, in words; None if nothing has."""
        ...

    async def objection(self, order: Order, artifact: ArtifactDescription) -> Cause | None:
        """Why this node cannot take the artifact, before a byte of it is fetched; None if it can."""
        ...

    async def stage(self, order: Order, artifact: ArtifactDescription, payload: Path, beside: Beside = ALONE) -> None:
        """Make ready to switch to verified bytes, which lie in a file; what runs is not touched.

        Once it returns, `look` lists the content as `held`, also after a power cut.

        Raises:
            CannotInstall: there is no room, or the bytes are not what their type says.
        """
        ...

    async def switch(self, order: Order) -> Effect:
        """Let the held content of this order run, on trial under the order's number, with what ran as the fallback.

        Raises:
            CannotInstall: it is not held, or cannot run.
        """
        ...

    async def confirm(self, order: Order) -> None:
        """Make what is on trial stay, and read back that it does.

        Raises:
            Unavailable: it could not be made sure; the trial goes on.
        """
        ...

    async def fall_back(self) -> Effect:
        """Go back to the fallback, which needs no network and no room.

        Raises:
            CannotInstall: there is no fallback.
        """
        ...

    async def trim(self, needed: Container[ContentDigest]) -> None:
        """Delete what is neither running, nor the fallback, nor needed."""
        ...


@runtime_checkable
class Stoppable(Protocol):
    """An installer whose plane can be kept from running without losing anything of it.

    While it is stopped, `look` finds what it would find otherwise, and whatever is changed stays stopped.
    """

    async def stop(self) -> None:
        """Keep what the plane holds from running, by one durable change; doing it twice changes nothing.

        Raises:
            Unavailable: it runs still.
        """
        ...

    async def go_on(self) -> None:
        """Let it run again, by one durable change; doing it twice changes nothing.

        Raises:
            Unavailable: it is stopped still.
        """
        ...


@runtime_checkable
class Rescuable(Protocol):
    """An installer of the whole system whose node may have a recovery system, which is never updated."""

    async def rescue(self) -> Effect:
        """Let the recovery system boot next; at once, where there is none or it runs already.

        Raises:
            Unavailable: something else would boot.
        """
        ...

    async def leave_rescue(self) -> Effect:
        """Let the system that ran before boot next; at once, where the recovery system does not run.

        Raises:
            Unavailable: something else would boot.
        """
        ...
