"""Merge patches do what RFC 7386 says, and are no larger than they must be."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backstay.controllers.merge import merge_patch, without_nulls

Json = dict[str, Any]

leaves = st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


def applied(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(result.get(name), value)
    return result


@given(objects, objects)
def test_patch_makes_the_one_of_the_other(before: Json, after: Json) -> None:
    assert applied(before, merge_patch(before, after)) == after


@given(objects)
def test_patch_is_empty_when_nothing_differs(same: Json) -> None:
    assert merge_patch(same, same) == {}


def test_patch_removes_by_null_what_is_gone() -> None:
    assert merge_patch({"culprit": {"plane": "model"}, "phase": "A"}, {"phase": "A"}) == {"culprit": None}


def test_nulls_are_left_out_inside_lists_too() -> None:
    assert without_nulls({"a": None, "b": [{"c": None, "d": 1}]}) == {"b": [{"d": 1}]}
