"""Downloads: streamed into the spare slot, hashed on the way, resumed where they broke off, stopped when cancelled."""

import asyncio
from contextlib import aclosing
from typing import Final

from backstay.core.device import Cause, Order, Reason
from backstay.errors import Refused, Unavailable
from backstay.simulate.ddi import DdiClient
from backstay.simulate.deployment import Deployment
from backstay.simulate.life import Life
from backstay.simulate.slots import Download, NoSpaceLeft

_ATTEMPTS_MAX: Final = 24
"""In a row without a byte: nearly three minutes, in which a bridge comes up again. A failed step would be held against
what it installs, and not against the bridge."""
_PAUSE_SECONDS: Final = 0.25
_DOUBLINGS_MAX: Final = 5


class Fetching:
    """Fetches whatever the application wants, once the bridge has said where it is."""

    def __init__(self, client: DdiClient, life: Life) -> None:
        self._client, self._life = client, life

    async def run(self) -> None:
        """Fetch until the reset."""
        while True:
            await self._life.to_fetch.wait()
            self._life.to_fetch.clear()
            await self._life.awake.wait()
            order, deployment = self._life.app.download, self._life.deployment
            if order is not None and deployment is not None and deployment.order.repeats(order):
                await self._fetch(order, deployment)
                self._life.stir()

    async def _fetch(self, order: Order, deployment: Deployment) -> None:
        app, now = self._life.app, self._life.now
        bank = app.board.banks[order.plane]
        if (href := deployment.href) is None:
            app.download_failed(order, Cause(Reason.DOWNLOAD_FAILED, "the bridge offers no bytes"), now())
            return
        try:
            download = bank.slots[bank.spare].begin(order.content, deployment.size)
            await self._stream(order, href, download)
        except NoSpaceLeft as error:
            app.download_failed(order, Cause(Reason.NO_SPACE, str(error)), now())
        except (Unavailable, Refused) as error:
            app.download_failed(order, Cause(Reason.DOWNLOAD_FAILED, str(error)), now())
        else:
            if self._wanted(order):
                app.downloaded(order, deployment.size, download.finish(), now())

    async def _stream(self, order: Order, href: str, download: Download) -> None:
        """Fetch until every byte is there or nobody wants it any more; give up after some tries without progress."""
        attempts, reached = 0, download.wanted
        while self._wanted(order) and not download.complete:
            try:
                await self._once(order, href, download)
            except NoSpaceLeft:
                raise
            except (Unavailable, Refused):
                # Also a bridge that has these bytes no more may have taken the step back: the next poll tells.
                if attempts + 1 >= _ATTEMPTS_MAX:
                    raise
            attempts = 0 if download.wanted > reached else attempts + 1
            reached = download.wanted
            if not download.complete:
                await asyncio.sleep(_PAUSE_SECONDS * 2 ** min(attempts, _DOUBLINGS_MAX))

    async def _once(self, order: Order, href: str, download: Download) -> None:
        async with aclosing(self._client.artifact(href, order.content, download.wanted)) as chunks:
            async for chunk in chunks:
                if not self._wanted(order):
                    return
                download.write(chunk)

    def _wanted(self, order: Order) -> bool:
        return self._life.app.download is order
