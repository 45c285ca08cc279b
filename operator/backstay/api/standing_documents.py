"""Holds and the selectors of groups as JSON → the core's records, without a model in between.

A node's agent reads them every few seconds and has no room for the models, which take 13 MB. The API server's schema
has checked each document; what a later release may have added is refused by name, because it may narrow what this one
would take for wide, or the other way round.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from backstay.core.devices import DeviceName
from backstay.core.holds import Hold, InFlight
from backstay.core.planes import ContentDigest, Plane
from backstay.core.selectors import EVERYTHING, MatchExpression, Operator, Selector
from backstay.errors import Refused

Json = dict[str, Any]

HOLD: Final = frozenset({"scope", "versions", "inFlight", "reason", "until"})
SCOPE: Final = frozenset({"selector", "groups", "devices"})
VERSION: Final = frozenset({"plane", "digest"})
GROUP: Final = frozenset({"selector", "maxUnavailable", "window", "enrol", "paused"})
SELECTOR: Final = frozenset({"matchLabels", "matchExpressions"})
EXPRESSION: Final = frozenset({"key", "operator", "values"})


def hold_from_document(raw: Json) -> Hold:
    """Read a Hold.

    Raises:
        Refused: it has what this release does not know, or lacks what every hold has.
    """
    name = raw["metadata"]["name"]
    try:
        spec = _only(raw["spec"], HOLD)
        scope = _only(spec.get("scope", {}), SCOPE)
        return Hold(
            name=name,
            selector=_selector(scope["selector"]) if "selector" in scope else EVERYTHING,
            groups=frozenset(scope.get("groups", ())),
            devices=frozenset(DeviceName(device) for device in scope.get("devices", ())),
            versions=frozenset(_version(held) for held in spec.get("versions", ())),
            reason=str(spec["reason"]),
            until=datetime.fromisoformat(spec["until"]) if "until" in spec else None,
            in_flight=InFlight(spec.get("inFlight", InFlight.FINISH)),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Refused(f"Hold {name} cannot be read: {error!r}") from error


def group_selector_from_document(raw: Json) -> Selector:
    """Read whom a DeviceGroup picks.

    Raises:
        Refused: it has what this release does not know, or no selector.
    """
    name = raw["metadata"]["name"]
    try:
        return _selector(_only(raw["spec"], GROUP)["selector"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Refused(f"DeviceGroup {name} cannot be read: {error!r}") from error


def _selector(raw: Json) -> Selector:
    known = _only(raw, SELECTOR)
    labels = (
        MatchExpression(key, Operator.IN, frozenset({value}))
        for key, value in sorted(known.get("matchLabels", {}).items())
    )
    expressions = (_expression(_only(found, EXPRESSION)) for found in known.get("matchExpressions", ()))
    return Selector((*labels, *expressions))


def _expression(raw: Mapping[str, Any]) -> MatchExpression:
    return MatchExpression(raw["key"], Operator(raw["operator"]), frozenset(raw.get("values", ())))


def _version(raw: Json) -> tuple[Plane, ContentDigest]:
    held = _only(raw, VERSION)
    return Plane(held["plane"]), ContentDigest(held["digest"])


def _only(raw: Json, known: frozenset[str]) -> Json:
    if unknown := sorted(raw.keys() - known):
        raise ValueError(f"unknown field {unknown[0]}")
    return raw
