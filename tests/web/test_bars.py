"""Bars are as wide as what they count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.web.bars import bar


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=5), st.integers(0, 1_000_000))
def test_bar_is_never_wider_than_its_place_and_shows_whatever_there_is(counts: list[int], total: int) -> None:
    drawn = bar([(f"part {index}", "ok", count) for index, count in enumerate(counts)], total)
    assert len(drawn.parts) == sum(count > 0 for count in counts)
    assert all(part.width > 0.5 for part in drawn.parts)
    right = 0.0
    for part in drawn.parts:
        assert part.left == pytest.approx(right, abs=0.02)
        right = part.left + part.width
    assert right <= 100.05


def test_bar_is_told_in_words() -> None:
    assert bar([("confirmed", "ok", 3), ("failed", "bad", 0), ("offline", "off", 1)], 9).words == (
        "3 confirmed, 1 offline of 9"
    )
    assert bar([], 0).words == "none of 0"
