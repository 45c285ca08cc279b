"""The page on decisions has every reason, and only those."""

import re
from pathlib import Path

import pytest

from backstay.core.actions import AlertKind
from backstay.core.failures import FailureKind
from backstay.core.reasons import Reason

PAGE = (Path(__file__).parents[2] / "docs" / "explanation" / "decisions.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE.partition("## Every reason")[2], re.MULTILINE)


def test_every_reason_stands_in_the_table_in_its_order() -> None:
    assert [name for name, *_ in ROWS] == [reason.value for reason in Reason]


@pytest.mark.parametrize("alert", list(AlertKind))
def test_every_page_is_named_beside_a_reason(alert: AlertKind) -> None:
    assert any(f"`{alert}`" in waits for _, _, waits, _ in ROWS)


def test_every_page_in_the_table_exists() -> None:
    assert set(re.findall(r"`(Backstay\w+)`", PAGE)) == {alert.value for alert in AlertKind}


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_kind_of_failure_says_whether_it_is_evidence(kind: FailureKind) -> None:
    found = re.search(rf"^\| `{kind}` \| .+ \| (yes|no) \|$", PAGE, re.MULTILINE)
    assert found is not None
    assert (found[1] == "yes") == kind.is_evidence
