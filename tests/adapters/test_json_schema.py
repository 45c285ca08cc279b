"""The verdict on a config: by pointer, and without a way out of the two documents."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.adapters.json_schema import LONGEST_FAULT, judged, pointer

SCHEMA = {
    "type": "object",
    "properties": {"a/b": {"type": "array", "items": {"type": "integer", "maximum": 9}}, "t": {"$ref": "#/$defs/t"}},
    "$defs": {"t": {"type": "boolean"}},
    "additionalProperties": False,
}

KEYWORDS = (
    *("$schema", "$ref", "$id", "$defs", "type", "properties", "patternProperties", "pattern", "enum", "items"),
    *("multipleOf", "maximum", "minLength", "required", "allOf", "not", "if", "then", "format", "uniqueItems"),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYWORDS) | st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


def verdict(schema: object, values: object) -> str:
    return judged(orjson.dumps(schema), orjson.dumps(values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"a/b": [1, 2], "t": True}, ""),
        ({"a/b": [1, 99]}, "99 is greater than the maximum of 9 at /a~1b/1"),
        ({"t": 1}, "1 is not of type 'boolean' at /t"),
        ([], "[] is not of type 'object' at the top"),
    ],
)
def test_fault_is_named_by_its_pointer(values: object, said: str) -> None:
    assert verdict(SCHEMA, values) == said


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "nonsense"}, "its schema is not a JSON Schema: 'nonsense' is not valid under any"),
        (["x"], "its schema is not a JSON Schema: it is neither an object nor true or false"),
        ({"$schema": []}, "its $schema is not a text"),
        ({"patternProperties": {"(": {}}}, "'(' is not a 'regex'"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "it refers to 'http://127.0.0.1:1/schema', which is not in it"),
        ({"$ref": "file:///etc/passwd"}, "it refers to 'file:///etc/passwd', which is not in it"),
        ({"$ref": "#"}, "it refers to itself without an end"),
    ],
)
def test_schema_is_refused_when_it_is_none_or_leads_elsewhere(schema: object, said: str) -> None:
    assert said in verdict(schema, {"a": 1})


@pytest.mark.parametrize("schema", [True, {}, {"$ref": "https://json-schema.org/draft/2020-12/schema"}])
def test_schema_may_allow_all_and_name_a_published_draft(schema: object) -> None:
    assert verdict(schema, {"type": "object"}) == ""


def test_text_that_is_not_json_is_said_to_be_none() -> None:
    assert judged(b"{}", b"{").startswith("the config is not JSON: ")
    assert judged(b"{", b"{}").startswith("the schema is not JSON: ")
    assert judged(b"{}", b"[" * 100_000).startswith("the config is not JSON: ")


def test_fault_stays_a_line_when_the_value_is_long() -> None:
    assert len(verdict({"type": "integer"}, "x" * 100_000)) < LONGEST_FAULT + 20


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_verdict_is_given_whatever_the_bytes_are(schema: bytes, values: bytes) -> None:
    assert isinstance(judged(schema, values), str)


@given(st.dictionaries(st.sampled_from(KEYWORDS), JSON, max_size=3), JSON)
def test_verdict_is_given_whatever_the_keywords_hold(schema: object, values: object) -> None:
    assert isinstance(verdict(schema, values), str)


@given(st.lists(st.text() | st.integers(0)))
def test_pointer_can_be_read_back(path: list[str | int]) -> None:
    parts = pointer(path).split("/")[1:]
    assert [part.replace("~1", "/").replace("~0", "~") for part in parts] == [str(part) for part in path]
