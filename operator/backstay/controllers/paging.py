"""Pages people for as long as decisions name a reason, and stops when they no longer do.

A page is sent again and again with an end a little ahead: should this process die, the page ends by
itself soon after, and the next operator raises it anew from the same state.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from backstay.adapters.failpoints import Failpoints
from backstay.controllers.wakes import Key, Wakes
from backstay.core.actions import Alert, AlertKind
from backstay.core.devices import RevisionName
from backstay.core.planes import Plane
from backstay.errors import BackstayError
from backstay.ports.clock import Clock
from backstay.ports.pages import PageAlert, Pages, page_for

REPEAT_SECONDS: Final = 30.0
LASTS: Final = timedelta(seconds=3 * REPEAT_SECONDS)
RETRY_SECONDS: Final = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Identity:
    """What makes two pages the same one."""

    kind: AlertKind
    revision: RevisionName
    plane: Plane | None


class Paging:
    """Every page that is due, and those that have just ended."""

    def __init__(
        self,
        pages: Pages,
        clock: Clock,
        wakes: Wakes,
        failpoints: Failpoints,
        heard: Callable[[BackstayError | None], None] = lambda _: None,
    ) -> None:
        """Page through `pages`; `heard` is told how each delivery ended."""
        self._pages = pages
        self._clock = clock
        self._wakes = wakes
        self._failpoints = failpoints
        self._due: defaultdict[Key, dict[_Identity, PageAlert]] = defaultdict(dict)
        self._ended: list[PageAlert] = []
        self._changed = asyncio.Event()
        self._heard = heard
        self.problem: str = ""
        """Why pages cannot be delivered now; empty while they can."""

    def due(self, key: Key, revision: RevisionName, alerts: Iterable[Alert]) -> None:
        """These pages, and no others, are due for a plan."""
        now = self._clock.now()
        before = self._due[key]
        after = {
            _Identity(alert.kind, revision, alert.plane): _page(key, revision, alert, self._clock) for alert in alerts
        }
        for identity in after.keys() & before.keys():
            after[identity] = replace(after[identity], starts_at=before[identity].starts_at)
        over = [replace(page, ends_at=now) for identity, page in before.items() if identity not in after]
        if over or after.keys() != before.keys():
            self._ended.extend(over)
            self._changed.set()
        for identity in after.keys() - before.keys():
            log.warning("%s/%s: paging %s: %s", *key, identity.kind, after[identity].summary)
        self._due[key] = after

    def forget(self, key: Key) -> None:
        """Nothing is due any more for a plan that is gone."""
        self.due(key, RevisionName(""), ())
        del self._due[key]

    @property
    def kinds_due(self) -> tuple[AlertKind, ...]:
        """The kind of each page that is due."""
        return tuple(identity.kind for pages in self._due.values() for identity in pages)

    @property
    def undelivered(self) -> int:
        """How many pages, and ends of pages, nobody has taken while there is a problem."""
        return len(self.kinds_due) + len(self._ended) if self.problem else 0

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            delay = REPEAT_SECONDS
            if not await self._deliver():
                delay = RETRY_SECONDS
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _deliver(self) -> bool:
        self._changed.clear()
        ended, self._ended = self._ended, []
        ends_at = self._clock.now() + LASTS
        due = [replace(page, ends_at=ends_at) for pages in self._due.values() for page in pages.values()]
        if not due and not ended:
            return True
        self._failpoints.passing("before-page")
        try:
            await self._pages.raise_([*ended, *due])
        except BackstayError as error:
            self._ended = [*ended, *self._ended]
            self._heard(error)
            self._tell(str(error))
            return False
        self._failpoints.passing("after-page")
        self._heard(None)
        self._tell("")
        return True

    def _tell(self, problem: str) -> None:
        if problem == self.problem:
            return
        log.warning("pages cannot be delivered: %s", problem) if problem else log.info("pages are delivered again")
        self.problem = problem
        self._wakes.wake([key for key, pages in self._due.items() if pages])


def _page(key: Key, revision: RevisionName, alert: Alert, clock: Clock) -> PageAlert:
    namespace, plan = key
    now = clock.now()
    return page_for(alert, namespace=namespace, plan=plan, revision=revision, starts_at=now, ends_at=now + LASTS)
