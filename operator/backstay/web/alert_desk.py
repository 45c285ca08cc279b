"""Carries out what alerts ask for: makes the Hold of one that fires, and lifts it when it is resolved.

Everything is safe to be asked twice, and by several replicas at once: the name of a Hold is its alert's, and nothing is
deleted but what was just read and is proven to be that alert's.
"""

import logging
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from backstay.adapters.kube.client import HOLDS, KubeClient
from backstay.api.hold import Hold
from backstay.errors import Conflict, Forbidden, NotFound, Refused, Unavailable
from backstay.logs import about
from backstay.ports.clock import Clock
from backstay.web.alert_hold import NotHeld, Place, Refusal, asks_for_a_hold, hold_document, made_by, place_of
from backstay.web.alert_payload import Alert, AlertStatus

ANY_NAMESPACE: Final = "*"
TRIES: Final = 3

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of an alert."""

    IGNORED = "ignored"
    """It asks for nothing."""
    MADE = "made"
    STANDS = "stands"
    """Its Hold was there already."""
    RENEWED = "renewed"
    """Its Hold had run out, and there is a new one."""
    LIFTED = "lifted"
    GONE = "gone"
    """It is resolved, and there was no Hold to lift."""
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    """The API server does not answer: Alertmanager is to send it again."""
    FORBIDDEN = "forbidden"
    """The operator may not, or not yet: Alertmanager is to send it again."""


class AlertDesk:
    """Takes alerts, for some namespaces."""

    def __init__(self, client: KubeClient, clock: Clock, namespaces: frozenset[str]) -> None:
        self._client = client
        self._clock = clock
        self._namespaces = namespaces

    async def take(self, alert: Alert) -> Outcome:
        """Do what an alert asks for.

        Raises:
            NotHeld: it asks wrongly, or for what it may not.
            Unavailable: the API server does not answer.
            Forbidden: the operator may not do it; an API server that has just started says so too, until it has read
                the roles.
        """
        if not asks_for_a_hold(alert):
            return Outcome.IGNORED
        place = place_of(alert)
        if not self._namespaces & {place.namespace, ANY_NAMESPACE}:
            raise NotHeld(Refusal.NAMESPACE, f"alerts may not stop anything in namespace {place.namespace}")
        with about(namespace=place.namespace):
            try:
                return await self._patiently(alert, place)
            except (Unavailable, Forbidden, NotHeld):
                raise
            except Refused as error:
                raise NotHeld(Refusal.HOLD, str(error)) from error

    async def _patiently(self, alert: Alert, place: Place) -> Outcome:
        """Begin again where somebody else was faster."""
        for _ in range(TRIES):
            try:
                match alert.status:
                    case AlertStatus.FIRING:
                        return await self._hold(alert, place)
                    case AlertStatus.RESOLVED:
                        return await self._lift(alert, place)
            except Conflict:
                continue
        raise Unavailable(f"hold {place.namespace}/{place.name} changes again and again; send the alert again")

    async def _hold(self, alert: Alert, place: Place) -> Outcome:
        now = self._clock.now()
        document = hold_document(alert, now)
        known = await self._read(alert, place)
        if known is None:
            await self._client.create(HOLDS, document, place.namespace)
            log.warning("alert %s made hold %s/%s", alert.name, place.namespace, place.name)
            return Outcome.MADE
        if not _is_over(known, now):
            return Outcome.STANDS
        await self._delete(known, place)
        await self._client.create(HOLDS, document, place.namespace)
        log.warning("alert %s still fires: hold %s/%s had run out and is made anew", alert.name, *_words(place))
        return Outcome.RENEWED

    async def _lift(self, alert: Alert, place: Place) -> Outcome:
        known = await self._read(alert, place)
        if known is None:
            return Outcome.GONE
        await self._delete(known, place)
        log.warning("alert %s is resolved: hold %s/%s is lifted", alert.name, *_words(place))
        return Outcome.LIFTED

    async def _read(self, alert: Alert, place: Place) -> dict[str, Any] | None:
        """The alert's Hold; somebody else's of that name is left alone."""
        try:
            known = await self._client.get(HOLDS, place.name, place.namespace)
        except NotFound:
            return None
        if not made_by(alert, known["metadata"]):
            raise NotHeld(Refusal.NAME_TAKEN, f"hold {place.namespace}/{place.name} is not this alert's")
        return known

    async def _delete(self, known: dict[str, Any], place: Place) -> None:
        metadata = known["metadata"]
        try:
            await self._client.delete_exactly(
                HOLDS, place.name, place.namespace, uid=metadata["uid"], version=metadata["resourceVersion"]
            )
        except NotFound:
            # Another replica was told the same.
            return


def _is_over(document: dict[str, Any], now: datetime) -> bool:
    until = Hold.from_document(document).spec.until
    return until is not None and until <= now


def _words(place: Place) -> tuple[str, str]:
    return place.namespace, place.name
