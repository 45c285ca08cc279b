"""Label selectors, as Kubernetes means them.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Operator(StrEnum):
    """The operators of a match expression."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class MatchExpression:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels meet the condition; a label that is absent is not in any set."""
        match self.operator:
            case Operator.IN:
                return labels.get(self.key) in self.values
            case Operator.NOT_IN:
                return labels.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions that must all hold; none of them selects everything."""

    expressions: tuple[MatchExpression, ...] = ()

    @classmethod
    def labels(cls, **labels: str) -> "Selector":
        """The selector that `matchLabels` writes."""
        return cls(
            tuple(MatchExpression(key, Operator.IN, frozenset({value})) for key, value in sorted(labels.items()))
        )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels meet every condition."""
        return all(expression.matches(labels) for expression in self.expressions)

    def for_many(self) -> Callable[[Mapping[str, str]], bool]:
        """The same question for many objects: answered once for each distinct set of the labels that it looks at."""
        keys = [expression.key for expression in self.expressions]
        known: dict[tuple[str | None, ...], bool] = {}

        def matches(labels: Mapping[str, str]) -> bool:
            values = tuple([labels.get(key) for key in keys])
            if (answer := known.get(values)) is None:
                answer = known[values] = self.matches(labels)
            return answer

        return matches


EVERYTHING: Final = Selector()


def picked_by(selectors: Mapping[str, Selector], labels: Mapping[str, str]) -> frozenset[str]:
    """The names of the selectors that pick an object with these labels: of groups, those that it belongs to."""
    return frozenset(name for name, selector in selectors.items() if selector.matches(labels))
