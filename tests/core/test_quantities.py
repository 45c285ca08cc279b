"""Quantities as devices read them."""

import pytest

from backstay.core.quantities import bytes_of, fraction_of, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1m30s", 90), ("2h", 7200), ("120ms", 0.12), ("1.5s", 1.5), ("0s", 0)]
)
def test_duration_is_read_when_it_is_one(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "90", "s", "90 s", "1m-3s", "soon"])
def test_duration_is_refused_when_it_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("512Mi", 512 * 1024**2), ("1Ki", 1024), ("3G", 3 * 10**9), ("17", 17), ("2Ti", 2 * 1024**4), ("5k", 5000)],
)
def test_bytes_are_read_when_they_are_some(text: str, size_bytes: int) -> None:
    assert bytes_of(text) == size_bytes


@pytest.mark.parametrize("text", ["", "Mi", "1.5Gi", "-1", "1 Gi", "5K", "\u0665Mi"])
def test_bytes_are_refused_when_they_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number of bytes"):
        bytes_of(text)


def test_fraction_is_read_with_and_without_its_sign() -> None:
    assert fraction_of("98%") == pytest.approx(fraction_of("0.98"))
