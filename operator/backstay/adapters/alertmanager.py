"""Pages through Alertmanager.

An alert there lives as long as it is sent again, so a page goes on while its cause does, ends when told, and ends by
itself soon after an operator that can no longer tell.

Source: https://prometheus.io/docs/alerting/latest/alerts_api/ and Alertmanager's `api/v2/openapi.yaml`
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson

from backstay.errors import Refused, Unavailable
from backstay.ports.pages import RUNBOOK, RUNBOOKS, PageAlert

TIMEOUT_SECONDS: Final = 10.0

_LONGEST_EXCERPT: Final = 300


class Alertmanager:
    """Hands pages to one Alertmanager, with their names as labels and their words as annotations."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        runbooks: str = RUNBOOKS,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._session = session
        self._runbooks: Final = runbooks.rstrip("/")
        self._url: Final = url.rstrip("/")
        self._timeout_seconds = timeout_seconds

    async def raise_(self, alerts: Sequence[PageAlert]) -> None:
        """Hand over pages, all of them or none.

        Raises:
            Unavailable: Alertmanager cannot be reached, or is too busy; none may have been taken.
            Refused: Alertmanager does not take them, and will not if asked again.
        """
        body = orjson.dumps([_posted(alert, self._runbooks) for alert in alerts])
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._session.post(
                    f"{self._url}/api/v2/alerts",
                    data=body,
                    headers={"Content-Type": "application/json"},
                    allow_redirects=False,
                ) as response,
            ):
                status, words = response.status, await response.content.read(_LONGEST_EXCERPT)
        except TimeoutError as error:
            raise Unavailable(self._not_taken(f"no answer within {self._timeout_seconds:g} s", alerts)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(self._not_taken(str(error) or type(error).__name__, alerts)) from error
        self._check(status, words, alerts)

    def _check(self, status: int, words: bytes, alerts: Sequence[PageAlert]) -> None:
        if status == HTTPStatus.OK:
            return
        said = " ".join(words.decode(errors="replace").split())
        message = self._not_taken(f"it answered {status} {said}".rstrip(), alerts)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Unavailable(message)
        raise Refused(f"{message}; check the address and what stands before it")

    def _not_taken(self, why: str, alerts: Sequence[PageAlert]) -> str:
        return f"Alertmanager at {self._url} did not take {len(alerts)} pages: {why}"


def _posted(alert: PageAlert, runbooks: str) -> dict[str, Any]:
    labels = {
        "alertname": alert.kind,
        "severity": alert.severity,
        "namespace": alert.namespace,
        "plan": alert.plan,
        "revision": alert.revision,
    }
    if alert.plane is not None:
        labels["plane"] = alert.plane
    return {
        "labels": labels,
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{runbooks}/{RUNBOOK[alert.kind]}.md",
        },
        "startsAt": _time(alert.starts_at),
        "endsAt": _time(alert.ends_at),
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
