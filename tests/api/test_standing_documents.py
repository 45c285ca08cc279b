"""Holds and groups read without a model are what the models read, and what the models refuse to know is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api import DeviceGroup, Hold
from backstay.api import standing_documents as documents
from backstay.api.hold import HeldVersion, HoldScope, HoldSpec
from backstay.api.hold_conversion import hold_from, selector_from
from backstay.api.selectors import LabelSelector, SelectorExpression
from backstay.api.standing_documents import group_selector_from_document, hold_from_document
from backstay.errors import Refused

ACCEPTED = Path(__file__).parent / "examples" / "accepted"


def read(path: Path) -> dict[str, Any]:
    *_, document = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return dict(document)


@pytest.mark.parametrize("path", sorted(ACCEPTED.glob("hold*.yaml")), ids=lambda path: path.stem)
def test_hold_is_what_its_model_says(path: Path) -> None:
    assert hold_from_document(read(path)) == hold_from(Hold.from_document(read(path)))


@pytest.mark.parametrize("path", sorted(ACCEPTED.glob("devicegroup*.yaml")), ids=lambda path: path.stem)
def test_group_picks_whom_its_model_picks(path: Path) -> None:
    model = DeviceGroup.from_document(read(path))
    assert group_selector_from_document(read(path)) == selector_from(model.spec.selector)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        (HoldSpec, documents.HOLD),
        (HoldScope, documents.SCOPE),
        (HeldVersion, documents.VERSION),
        (DeviceGroup.model_fields["spec"].annotation, documents.GROUP),
        (LabelSelector, documents.SELECTOR),
        (SelectorExpression, documents.EXPRESSION),
    ],
    ids=lambda found: getattr(found, "__name__", ""),
)
def test_fields_that_are_known_are_those_of_the_model(model: Any, known: frozenset[str]) -> None:
    assert {field.alias for field in model.model_fields.values()} == known


@pytest.mark.parametrize(
    "spec",
    [
        {"reason": "r", "onlyOnMondays": True},
        {"reason": "r", "scope": {"hours": "9-17"}},
        {"reason": "r", "scope": {"selector": {"matchSites": ["hall-1"]}}},
        {"reason": "r", "scope": {"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}},
        {"reason": "r", "versions": [{"plane": "model", "digest": "sha256:0", "mirror": True}]},
        {"reason": "r", "versions": [{"plane": "flash", "digest": "sha256:0"}]},
        {"reason": "r", "inFlight": "Melt"},
        {"reason": "r", "until": "tomorrow"},
        {"scope": {"groups": ["a"]}},
        {"reason": "r", "scope": ["a"]},
    ],
)
def test_hold_is_refused_by_name_when_not_all_of_it_is_understood(spec: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="Hold stop"):
        hold_from_document({"metadata": {"name": "stop"}, "spec": spec})
