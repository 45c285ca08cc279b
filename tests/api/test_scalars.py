"""What the texts of the resources mean."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from backstay.api.hold import HeldVersion, HoldScope, HoldSpec, summarize
from backstay.api.releaseplan_status import ReleasePlanSummary
from backstay.api.scalars import (
    ArtifactReference,
    ByteQuantity,
    Duration,
    PositiveCountOrPercentage,
    SemVerRange,
    parse_bytes,
    parse_duration,
    parse_fraction,
)
from backstay.api.selectors import LabelSelector
from backstay.core.planes import Plane, VersionRange

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("0s", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("2h30m", timedelta(hours=2, minutes=30)),
        ("1.5h", timedelta(minutes=90)),
        ("250ms", timedelta(milliseconds=250)),
        ("1m0.001s", timedelta(minutes=1, milliseconds=1)),
    ],
)
def test_duration_means_what_go_means(text: str, meaning: timedelta) -> None:
    assert parse_duration(TypeAdapter(Duration).validate_python(text)) == meaning


@pytest.mark.parametrize("text", ["", "0", "5", "-5m", "+5m", "1d", "five minutes", "1h 30m", "1h\n", "999999h", ".5h"])
def test_duration_is_refused_when_it_is_not_a_short_go_duration(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(text)


@given(st.integers(0, 99999), st.integers(0, 59), st.integers(0, 59))
def test_duration_adds_its_parts(hours: int, minutes: int, seconds: int) -> None:
    meaning = parse_duration(f"{hours}h{minutes}m{seconds}s")
    assert meaning == timedelta(hours=hours, minutes=minutes, seconds=seconds)


@pytest.mark.parametrize(("text", "meaning"), [("98%", "0.98"), ("0.25%", "0.0025"), ("100%", "1")])
def test_fraction_is_exact(text: str, meaning: str) -> None:
    assert parse_fraction(text) == Decimal(meaning)


@pytest.mark.parametrize("value", [1, 40, "1%", "0.5%", "0.01%", "10.25%", "100%"])
def test_size_is_a_count_or_a_share(value: int | str) -> None:
    assert TypeAdapter(PositiveCountOrPercentage).validate_python(value) == value


@pytest.mark.parametrize("value", [0, -1, "0%", "0.0%", "100.1%", "101%", "150%", "5", "%", "01%", True, 1.5])
def test_size_is_refused_when_it_is_nothing_or_more_than_all(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PositiveCountOrPercentage).validate_python(value)


@pytest.mark.parametrize("text", [">=2.2.0", ">=2.2.0,<3.0.0", "!=1.0.0-rc.1", "=1.2.3+build.5"])
def test_range_is_one_that_the_core_reads(text: str) -> None:
    TypeAdapter(SemVerRange).validate_python(text)
    VersionRange.parse(text)


@pytest.mark.parametrize("text", ["2.2.0", ">= 2.2.0", ">=2.2", "^1.0.0", ">=1.0.0,", ">=01.0.0", "latest"])
def test_range_is_refused_when_it_is_another_dialect(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(SemVerRange).validate_python(text)


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "registry.example", "registry"])
def test_artifact_is_named_by_digest(host: str) -> None:
    TypeAdapter(ArtifactReference).validate_python(f"{host}/vision/model@{DIGEST}")


@pytest.mark.parametrize(
    "text", ["model", "r/model:1", f"model@{DIGEST}", f"r/model:1@{DIGEST}", f"r/Model@{DIGEST}", f"r/model@{DIGEST}0"]
)
def test_artifact_is_refused_when_a_tag_or_nothing_names_it(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(ArtifactReference).validate_python(text)


def test_cell_is_cut_when_it_is_longer_than_its_column() -> None:
    assert ReleasePlanSummary(ring="everyone-in-europe").ring == "everyone-…"


@pytest.mark.parametrize(
    ("spec", "cells"),
    [
        (HoldSpec(reason="a\nb", scope=HoldScope(devices=("cam-1",))), ("cam-1", "every change", "a")),
        (HoldSpec(reason="a", scope=HoldScope(devices=("cam-1", "cam-2"))), ("2 devices", "every change", "a")),
        (HoldSpec(reason="a", scope=HoldScope(groups=("g", "h"))), ("group g,h", "every change", "a")),
        (HoldSpec(reason="a", scope=HoldScope(selector=LabelSelector())), ("all devices", "every change", "a")),
        (
            HoldSpec(reason="a", scope=HoldScope(selector=LabelSelector(match_labels={"customer": "acme"}))),
            ("customer=acme", "every change", "a"),
        ),
        (
            HoldSpec(reason="a", versions=(HeldVersion(plane=Plane.MODEL, digest=DIGEST),)),
            ("all devices", "model 00000000", "a"),
        ),
    ],
)
def test_hold_summary_says_what_is_held(spec: HoldSpec, cells: tuple[str, str, str]) -> None:
    summary = summarize(spec)
    assert (summary.scope, summary.versions, summary.reason) == cells


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("1", 1),
        ("3Ki", 3072),
        ("512Mi", 512 * 1024**2),
        ("8Gi", 8 * 1024**3),
        ("2Ti", 2 * 1024**4),
        ("7k", 7000),
        ("7M", 7_000_000),
        ("7G", 7 * 10**9),
        ("7T", 7 * 10**12),
    ],
)
def test_quantity_of_bytes_means_powers_of_1024_with_an_i_and_of_1000_without(text: str, meaning: int) -> None:
    assert parse_bytes(TypeAdapter(ByteQuantity).validate_python(text)) == meaning
