import json

import pytest
import yaml

from backstay.lint.source import Written, documents
from tests.lint.manifests import GROUP, PLAN, RULE, said_of


def test_times_stay_text_as_kubectl_leaves_them() -> None:
    (found,) = documents("f", "until: 2026-02-02T00:00:00Z")
    assert isinstance(found, Written)
    assert found.content == {"until": "2026-02-02T00:00:00Z"}


def test_json_is_read_too() -> None:
    assert said_of(json.dumps(yaml.safe_load(GROUP.replace("cameras", "Cameras")), indent=1)) == [
        "f.yaml:5:11: error: metadata.name: 'Cameras' is no object's name: lower-case letters, digits, '-' and '.'"
    ]


def test_items_of_a_list_are_documents_of_their_own() -> None:
    items = "".join(f"- {text}" for text in (part.replace("\n", "\n  ").rstrip(" ") for part in (GROUP, RULE, PLAN)))
    broken = items.replace("size: 10%", "size: 0")
    (found,) = said_of(f"kind: List\napiVersion: v1\nitems:\n{broken}")
    assert ": error: spec.rings[0].size: " in found
    assert said_of("kind: List\nitems: [3]") == ["f.yaml:2:9: error: items[0]: this is no object"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "f.yaml:1:6: error: this is neither YAML nor JSON: "),
        ("{{ .Values.plan }}", "f.yaml:1:"),
        ("3", "f.yaml:1:1: error: this is no object"),
        ("a: 1\nb: {c: 1, c: 2}", "f.yaml:2:11: error: the key c stands twice"),
        ("a: \x01", "f.yaml:1:1: error: this is neither YAML nor JSON: "),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)),
            "f.yaml:1:1: error: the document has more than 100000 values",
        ),
        ("a: &a [*a]", "f.yaml:1:1: error: the document has more than 100000 values"),
        ("? [a]\n: b", "f.yaml:1:3: error: this is neither YAML nor JSON: "),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(text: str, said: str) -> None:
    (found,) = said_of(text)
    assert found.startswith(said)


def test_documents_before_a_broken_one_are_read() -> None:
    first, second = said_of(GROUP.replace("cameras", "Cameras"), "a: [")
    assert "Cameras" in first
    assert "neither YAML nor JSON" in second
