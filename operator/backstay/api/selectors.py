"""Label selectors, in the words of Kubernetes."""

from typing import Annotated

from pydantic import ConfigDict, Field

from backstay.api.resource import Written
from backstay.api.rules import ATOMIC, SET, rule, rules
from backstay.api.scalars import LABEL_KEY, MUST_BE_A_LABEL_KEY, LabelKey
from backstay.core.selectors import Operator

LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$")]
Labels = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=317)], LabelValue],
    Field(
        max_length=16,
        json_schema_extra=rules(
            rule(f"self.all(key, key.matches(r'^{LABEL_KEY}$'))", f"every key {MUST_BE_A_LABEL_KEY}"),
        ),
    ),
]


class SelectorExpression(Written):
    """A condition on one label."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                "In and NotIn need values; Exists and DoesNotExist take none",
                at=".values",
            )
        )
    )

    key: LabelKey
    """The label's key, such as `backstay.dev/audience` or `region`."""
    operator: Operator
    """In and NotIn compare the label's value with `values`; Exists and DoesNotExist look at the key alone. A device
    without the label satisfies NotIn and DoesNotExist."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=32, json_schema_extra=SET)] = ()
    """The values to compare with: at least one for In and NotIn, none otherwise."""


class LabelSelector(Written):
    """Picks devices by the labels of their EdgeDevice; all conditions must hold.

    An empty selector picks every device of the namespace.
    """

    match_labels: Labels = Field(default_factory=dict)
    """Labels that a device must have, key and value."""
    match_expressions: Annotated[tuple[SelectorExpression, ...], Field(max_length=16, json_schema_extra=ATOMIC)] = ()
    """Further conditions, for what `matchLabels` cannot say."""
