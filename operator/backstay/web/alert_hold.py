"""The Hold that an alert asks for by its labels and annotations; whoever writes the rule decides what it stops.

Each is looked for among the annotations, which may be templates, and then among the labels.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from backstay.api.durations import parse_duration
from backstay.api.hold import Hold
from backstay.api.resource import InvalidDocument
from backstay.api.scalars import Duration
from backstay.core.holds import InFlight
from backstay.errors import Refused
from backstay.web.alert_payload import Alert

ASKS: Final = "backstay_hold"
"""The label that lets an alert make a Hold, where its value is `true`."""
NAMESPACE: Final = "backstay_hold_namespace"
GROUPS: Final = "backstay_hold_groups"
DEVICES: Final = "backstay_hold_devices"
SELECTOR: Final = "backstay_hold_selector"
EVERYTHING: Final = "backstay_hold_everything"
VERSIONS: Final = "backstay_hold_versions"
IN_FLIGHT: Final = "backstay_hold_in_flight"
LASTS: Final = "backstay_hold_for"

DEFAULT_LASTS: Final = timedelta(hours=4)
LONGEST: Final = timedelta(days=7)
LONGEST_REASON: Final = 2048

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

MADE_BY: Final = "backstay.dev/made-by"
BY_ALERT: Final = "alert"
FINGERPRINT: Final = "backstay.dev/alert-fingerprint"
"""With `MADE_BY` the proof that a Hold is that of one alert, and may go with it."""


class Refusal(StrEnum):
    """Why something that came from outside was not done."""

    UNAUTHORIZED = "unauthorized"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    MALFORMED = "malformed"
    NAMESPACE = "namespace"
    SCOPE = "scope"
    LASTS = "lasts"
    HOLD = "hold"
    NAME_TAKEN = "name_taken"
    FORBIDDEN = "forbidden"
    """The API server does not let the operator do it, or not yet."""


class NotHeld(Refused):
    """An alert that asks for a Hold gets none."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Place:
    """Which Hold an alert is about."""

    namespace: str
    name: str


def asks_for_a_hold(alert: Alert) -> bool:
    """Tell whether an alert wants anything of us."""
    return alert.labels.get(ASKS) == "true"


def place_of(alert: Alert) -> Place:
    """Where the Hold of an alert is: always the same for the same alert, and no two alerts share one.

    Raises:
        NotHeld: the alert does not say in which namespace.
    """
    namespace = _said(alert, NAMESPACE) or alert.labels.get("namespace", "")
    if not _NAMESPACE.fullmatch(namespace):
        raise NotHeld(Refusal.NAMESPACE, f"it names no namespace: give it the label namespace, or {NAMESPACE}")
    return Place(namespace, f"alert-{alert.fingerprint}")


def hold_document(alert: Alert, now: datetime) -> dict[str, Any]:
    """The Hold as the API server takes it.

    Raises:
        NotHeld: it says wrongly, or not at all, what is to be stopped, or for how long.
    """
    place = place_of(alert)
    document = {
        "apiVersion": "backstay.dev/v1alpha1",
        "kind": "Hold",
        "metadata": {
            "name": place.name,
            "namespace": place.namespace,
            "labels": {MADE_BY: BY_ALERT, FINGERPRINT: alert.fingerprint},
        },
        "spec": {
            **_what(alert),
            "inFlight": _said(alert, IN_FLIGHT) or InFlight.FINISH.value,
            "reason": _reason(alert),
            "until": (now + _lasts(alert)).isoformat(timespec="seconds").replace("+00:00", "Z"),
        },
    }
    try:
        Hold.from_document(document)
    except InvalidDocument as error:
        raise NotHeld(Refusal.HOLD, f"the Hold that it asks for would be wrong: {error}") from error
    return document


def made_by(alert: Alert, metadata: Mapping[str, Any]) -> bool:
    """Tell whether a Hold is the one of this alert, and nobody else's."""
    labels = metadata.get("labels") or {}
    return labels.get(MADE_BY) == BY_ALERT and labels.get(FINGERPRINT) == alert.fingerprint


def _said(alert: Alert, key: str) -> str | None:
    return alert.annotations.get(key, alert.labels.get(key))


def _what(alert: Alert) -> dict[str, Any]:
    """The devices, the versions, or both; to stop everything must be said."""
    scopes: list[dict[str, Any]] = []
    if (groups := _listed(alert, GROUPS)) is not None:
        scopes.append({"groups": groups})
    if (devices := _listed(alert, DEVICES)) is not None:
        scopes.append({"devices": devices})
    if (selector := _listed(alert, SELECTOR)) is not None:
        scopes.append({"selector": {"matchLabels": _pairs(SELECTOR, selector)}})
    if _said(alert, EVERYTHING) == "true":
        scopes.append({"selector": {}})
    versions = _listed(alert, VERSIONS)
    match scopes:
        case []:
            scope: dict[str, Any] = {}
        case [only]:
            scope = {"scope": only}
        case _:
            raise NotHeld(Refusal.SCOPE, f"{GROUPS}, {DEVICES}, {SELECTOR} and {EVERYTHING} exclude each other")
    if versions is not None:
        found = [{"plane": plane, "digest": digest} for plane, digest in _pairs(VERSIONS, versions).items()]
        return scope | {"versions": found}
    if not scope:
        message = f"it does not say what to stop: {GROUPS}, {DEVICES}, {SELECTOR}, {VERSIONS}, or {EVERYTHING}: true"
        raise NotHeld(Refusal.SCOPE, message)
    return scope


def _listed(alert: Alert, key: str) -> list[str] | None:
    """What a list names; None where there is no list. An empty one would hold nothing, or everything."""
    if (text := _said(alert, key)) is None:
        return None
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise NotHeld(Refusal.SCOPE, f"{key} is empty; a template that finds nothing must not stop everything")
    return list(dict.fromkeys(found))


def _pairs(key: str, parts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not (name and equals and value) or name in found:
            raise NotHeld(Refusal.SCOPE, f"{key}: write NAME=VALUE, each name once, with commas between")
        found[name] = value
    return found


def _lasts(alert: Alert) -> timedelta:
    if (text := _said(alert, LASTS)) is None:
        return DEFAULT_LASTS
    try:
        lasts = parse_duration(TypeAdapter(Duration).validate_python(text))
    except ValidationError as error:
        raise NotHeld(Refusal.LASTS, f"{LASTS}: write a duration such as 90m or 2h30m") from error
    if not timedelta(0) < lasts <= LONGEST:
        raise NotHeld(Refusal.LASTS, f"{LASTS}: it must be more than nothing and at most {LONGEST.days * 24}h")
    return lasts


def _reason(alert: Alert) -> str:
    """Why, for the person who finds it at night, with the way to the alert."""
    words = alert.annotations.get("summary") or alert.annotations.get("description") or ""
    link = f" ({alert.generator_url})" if alert.generator_url else ""
    return f"alert {alert.name}{': ' if words else ''}{words}{link}"[:LONGEST_REASON]
