"""Holds, and the selectors by which they and groups pick devices, as decisions see them.

Bridges and agents read the same from JSON, without the models: `backstay.api.standing_documents`.
"""

from backstay.api.hold import Hold as WrittenHold
from backstay.api.selectors import LabelSelector
from backstay.core.devices import DeviceName
from backstay.core.holds import Hold
from backstay.core.planes import ContentDigest
from backstay.core.selectors import EVERYTHING, MatchExpression, Operator, Selector


def hold_from(written: WrittenHold) -> Hold:
    """A hold as decisions see it."""
    spec, scope = written.spec, written.spec.scope
    selector = None if scope is None else scope.selector
    return Hold(
        name=written.metadata.name,
        selector=EVERYTHING if selector is None else selector_from(selector),
        groups=frozenset() if scope is None else frozenset(scope.groups or ()),
        devices=frozenset() if scope is None else frozenset(DeviceName(name) for name in scope.devices or ()),
        versions=frozenset((held.plane, ContentDigest(held.digest)) for held in spec.versions),
        reason=spec.reason,
        until=spec.until,
        in_flight=spec.in_flight,
    )


def selector_from(written: LabelSelector) -> Selector:
    """A label selector; none of its conditions given selects everything."""
    labels = (
        MatchExpression(key, Operator.IN, frozenset({value})) for key, value in sorted(written.match_labels.items())
    )
    expressions = (
        MatchExpression(found.key, Operator(found.operator.value), frozenset(found.values))
        for found in written.match_expressions
    )
    return Selector((*labels, *expressions))
