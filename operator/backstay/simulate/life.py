"""One run of a device from a reset to the next, as its parts see it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backstay.core.planes import ContentDigest, Plane
from backstay.simulate.application import Application
from backstay.simulate.deployment import Deployment


@dataclass(slots=True)
class Life:
    """What the parts of a running device share from one reset to the next."""

    app: Application
    lines: list[str] = field(default_factory=list)
    """The tail of the log, newest last."""
    lies: Mapping[Plane, ContentDigest] = field(default_factory=dict)
    deployment: Deployment | None = None
    """The step that the bridge last offered."""
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    """Not set while the chip hangs: then nothing goes on."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """The bridge should hear something before the next poll is due."""
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    """Something happened that the device should look at before it is due to look."""
    to_fetch: asyncio.Event = field(default_factory=asyncio.Event)
    """There may be a download to do."""

    def now(self) -> float:
        """Seconds of the chip's own clock."""
        return asyncio.get_running_loop().time()

    def stir(self) -> None:
        """Let the parts that sleep until something is due look now."""
        self.stirred.set()
        self.to_fetch.set()

    def tail(self) -> Sequence[str]:
        """The newest lines of the log."""
        return self.lines[-20:]


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, but not longer than that; tell whether it is."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
