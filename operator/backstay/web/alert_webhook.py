"""Where Alertmanager sends alerts that are to stop releases: `POST /alerts`, with a bearer token.

What is wrong with one alert is told by name, in the log, in a metric and in the answer, and costs none of the others.
Alertmanager sends again what is answered by a 5xx, and nothing else: so that is the answer when the API server is away,
or forbids what it may allow in a moment, and when too much comes at once.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from backstay.errors import Forbidden, Unavailable
from backstay.ports.clock import Clock
from backstay.web.alert_desk import AlertDesk, Outcome
from backstay.web.alert_hold import NotHeld, Refusal
from backstay.web.alert_payload import Alert, MalformedNotification, UnreadableAlert, one_line, read_notification
from backstay.web.bearer import TokenFile

PATH: Final = "/alerts"
BODY_LIMIT_BYTES: Final = 1024 * 1024
MOST_ALERTS: Final = 100
"""In one notification; `max_alerts` of Alertmanager's receiver is to be the same."""
BODY_SECONDS: Final = 10.0
LONGEST_WORDS: Final = 500
IF_IT_LASTS: Final = (
    "where that lasts, apply manifests/rbac.yaml to make Holds, and manifests/tenant/alert-holds-rbac.yaml to lift them"
)

log = logging.getLogger(__name__)


class WebhookMetrics:
    """What came in, and what became of it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._alerts = Counter(
            "backstay_webhook_alerts", "Alerts that Alertmanager sent, by outcome.", ("result",), registry=registry
        )
        self._refused = Counter(
            "backstay_webhook_refused",
            "Requests and alerts that were refused, by reason.",
            ("reason",),
            registry=registry,
        )
        # A series that begins at 1 has no increase: an alert would miss the first refusal.
        for refusal in Refusal:
            self._refused.labels(refusal.value)

    def alert(self, outcome: Outcome) -> None:
        """Count an alert."""
        self._alerts.labels(outcome.value).inc()

    def refused(self, refusal: Refusal) -> None:
        """Count what was not done."""
        self._refused.labels(refusal.value).inc()


class Pace:
    """So many at once, and so many a second after that."""

    def __init__(self, monotonic: Callable[[], float], *, burst: float = 200.0, a_second: float = 20.0) -> None:
        self._monotonic = monotonic
        self._burst, self._a_second = burst, a_second
        self._left, self._at = burst, monotonic()

    def allows(self) -> bool:
        """Take one, if there is one."""
        now = self._monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._a_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class AlertWebhook:
    """Reads requests, and lets the desk do what they ask."""

    def __init__(self, desk: AlertDesk, token: TokenFile, metrics: WebhookMetrics, clock: Clock) -> None:
        self._desk = desk
        self._token = token
        self._metrics = metrics
        self._pace = Pace(clock.monotonic)
        self._pace_of_words = Pace(clock.monotonic, burst=10.0, a_second=0.1)

    def application(self) -> web.Application:
        """The application to serve."""
        application = web.Application(client_max_size=BODY_LIMIT_BYTES)
        application.router.add_post(PATH, self.receive)
        return application

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one notification: 200, or what is wrong and whether to send it again."""
        if not self._token.admits(request.headers.getall("Authorization", [])):
            # Strangers may come as often as they like, and must neither fill the log nor use up Alertmanager's pace.
            if self._pace_of_words.allows():
                log.warning("a request from %s is turned away: it has not the token of Alertmanager", request.remote)
            challenge = {"WWW-Authenticate": "Bearer"}
            return self._refuse(Refusal.UNAUTHORIZED, HTTPStatus.UNAUTHORIZED, "the token is wrong", challenge)
        if not self._pace.allows():
            again = {"Retry-After": "1"}
            return self._refuse(Refusal.TOO_MANY, HTTPStatus.SERVICE_UNAVAILABLE, "too many requests", again)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await request.read()
            found = tuple(read_notification(body))
        except TimeoutError:
            return self._refuse(Refusal.MALFORMED, HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time")
        except web.HTTPRequestEntityTooLarge:
            limit = f"a notification has at most {BODY_LIMIT_BYTES} bytes"
            return self._refuse(Refusal.TOO_LARGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, limit)
        except MalformedNotification as error:
            return self._refuse(Refusal.MALFORMED, HTTPStatus.BAD_REQUEST, str(error))
        return await self._answer(found)

    async def _answer(self, found: tuple[Alert | UnreadableAlert, ...]) -> web.Response:
        problems: list[str] = []
        is_away = is_forbidden = False
        for alert in found[:MOST_ALERTS]:
            outcome, problem = await self._take(alert)
            self._metrics.alert(outcome)
            if problem:
                problems.append(one_line(problem)[:LONGEST_WORDS])
            is_forbidden |= outcome is Outcome.FORBIDDEN
            if is_away := outcome is Outcome.UNAVAILABLE:
                # The others would wait as long, one after the other; all of them are sent again.
                break
        if len(found) > MOST_ALERTS:
            self._metrics.refused(Refusal.TOO_MANY)
            problems.append(f"only the first {MOST_ALERTS} of {len(found)} alerts were taken: set max_alerts")
        # What is forbidden and stays so stops every alert of a namespace, and only a person can end it.
        level = logging.ERROR if is_forbidden else logging.WARNING
        for problem in problems:
            log.log(level, "%s", problem)
        if is_away or is_forbidden:
            return _answered(HTTPStatus.SERVICE_UNAVAILABLE, problems)
        return _answered(HTTPStatus.BAD_REQUEST if problems else HTTPStatus.OK, problems)

    async def _take(self, alert: Alert | UnreadableAlert) -> tuple[Outcome, str]:
        if isinstance(alert, UnreadableAlert):
            self._metrics.refused(Refusal.MALFORMED)
            return Outcome.REFUSED, f"alert number {alert.index + 1} cannot be read: {alert.why}"
        try:
            return await self._desk.take(alert), ""
        except NotHeld as error:
            self._metrics.refused(error.refusal)
            return Outcome.REFUSED, f"alert {alert.name} ({alert.fingerprint}) makes no hold: {error}"
        except Forbidden as error:
            self._metrics.refused(Refusal.FORBIDDEN)
            return Outcome.FORBIDDEN, f"alert {alert.name} ({alert.fingerprint}) waits: {error}; {IF_IT_LASTS}"
        except Unavailable as error:
            return Outcome.UNAVAILABLE, f"alert {alert.name} ({alert.fingerprint}) waits: {error}"

    def _refuse(
        self, refusal: Refusal, status: HTTPStatus, words: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        self._metrics.refused(refusal)
        if refusal is not Refusal.UNAUTHORIZED:
            log.warning("a notification is refused: %s", words)
        return web.Response(status=status, text=f"{words}\n", headers=headers)


def _answered(status: HTTPStatus, problems: list[str]) -> web.Response:
    # Alertmanager writes the answer into its log, as one line.
    return web.Response(status=status, text="; ".join(problems)[:LONGEST_WORDS] + "\n" if problems else "ok\n")
