"""Label selectors by example, one at a time and for many objects."""

import pytest

from backstay.core.selectors import EVERYTHING, MatchExpression, Operator, Selector

REGIONS = frozenset({"eu", "us"})


@pytest.mark.parametrize(
    ("operator", "labels", "matches"),
    [
        (Operator.IN, {"region": "eu"}, True),
        (Operator.IN, {"region": "apac"}, False),
        (Operator.IN, {}, False),
        (Operator.NOT_IN, {"region": "eu"}, False),
        (Operator.NOT_IN, {"region": "apac"}, True),
        (Operator.NOT_IN, {}, True),
        (Operator.EXISTS, {"region": ""}, True),
        (Operator.EXISTS, {"site": "eu"}, False),
        (Operator.DOES_NOT_EXIST, {"region": ""}, False),
        (Operator.DOES_NOT_EXIST, {"site": "eu"}, True),
    ],
)
def test_selector_matches_as_kubernetes_does(operator: Operator, labels: dict[str, str], matches: bool) -> None:
    values = REGIONS if operator in {Operator.IN, Operator.NOT_IN} else frozenset[str]()
    selector = Selector((MatchExpression("region", operator, values),))
    assert selector.matches(labels) is matches
    many = selector.for_many()
    assert [many(labels), many({**labels, "serial": "7"}), many(labels)] == [matches] * 3


def test_selector_wants_every_condition_and_everything_wants_none() -> None:
    both = Selector.labels(region="eu", site="north")
    assert both.matches({"region": "eu", "site": "north", "door": "3"})
    assert not both.matches({"region": "eu", "site": "south"})
    assert not both.matches({"site": "north"})
    assert EVERYTHING.matches({})
