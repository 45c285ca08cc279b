"""What the device and its bridge say to each other while one application runs."""

import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from backstay.core.device import Cause, Progress, Reason
from backstay.core.devices import PlaneState
from backstay.errors import BackstayError, Refused, Unavailable
from backstay.simulate.ddi import DdiClient, Poll
from backstay.simulate.deployment import BadDeployment, parse_deployment
from backstay.simulate.life import Life, set_within
from backstay.simulate.report import health_report

_REPORT_SECONDS: Final = 2.0
_ANSWER_AGAIN_SECONDS: Final = 5.0
_BACKOFF_SECONDS_MAX: Final = 10.0
_NEWS_SECONDS: Final = 0.25
"""How long waits what came up while the device was speaking: news, or a trial that wants the bridge's answer."""

log = logging.getLogger(__name__)


class Conversation:
    """Polls, takes up steps, reports health and answers."""

    def __init__(self, name: str, client: DdiClient, life: Life) -> None:
        self._name, self._client, self._life = name, client, life
        self._answered: tuple[int, float] = (0, 0.0)
        self._reported_at = float("-inf")

    async def run(self) -> None:
        """Talk until the reset; a bridge that cannot be reached is asked again, ever more patiently."""
        patience = 0.0
        while True:
            try:
                sleep = await self._exchange()
                patience = 0.0
            except (Unavailable, Refused) as error:
                # Asked more often than usual, a bridge that is only busy would never come up again.
                patience = min(max(_BACKOFF_SECONDS_MAX, self._client.poll_seconds), patience * 2 or 0.5)
                sleep = patience * random.uniform(0.5, 1.0)  # noqa: S311 - spreads devices, protects nothing
                log.debug("%s: %s", self._name, error)
            self._life.news.clear()
            await set_within(self._life.news, sleep)

    async def _exchange(self) -> float:
        await self._life.awake.wait()
        poll = await self._client.poll()
        await self._life.awake.wait()
        self._life.app.connected()
        # First of all, because the rest may fail for a while: a bridge without bytes must not make the device mute.
        await self._report(poll)
        if link := poll.links.get("cancelAction"):
            await self._cancel(link)
        if link := poll.links.get("deploymentBase"):
            await self._deploy(link)
        if link := poll.links.get("configData"):
            data = {"class": "esp32", "name": self._name}
            await self._client.send("PUT", link, {"mode": "merge", "data": data})
        if link := poll.links.get("deploymentBase"):
            await self._answer(link)
        soon = self._life.app.news or self._life.app.waits_for_bridge
        return min(poll.sleep_seconds, _NEWS_SECONDS) if soon else poll.sleep_seconds

    async def _deploy(self, link: str) -> None:
        """Take up the step that the bridge offers; nothing begins before the bridge has heard that it begins."""
        life, app = self._life, self._life.app
        if life.deployment is None or link.rpartition("/")[2] != str(life.deployment.order.number):
            life.deployment = None
            body = await self._client.read(link)
            try:
                life.deployment = parse_deployment(body)
            except BadDeployment as error:
                await self._reject(link, error)
                return
            life.stir()
        deployment, order = life.deployment, life.deployment.order
        if app.progress_of(order) is not None or not app.makes_way_for(order, life.now()):
            return
        await self._client.feedback(link, order.number)
        await life.awake.wait()
        self._note(f"step {order.number}: {order.type} {order.plane} {order.version}")
        app.order(order, life.now(), expired=deployment.expired(datetime.now(UTC)))
        life.stir()

    async def _reject(self, link: str, error: BadDeployment) -> None:
        """Answer a step that cannot be understood, so that its reason is known and nobody waits for its expiry."""
        if not (number := link.rpartition("/")[2]).isdecimal():
            raise error
        refused = Progress(PlaneState.FAILED, cause=Cause(Reason.REJECTED, str(error)))
        await self._client.feedback(link, int(number), refused)
        self._note(f"step {number}: {refused.cause}")

    async def _cancel(self, link: str) -> None:
        """Stop the action that the bridge wants stopped; one that is over already keeps the end that it had."""
        number, app = _number_to_stop(await self._client.read(link)), self._life.app
        if (running := app.in_flight) is not None and running.order is not None and running.order.number == number:
            app.cancel(self._life.now())
            self._life.stir()
        found = next((x for x in app.progress.values() if x.order is not None and x.order.number == number), None)
        if found is not None and found.in_flight:
            return
        if found is not None:
            await self._client.feedback(link.replace("/cancelAction/", "/deploymentBase/"), number, found)
        stopped = found is None or (found.cause is not None and found.cause.reason is Reason.CANCELED)
        said = ("closed", "success") if stopped else ("rejected", "failure")
        status = {"execution": said[0], "result": {"finished": said[1]}, "details": []}
        await self._client.send("POST", f"{link}/feedback", {"id": str(number), "status": status})

    async def _report(self, poll: Poll) -> None:
        app, link, now = self._life.app, poll.links.get("health"), self._life.now()
        if link is None:
            # Nobody wants to hear it, and the bridge is not asked all the time because of it.
            app.news = False
            return
        if not app.news and now - self._reported_at < _REPORT_SECONDS:
            return
        app.news = False
        body = health_report(app, max(_REPORT_SECONDS, poll.sleep_seconds), self._life.tail(), self._life.lies)
        try:
            await self._client.send("POST", link, body)
        except BackstayError:
            app.news = True
            raise
        self._reported_at = now

    async def _answer(self, link: str) -> None:
        """Tell how the offered step ended, and tell it again for as long as the bridge offers it."""
        app, deployment, now = self._life.app, self._life.deployment, self._life.now()
        progress = app.progress_of(deployment.order) if deployment else None
        if progress is None or progress.order is None or not progress.state.is_answer:
            return
        number, at = self._answered
        # The bridge judges an answer by the running digests, so what is new must have been reported first.
        if app.news or (number == progress.order.number and now - at < _ANSWER_AGAIN_SECONDS):
            return
        await self._client.feedback(link, progress.order.number, progress)
        self._answered = (progress.order.number, now)
        # A bridge that offers the same number again may mean another step.
        self._life.deployment = None
        self._note(f"step {progress.order.number}: {progress.state} {progress.cause or ''}".rstrip())
        app.news = True

    def _note(self, line: str) -> None:
        log.info("%s: %s", self._name, line)
        self._life.lines.append(line)


def _number_to_stop(body: Mapping[str, Any]) -> int:
    try:
        return int((body.get("cancelAction") or {}).get("stopId") or body["id"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadDeployment(f"the cancel action names no action: {error!r}") from error
