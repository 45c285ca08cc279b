"""The models agree with the API server on every example, wherever one field or one object shows what is wrong."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from backstay.api import KINDS, InvalidDocument, Resource

EXAMPLES = Path(__file__).parent / "examples"
ACCEPTED = sorted((EXAMPLES / "accepted").glob("*.yaml"))
REJECTED = sorted((EXAMPLES / "rejected").glob("*.yaml"))
BY_NAME = {kind.kind_name(): kind for kind in KINDS}


def header(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^# (\w+): (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def last_document(path: Path) -> dict[str, Any]:
    *_, document = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return document


def read(document: dict[str, Any]) -> Resource:
    return BY_NAME[document["kind"]].from_document(document)


@pytest.mark.parametrize("path", ACCEPTED, ids=lambda path: path.stem)
def test_models_read_an_example_and_write_it_back_when_it_is_right(path: Path) -> None:
    document = last_document(path)
    read_once = read(document)
    assert read(read_once.to_document()) == read_once


@pytest.mark.parametrize("path", REJECTED, ids=lambda path: path.stem)
def test_models_refuse_an_example_by_field_when_they_can_see_the_fault(path: Path) -> None:
    said = header(path)
    if said["models"] == "accept":
        # What only CEL says: rules between fields, and between an object and its predecessor.
        read(last_document(path))
        return
    with pytest.raises(InvalidDocument) as refusal:
        read(last_document(path))
    assert re.search(rf"{re.escape(said['field'])}(\.\w+)*: ", str(refusal.value)), refusal.value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind_name())
def test_every_kind_has_examples_of_both_sorts(kind: type[Resource]) -> None:
    for paths in (ACCEPTED, REJECTED):
        assert any(path.stem.startswith(kind.kind_name().lower()) for path in paths)


def test_models_name_the_unknown_field_and_the_object_when_they_refuse_one() -> None:
    document = last_document(EXAMPLES / "rejected" / "releaseplan-unknown-field.yaml")
    with pytest.raises(InvalidDocument, match=r"^ReleasePlan vision is not valid: spec\.rollBack: unknown field$"):
        read(document)


def test_models_ignore_an_unknown_field_when_a_program_wrote_it() -> None:
    document = last_document(EXAMPLES / "accepted" / "edgedevice-ordered.yaml")
    known = read(document)
    document["status"]["battery"] = "full"
    document["spec"]["desired"]["step"]["priority"] = 3
    document["metadata"]["managedFields"] = []
    assert read(document) == known
